//! The reading half of an HTTP/1 connection: hyper gets only what the guard has passed.
//!
//! In the common case a whole request arrives in one read: it is scanned in hyper's own
//! buffer and nothing is copied. What is not complete, comes after a held request, or
//! does not fit is kept here. One plain request by itself may be answered at once and is
//! then not given to hyper at all (`straight`). A refused head reaches hyper as one made-up
//! request, whose answer closes the connection, so that the answers to earlier requests
//! come first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use super::guard::{Scan, Then};
use super::http1::Http1Io;
use super::pulse::{Phase, Upgrade, Verdict};
use super::service::REFUSED;
use super::{BoxError, Handler};
use crate::rules::fault::Fault;

/// Why a request body could not be read to its end. The handler finds it among
/// the sources of the body's error.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("request body broken off: {}", .0.reason())]
pub struct BrokenBody(pub Fault);

impl BrokenBody {
    /// The fault behind an error of a request body: what the guard said, or that the
    /// client went away in the middle.
    pub fn fault_of(error: &BoxError) -> Fault {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
        while let Some(error) = source {
            if let Some(BrokenBody(fault)) = error.downcast_ref() {
                return *fault;
            }
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(BrokenBody(fault)) = inner.and_then(|inner| inner.downcast_ref()) {
                return *fault;
            }
            source = error.source();
        }
        Fault::BadRequest("the request body ended early")
    }
}

impl<H: Handler> AsyncRead for Http1Io<H> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.underway.is_some() {
            ready!(this.poll_underway(cx))?;
        }
        if this.pulse.upgrade() == Upgrade::Tunnel {
            return this.tunnel(cx, buf);
        }
        if this.guard.held() && this.pulse.upgrade() == Upgrade::None {
            this.guard.resume();
            this.rest = Then::Alone;
        }
        loop {
            if this.cleared > 0 {
                this.give(buf);
                return Poll::Ready(Ok(()));
            }
            match this.rest {
                Then::Alone => {
                    this.rescan();
                    this.charge();
                    continue;
                }
                // The upgrade is not answered, or everything has been said.
                Then::Hold => return Poll::Pending,
                Then::Refuse(fault) => {
                    this.refuse(fault);
                    continue;
                }
                Then::Break(fault) => {
                    return Poll::Ready(Err(io::Error::other(BrokenBody(fault))));
                }
                Then::Done | Then::Partial => {}
            }
            match this.pulse.verdict() {
                Verdict::Close => return Poll::Ready(Ok(())),
                Verdict::Abort => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Verdict::AnswerTimeout => {
                    this.pulse.set_verdict(Verdict::Fine);
                    this.refuse(Fault::RequestTimeout);
                    continue;
                }
                Verdict::FailBody | Verdict::Fine => {}
            }
            let done = if this.held.is_empty() {
                ready!(this.read_in_place(cx, buf))?
            } else {
                ready!(this.read_aside(cx))?
            };
            if done {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<H: Handler> Http1Io<H> {
    /// Reads into hyper's buffer and leaves there what passes. `true`: hyper has bytes,
    /// or the end.
    fn read_in_place(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.wire).poll_read(cx, buf) {
            Poll::Ready(read) => read?,
            Poll::Pending => return self.waiting(),
        }
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let (scan, asked) = self.guard.read(fresh);
        if let Some(polled) = self.answer_straight(cx, fresh, (&scan, asked)) {
            buf.set_filled(before);
            return polled.map_ok(|()| false);
        }
        self.held.extend_from_slice(fresh.get(scan.pass..).unwrap_or_default());
        buf.set_filled(before + scan.pass);
        self.note(&scan);
        if !self.held.is_empty() {
            self.charge();
        }
        Poll::Ready(Ok(scan.pass > 0))
    }

    /// Reads behind what is already held. `true`: the client has closed.
    pub(super) fn read_aside(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut scratch = [0u8; SCRATCH];
        let mut more = ReadBuf::new(&mut scratch);
        match Pin::new(&mut self.wire).poll_read(cx, &mut more) {
            Poll::Ready(read) => read?,
            Poll::Pending => return self.waiting(),
        }
        if more.filled().is_empty() {
            return Poll::Ready(Ok(true));
        }
        let seen = self.held.len();
        self.held.extend_from_slice(more.filled());
        // A head that comes byte by byte is read once, when its end is there.
        if self.rest != Then::Partial || self.guard.may_be_complete(&self.held, seen) {
            self.rescan();
        }
        self.charge();
        Poll::Ready(Ok(false))
    }

    /// The client sends nothing: which deadline runs?
    fn waiting(&mut self) -> Poll<io::Result<bool>> {
        if self.guard.in_body() {
            if self.pulse.verdict() == Verdict::FailBody {
                self.pulse.set_verdict(Verdict::Fine);
                let slow = BrokenBody(Fault::RequestTimeout);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, slow)));
            }
            self.pulse.wait_for(Phase::Body);
        } else if self.held.is_empty() || self.held.as_ref() == b"\r\n" {
            self.pulse.wait_for(Phase::Idle);
        } else {
            self.pulse.wait_for(Phase::Head);
        }
        Poll::Pending
    }

    /// Counts what is held of an unfinished head with that of all connections.
    pub(super) fn charge(&mut self) {
        let unfinished = if self.rest == Then::Partial { self.held.capacity() } else { 0 };
        if !self.lease.hold_head(unfinished) {
            self.refuse(Fault::Overloaded("too many unfinished requests"));
            self.lease.hold_head(0);
        }
    }

    fn rescan(&mut self) {
        let scan = self.guard.scan(&self.held);
        self.cleared = scan.pass;
        self.note(&scan);
    }

    pub(super) fn note(&mut self, scan: &Scan) {
        self.rest = scan.then;
        if self.pulse.verdict() == Verdict::FailBody && scan.body > 0 {
            // Bytes were there after all: the node itself was slow to ask for them.
            self.pulse.set_verdict(Verdict::Fine);
        }
        if scan.body > 0 {
            self.pulse.body_progress(scan.body);
        }
        if scan.heads > 0 {
            self.pulse.begin_exchange();
        }
        if scan.upgrade {
            let asked = self.guard.held();
            self.pulse.set_upgrade(if asked { Upgrade::Asked } else { Upgrade::Ignored });
        }
    }

    /// Moves cleared bytes to hyper and gives the memory back with the last one.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.cleared.min(buf.remaining());
        buf.put_slice(self.held.get(..n).unwrap_or_default());
        self.held.advance(n);
        self.cleared -= n;
        if self.held.is_empty() {
            self.held = BytesMut::new();
            self.lease.hold_head(0);
        }
    }

    /// Puts the made-up request in the place of the refused one.
    fn refuse(&mut self, fault: Fault) {
        self.pulse.set_fault(fault);
        self.pulse.begin_exchange();
        self.held.clear();
        self.held.extend_from_slice(REFUSED.as_bytes());
        self.held.extend_from_slice(b" / HTTP/1.1\r\n\r\n");
        self.cleared = self.held.len();
        self.rest = Then::Hold;
    }

    /// After 101: bytes are no longer HTTP.
    fn tunnel(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            self.cleared = self.held.len();
            self.give(buf);
            return Poll::Ready(Ok(()));
        }
        if self.pulse.verdict() != Verdict::Fine {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let polled = Pin::new(&mut self.wire).poll_read(cx, buf);
        match &polled {
            // The task that moves the bytes is not the one that served the request.
            Poll::Pending => {
                self.pulse.set_waker(cx.waker().clone());
                self.pulse.wait_for(Phase::Tunnel);
            }
            Poll::Ready(_) => self.pulse.enter(Phase::Tunnel),
        }
        polled
    }
}

/// Bytes of one read on the slow path.
const SCRATCH: usize = 4096;
