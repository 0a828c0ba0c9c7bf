//! Plain requests for what is stored, answered without hyper.
//!
//! ```text
//! read -> guard -> one plain request, nothing else? -> Handler::ready -> write -> read ...
//!            '-------- anything else, or not ready --------> hyper
//! ```
//! A connection begins without hyper and goes on so while all its requests are like this.
//! Once hyper serves it, it asks the wrapper for bytes only when the answers to all requests
//! before have left (half-close is allowed, so it never reads beside an answer): then the
//! wrapper may answer a request itself, in order, and hyper never knows. What hyper did for
//! a stored answer (its own parse, a header map each way, the encoder, the dispatcher) cost
//! as much as the cache's own work. A short body is copied behind the head, so that an
//! answer is one plain write (and one TLS record); long ones are written with `writev` and
//! never copied.
//!
//! An answer that the client does not take at once waits here with a copy of its request,
//! which the log needs, and nothing is read before it is gone.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::{Guard, Plain, Scan, Then};
use super::http1::{Http1Io, flush, wrote};
use super::later::Onward;
use super::pulse::{Phase, Pulse, Upgrade, Verdict};
use super::send::Coming;
use super::service::Service;
use super::wire::Wire;
use super::{Handler, Ready};

/// An answer being written.
pub(super) struct Underway<R> {
    ready: R,
    /// The head, and behind it a short body.
    front: Vec<u8>,
    head: usize,
    /// What follows the body that is at hand.
    coming: Coming,
    /// Bytes of all that the connection has taken.
    written: usize,
    /// The request, when the answer had to wait.
    asked: Vec<u8>,
}

impl<R: Ready> Underway<R> {
    fn new(ready: R, mut front: Vec<u8>) -> Self {
        let head = front.len();
        let length: usize = ready.body().iter().map(|piece| piece.len()).sum();
        if length <= COPIED_MAX {
            ready.body().iter().for_each(|piece| front.extend_from_slice(piece));
        }
        let coming = Coming::default();
        Underway { ready, front, head, coming, written: 0, asked: Vec::new() }
    }

    /// What is still to be written, as slices.
    fn rest(&self) -> SmallVec<[IoSlice<'_>; 4]> {
        let copied = self.front.len() > self.head;
        let body = if copied { &[] } else { self.ready.body() };
        let mut skip = self.written;
        let mut rest = SmallVec::new();
        for part in std::iter::once(self.front.as_slice()).chain(body.iter().map(AsRef::as_ref)) {
            let left = part.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(part.len());
            if !left.is_empty() && rest.len() < SLICES_MAX {
                rest.push(IoSlice::new(left));
            }
        }
        rest
    }

    fn poll_write(
        &mut self,
        wire: &mut Wire,
        pulse: &Pulse,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let waiting = match self.coming.poll_fill(&mut self.ready, cx) {
                Poll::Ready(filled) => filled.map(|()| false)?,
                Poll::Pending => true,
            };
            let mut rest = self.rest();
            let own: usize = rest.iter().map(|part| part.len()).sum();
            self.coming.slices(&mut rest, SLICES_MAX);
            let polled = match rest.as_slice() {
                // More of the body is waited for: what has been taken goes out meanwhile.
                [] if waiting => {
                    drop(rest);
                    ready!(flush(wire, pulse, cx))?;
                    return Poll::Pending;
                }
                [] => break,
                [one] => Pin::new(&mut *wire).poll_write(cx, one),
                many => Pin::new(&mut *wire).poll_write_vectored(cx, many),
            };
            drop(rest);
            wrote(pulse, &polled);
            match ready!(polled)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => {
                    self.written += n;
                    self.coming.advance(n.saturating_sub(own));
                }
            }
        }
        flush(wire, pulse, cx)
    }

    fn end<H: Handler<Ready = R>>(self, asked: &Plain<'_>, to: &Service<H>, complete: bool) {
        let bytes = self.written.saturating_sub(self.head) as u64;
        to.handler.sent(self.ready, asked, &to.conn, (bytes, complete));
    }
}

impl<H: Handler> Http1Io<H> {
    /// The life of a connection before hyper is needed: plain requests, one after the other.
    /// `Ready(true)`: something else has come (or the end, or a verdict) and hyper is to see
    /// it; `Ready(false)`: the connection broke.
    pub(super) fn poll_straight(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut scratch = [MaybeUninit::uninit(); READ_MAX];
        loop {
            if self.underway.is_some() && ready!(self.poll_underway(cx)).is_err() {
                return Poll::Ready(false);
            }
            match ready!(self.poll_later(cx)) {
                Onward::Next => {}
                Onward::Broken => return Poll::Ready(false),
                Onward::Hyper(asked) => return self.hand_over(&asked),
            }
            if self.pulse.verdict() != Verdict::Fine {
                return Poll::Ready(true);
            }
            if self.is_unfinished() {
                match ready!(self.read_aside(cx)) {
                    Ok(false) => continue,
                    Ok(true) => return Poll::Ready(true),
                    Err(_) => return Poll::Ready(false),
                }
            } else if !self.held.is_empty() {
                return Poll::Ready(true);
            }
            let mut buf = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut self.wire).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => {
                    self.pulse.wait_for(Phase::Idle);
                    return Poll::Pending;
                }
            }
            let fresh = buf.filled();
            let (scan, asked) = self.guard.read(fresh);
            match self.answer_straight(cx, fresh, (&scan, asked)) {
                Some(Poll::Ready(Ok(()))) => {}
                Some(Poll::Ready(Err(_))) => return Poll::Ready(false),
                Some(Poll::Pending) => return Poll::Pending,
                None if scan.then == Then::Partial && scan.pass == 0 => {
                    self.held.extend_from_slice(fresh);
                    self.note(&scan);
                    self.charge();
                }
                None if self.is_calm() && asked.is_some_and(|it| self.begin_later(fresh, &it)) => {
                    self.note(&scan);
                }
                None => return self.hand_over(fresh),
            }
        }
    }

    /// Whether all there is is the beginning of a head. Its rest is waited for without hyper,
    /// whose buffers are larger than most heads.
    fn is_unfinished(&self) -> bool {
        self.rest == Then::Partial && self.cleared == 0 && !self.held.is_empty()
    }

    /// Has `fresh` read again, as hyper's: nothing before it is unfinished.
    fn hand_over(&mut self, fresh: &[u8]) -> Poll<bool> {
        self.guard = Guard::new(self.guard.limits());
        self.held.extend_from_slice(fresh);
        self.rest = if fresh.is_empty() { Then::Done } else { Then::Alone };
        Poll::Ready(true)
    }

    /// Whether nothing else is to be done than to answer.
    fn is_calm(&mut self) -> bool {
        self.pulse.verdict() == Verdict::Fine
            && self.pulse.upgrade() == Upgrade::None
            && !self.pulse.draining()
            && !self.speaking()
    }

    /// Answers the request that `fresh` is, if it is plain and the answer is ready. `None`:
    /// hyper is to see it. The bytes are used up otherwise.
    pub(super) fn answer_straight(
        &mut self,
        cx: &mut Context<'_>,
        fresh: &[u8],
        (scan, asked): (&Scan, Option<Plain<'_>>),
    ) -> Option<Poll<io::Result<()>>> {
        let asked = asked?;
        if !self.is_calm() {
            return None;
        }
        let mut head = FRONT.take();
        let Some(ready) = self.service.ready(&asked, &mut head) else {
            give_back(head);
            return None;
        };
        self.note(scan);
        let mut underway = Underway::new(ready, head);
        let polled = underway.poll_write(&mut self.wire, &self.pulse, cx);
        match &polled {
            Poll::Ready(done) => {
                give_back(std::mem::take(&mut underway.front));
                underway.end(&asked, &self.service, done.is_ok());
            }
            Poll::Pending => {
                underway.asked.extend_from_slice(fresh);
                self.underway = Some(Box::new(underway));
            }
        }
        Some(polled)
    }

    /// Writes on at an answer that had to wait.
    pub(super) fn poll_underway(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(underway) = &mut self.underway else { return Poll::Ready(Ok(())) };
        let done = ready!(underway.poll_write(&mut self.wire, &self.pulse, cx));
        self.end_underway(done.is_ok());
        Poll::Ready(done)
    }

    /// No more will be written of it.
    pub(super) fn end_underway(&mut self, complete: bool) {
        let Some(mut underway) = self.underway.take() else { return };
        // What an origin said while pieces were fetched is not for the next answer.
        let _ = self.speaking();
        let asked = std::mem::take(&mut underway.asked);
        // Read as plain before, so it is plain again.
        if let (_, Some(asked)) = Guard::new(self.guard.limits()).read(&asked) {
            underway.end(&asked, &self.service, complete);
        }
    }
}

thread_local! {
    /// Where heads and short bodies are put together: one buffer a thread, which stays in the
    /// processor's cache. An answer that has to wait keeps it and the next one makes another.
    static FRONT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Keeps the buffer for the next answer, unless a head made it unusually long.
fn give_back(mut front: Vec<u8>) {
    if front.capacity() <= FRONT_MAX {
        front.clear();
        FRONT.set(front);
    }
}

/// Bytes a thread keeps for the next head.
const FRONT_MAX: usize = 32 << 10;

/// Bodies up to this long are copied behind their head.
const COPIED_MAX: usize = 4 << 10;

/// Bytes of one read before hyper is needed. A longer head is hyper's.
const READ_MAX: usize = 4 << 10;

/// Slices given to one `writev`.
const SLICES_MAX: usize = 16;
