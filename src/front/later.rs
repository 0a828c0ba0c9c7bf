//! Plain requests whose answer somebody has to be waited for, still without hyper.
//!
//! What `straight` does for what is at hand, this does for the rest: the head becomes the
//! request that hyper would have made of it, the handler answers it like any other, and the
//! answer is written here if its length is known. Whatever else an answer may be (chunked,
//! without content, the last one of its connection) is hyper's to write: the request is then
//! given to hyper as it came, and the answer that is there already is the answer to it.
//!
//! ```text
//! Waiting --length known--> Writing --> read the next request
//!    '--------else--------> hyper, which finds the answer in Service::answered
//! ```

use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{Response, StatusCode};
use http_body::Body;
use tokio::io::AsyncWrite;

use super::http1::{Http1Io, flush, wrote};
use super::pulse::Pulse;
use super::wire::Wire;
use super::{Answering, Handler, Plain};

/// A request that waits for its answer, or an answer on its way.
pub(super) struct Later<B> {
    /// The request as it came.
    asked: Bytes,
    step: Step<B>,
}

enum Step<B> {
    Waiting(Answering<B>),
    Here(Response<B>),
    Writing(Writing<B>),
}

/// How it went on.
pub(super) enum Onward {
    /// The answer has left: the next request may come.
    Next,
    /// Hyper is to have this request.
    Hyper(Bytes),
    Broken,
}

impl<H: Handler> Http1Io<H> {
    /// Begins to answer the request that `fresh` is, if the handler takes it.
    pub(super) fn begin_later(&mut self, fresh: &[u8], asked: &Plain<'_>) -> bool {
        let whole = Bytes::copy_from_slice(fresh);
        let Some(head) = asked.head(fresh, &whole) else { return false };
        let Some(answering) = self.service.plain(head) else { return false };
        self.later = Some(Box::new(Later { asked: whole, step: Step::Waiting(answering) }));
        true
    }

    /// Goes on with the request that waits.
    pub(super) fn poll_later(&mut self, cx: &mut Context<'_>) -> Poll<Onward> {
        loop {
            let Some(later) = &mut self.later else { return Poll::Ready(Onward::Next) };
            match &mut later.step {
                Step::Waiting(answering) => {
                    let polled = catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx)));
                    let polled = polled.unwrap_or_else(|_| Poll::Ready(self.service.panicked()));
                    if let Poll::Ready(response) = polled {
                        later.step = Step::Here(response);
                    } else if ready!(self.poll_interim(cx)).is_err() {
                        return Poll::Ready(Onward::Broken);
                    } else {
                        return Poll::Pending;
                    }
                }
                Step::Here(_) => {
                    if ready!(self.poll_interim(cx)).is_err() {
                        return Poll::Ready(Onward::Broken);
                    }
                    if let Some(asked) = self.turn() {
                        return Poll::Ready(Onward::Hyper(asked));
                    }
                }
                Step::Writing(writing) => {
                    let done = ready!(writing.poll(&mut self.wire, &self.pulse, cx));
                    self.later = None;
                    return Poll::Ready(if done.is_ok() { Onward::Next } else { Onward::Broken });
                }
            }
        }
    }

    /// From the answer that is here to its writing, or to hyper.
    fn turn(&mut self) -> Option<Bytes> {
        let Later { asked, step } = *self.later.take()?;
        let Step::Here(response) = step else { return None };
        match Writing::of(&response).filter(|_| !self.pulse.draining()) {
            Some((front, left)) => {
                let body = response.into_body();
                let writing = Writing { front, data: Bytes::new(), body: Some(body), left };
                self.later = Some(Box::new(Later { asked, step: Step::Writing(writing) }));
                None
            }
            None => {
                self.service.answered.lock().replace(response);
                Some(asked)
            }
        }
    }
}

/// An answer of known length.
struct Writing<B> {
    /// The head, and behind it a short body.
    front: Vec<u8>,
    /// What of the body comes next.
    data: Bytes,
    body: Option<B>,
    /// Bytes of the body that were not taken from `body` yet.
    left: u64,
}

impl<B: Body<Data = Bytes> + Unpin> Writing<B> {
    /// The head as text and the length of the body, if the answer is one to be written here.
    fn of(response: &Response<B>) -> Option<(Vec<u8>, u64)> {
        let (status, fields) = (response.status(), response.headers());
        let content = status.as_u16() >= 200
            && !matches!(
                status,
                StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
            );
        let theirs = [CONNECTION, TRANSFER_ENCODING, UPGRADE, TRAILER];
        if !content || theirs.iter().any(|n| fields.contains_key(n)) || !fields.contains_key(DATE) {
            return None;
        }
        let mut said = fields.get_all(CONTENT_LENGTH).iter();
        let length = response.body().size_hint().exact()?;
        let told = said.next()?.to_str().ok()?.parse() == Ok(length) && said.next().is_none();
        let reason = status.canonical_reason().filter(|_| told)?;
        let mut out = Vec::with_capacity(HEAD_ROOM + length.min(COPIED_MAX as u64) as usize);
        for part in [b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
        for (name, value) in fields {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(b"\r\n");
        Some((out, length))
    }

    /// Writes all of it. An error: the body broke, or the client is gone; then the connection
    /// must end, so that the client sees that something is missing.
    fn poll(
        &mut self,
        wire: &mut Wire,
        pulse: &Pulse,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            // A head is not sent alone if some of the body is there.
            if self.data.is_empty() && self.left > 0 {
                match self.poll_data(cx) {
                    Poll::Ready(data) => self.queue(data?),
                    Poll::Pending => {
                        ready!(self.poll_out(wire, pulse, cx))?;
                        ready!(flush(wire, pulse, cx))?;
                        return Poll::Pending;
                    }
                }
            }
            if self.left == 0 {
                self.body = None;
            }
            ready!(self.poll_out(wire, pulse, cx))?;
            if self.left == 0 {
                return flush(wire, pulse, cx);
            }
        }
    }

    fn queue(&mut self, data: Bytes) {
        if self.front.len() + data.len() <= self.front.capacity().max(COPIED_MAX) {
            self.front.extend_from_slice(&data);
        } else {
            self.data = data;
        }
    }

    /// More of the body, never more than announced.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        loop {
            let Some(body) = &mut self.body else { return Poll::Ready(Err(cut())) };
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let left = self.left.checked_sub(data.len() as u64);
                    self.left = left.ok_or_else(cut)?;
                    if !data.is_empty() {
                        return Poll::Ready(Ok(data));
                    }
                }
                Some(Err(_)) | None => return Poll::Ready(Err(cut())),
            }
        }
    }

    /// Writes what is queued.
    fn poll_out(
        &mut self,
        wire: &mut Wire,
        pulse: &Pulse,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !(self.front.is_empty() && self.data.is_empty()) {
            let polled = match (self.front.is_empty(), self.data.is_empty()) {
                (_, true) => Pin::new(&mut *wire).poll_write(cx, &self.front),
                (true, false) => Pin::new(&mut *wire).poll_write(cx, &self.data),
                (false, false) => {
                    let both = [IoSlice::new(&self.front), IoSlice::new(&self.data)];
                    Pin::new(&mut *wire).poll_write_vectored(cx, &both)
                }
            };
            wrote(pulse, &polled);
            let written = ready!(polled)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_front = written.min(self.front.len());
            match of_front == self.front.len() {
                true => self.front.clear(),
                false => drop(self.front.drain(..of_front)),
            }
            self.data.advance(written - of_front);
        }
        Poll::Ready(Ok(()))
    }
}

/// Room for a head.
const HEAD_ROOM: usize = 1 << 10;

/// Bodies up to this long are copied behind their head.
const COPIED_MAX: usize = 4 << 10;
