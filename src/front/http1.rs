//! One HTTP/1 connection: the stream hyper reads and writes, and the loop that runs it.
//!
//! Writes go through untouched (one `writev` for a small answer). Half-close is allowed:
//! a client that sends its request and shuts its sending side still gets its answer, and
//! hyper then never reads while an answer is on its way, so a read means "the next
//! request may begin".

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Handler;
use super::gate::Lease;
use super::guard::{Guard, Then};
use super::interim::Interim;
use super::later::Later;
use super::options::Limits;
use super::pulse::{Phase, Pulse, Verdict};
use super::service::Service;
use super::straight::Underway;
use super::wire::{self, Wire};

/// The stream under hyper.
pub(crate) struct Http1Io<H: Handler> {
    pub(super) service: Arc<Service<H>>,
    pub(super) wire: Wire,
    pub(super) pulse: Arc<Pulse>,
    pub(super) guard: Guard,
    /// Bytes read from the wire that may not be, or were not yet, given to hyper.
    pub(super) held: BytesMut,
    /// How many of them hyper may have.
    pub(super) cleared: usize,
    /// What the rest of them are.
    pub(super) rest: Then,
    /// How far an orderly close has come.
    closing: Closing,
    interim: Arc<Interim>,
    /// An answer of our own that the client has not taken yet (`straight`).
    pub(super) underway: Option<Box<Underway<H::Ready>>>,
    /// A request whose answer is waited for without hyper (`later`).
    pub(super) later: Option<Box<Later<H::Body>>>,
    /// The rest of an interim head that is partly written: nothing may overtake it.
    ahead: Vec<u8>,
    /// Held as long as the socket is, also by a tunnel.
    pub(super) lease: Lease,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Open,
    Lingering { left: usize },
}

impl<H: Handler> Http1Io<H> {
    pub(crate) fn new(
        wire: Wire,
        service: Arc<Service<H>>,
        guard: Guard,
        early: &[u8],
        lease: Lease,
    ) -> Self {
        let mut wire = wire;
        wire::hold(&mut wire, TLS_HOLD);
        let pulse = Arc::clone(&service.pulse);
        let interim = Arc::clone(&service.conn.interim);
        let held = BytesMut::from(early);
        let rest = if early.is_empty() { Then::Done } else { Then::Alone };
        Http1Io {
            service,
            wire,
            pulse,
            guard,
            held,
            cleared: 0,
            rest,
            closing: Closing::Open,
            interim,
            underway: None,
            later: None,
            ahead: Vec::new(),
            lease,
        }
    }
}

impl<H: Handler> Http1Io<H> {
    /// Whether an interim head is partly written. One that only waits comes too late for the
    /// answer before, and none is asked for by the request that is now read.
    pub(super) fn speaking(&self) -> bool {
        drop(self.interim.take());
        !self.ahead.is_empty()
    }

    /// Writes what is left of an interim head.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ahead.is_empty() {
            let written = ready!(Pin::new(&mut self.wire).poll_write(cx, &self.ahead))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.ahead.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the interim heads that wait.
    pub(super) fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_ahead(cx))?;
            match self.interim.take() {
                Some(head) => self.ahead = head,
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Before hyper writes: an interim head that is begun is finished, one that only waits
    /// comes too late.
    fn poll_write_allowed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ahead(cx))?;
        drop(self.interim.take());
        Poll::Ready(Ok(()))
    }
}

impl<H: Handler> Drop for Http1Io<H> {
    fn drop(&mut self) {
        self.end_underway(false);
        if self.pulse.verdict() == Verdict::Abort {
            wire::reset(&self.wire);
        }
        self.pulse.enter(Phase::Gone);
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve<H: Handler>(io: Http1Io<H>, limits: &Limits) {
    let mut io = io;
    let service = Arc::clone(&io.service);
    let pulse = Arc::clone(&service.pulse);
    let mut woken = None;
    // As long as every request is plain and its answer ready, there is no need for hyper.
    let alive = poll_fn(|cx| {
        watch(&pulse, &mut woken, cx);
        if pulse.verdict() == Verdict::Abort {
            return Poll::Ready(false);
        }
        io.poll_straight(cx)
    })
    .await;
    if !alive {
        return;
    }
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .half_close(true)
        .max_buf_size(READ_BUFFER_MAX.max(limits.head_max.bytes() as usize * 2))
        .header_read_timeout(None);
    if limits.fields_max > HYPER_FIELDS {
        builder.max_headers(limits.fields_max);
    }
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, std::convert::Infallible>(service.http1(request).await) }
    });
    let mut conn = pin!(builder.serve_connection(TokioIo::new(io), answer).with_upgrades());
    poll_fn(|cx| {
        watch(&pulse, &mut woken, cx);
        if pulse.verdict() == Verdict::Abort {
            return Poll::Ready(());
        }
        let polled = conn.as_mut().poll(cx);
        if matches!(polled, Poll::Ready(Err(_))) && pulse.ends_by_close() {
            pulse.set_verdict(Verdict::Abort);
        }
        polled.map(|_| ())
    })
    .await;
}

/// Makes the sweep wake this task; costs two compares once that is settled.
pub(crate) fn watch(pulse: &Pulse, known: &mut Option<std::task::Waker>, cx: &Context<'_>) {
    if !known.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        pulse.set_waker(cx.waker().clone());
        *known = Some(cx.waker().clone());
    }
}

impl<H: Handler> AsyncWrite for Http1Io<H> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_write_allowed(cx))?;
        let polled = Pin::new(&mut this.wire).poll_write(cx, data);
        wrote(&this.pulse, &polled);
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_write_allowed(cx))?;
        let polled = Pin::new(&mut this.wire).poll_write_vectored(cx, data);
        wrote(&this.pulse, &polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.underway.is_some() {
            drop(this.interim.take());
        } else if this.ahead.is_empty() {
            this.ahead = this.interim.take().unwrap_or_default();
        }
        ready!(this.poll_ahead(cx))?;
        let polled = Pin::new(&mut this.wire).poll_flush(cx);
        match &polled {
            Poll::Pending => this.pulse.write_blocked(),
            // Of an answer underway hyper knows nothing: that it has nothing more to flush
            // does not mean that the client took anything.
            Poll::Ready(_) if this.underway.is_some() => {}
            Poll::Ready(_) => this.pulse.write_progress(0),
        }
        polled
    }

    /// Closes our side, then reads what the client still sends for a short while: a
    /// socket closed with unread bytes is reset, and the reset may overtake the answer
    /// (RFC 9112 9.6).
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing == Closing::Open {
            ready!(Pin::new(&mut this.wire).poll_shutdown(cx))?;
            this.closing = Closing::Lingering { left: LINGER_BYTES_MAX };
            this.pulse.enter(Phase::Linger);
        }
        let mut scratch = [0u8; 4096];
        loop {
            let Closing::Lingering { left } = this.closing else { return Poll::Ready(Ok(())) };
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.wire).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() && left > buf.filled().len() => {
                    this.closing = Closing::Lingering { left: left - buf.filled().len() };
                }
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

pub(super) fn wrote(pulse: &Pulse, polled: &Poll<io::Result<usize>>) {
    match polled {
        Poll::Pending => pulse.write_blocked(),
        Poll::Ready(Ok(n)) => pulse.write_progress(*n),
        Poll::Ready(Err(_)) => {}
    }
}

/// Sends what TLS holds.
pub(super) fn flush(wire: &mut Wire, pulse: &Pulse, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let polled = Pin::new(wire).poll_flush(cx);
    flushed(pulse, &polled);
    polled
}

/// A client that took all that was held is waited for no more: how long nothing comes after
/// that is not its fault.
pub(super) fn flushed(pulse: &Pulse, polled: &Poll<io::Result<()>>) {
    match polled {
        Poll::Pending => pulse.write_blocked(),
        Poll::Ready(Ok(())) => pulse.write_progress(0),
        Poll::Ready(Err(_)) => {}
    }
}

/// Encrypted bytes of one write: a head and a body of 64 KiB leave in one system call.
const TLS_HOLD: usize = 80 << 10;

/// hyper's own limit of fields; a higher one costs it an allocation a request.
const HYPER_FIELDS: usize = 100;

/// Bytes hyper may buffer of one message; the guard's own limits are tighter.
const READ_BUFFER_MAX: usize = 64 << 10;

/// Bytes read and thrown away after the last answer.
const LINGER_BYTES_MAX: usize = 256 << 10;
