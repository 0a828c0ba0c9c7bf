//! The body of an origin's answer.
//!
//! It ends cleanly only if its framing did. The lease on the connection lives in here:
//! when the body ends the connection goes back to its pool, and when the body fails, is
//! dropped early or stands still, the connection is closed. The between-bytes timer is
//! armed only while the body really waits.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::bare::Bare;
use super::blame::body_fault;
use super::fault::OriginFault;
use super::framing::Framing;
use super::lease::Lease;
use super::resume::{Resume, Resuming};

/// An answer's body as it arrives.
pub struct OriginBody {
    source: Source,
    framing: Framing,
    lease: Option<Lease>,
    between: Duration,
    stall: Option<Pin<Box<Sleep>>>,
    /// Until when all of it must have arrived.
    total: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    /// Bytes handed out.
    seen: u64,
    resume: Option<Box<Resume>>,
}

enum Source {
    Ended,
    Held(Bytes),
    Wire(Incoming),
    /// From the connection in the lease.
    Bare,
    /// Broken off; the rest is being asked for.
    Resuming(Resuming, SizeHint),
    Files {
        pieces: mpsc::Receiver<Result<Bytes, OriginFault>>,
        left: u64,
    },
}

impl OriginBody {
    /// From a connection that hyper speaks on.
    pub(super) fn wire(body: Incoming, framing: Framing, lease: Lease, between: Duration) -> Self {
        let mut body = OriginBody::local(Source::Wire(body), framing);
        (body.lease, body.between) = (Some(lease), between);
        body
    }

    /// From the connection in `lease`, which goes back at once if nothing is to come.
    pub(super) fn bare(mut lease: Lease, between: Duration) -> Self {
        let (framing, over) =
            lease.bare().map_or((Framing::None, true), |one| (one.framing(), one.is_over()));
        let mut body = OriginBody::local(Source::Bare, framing);
        (body.lease, body.between) = (Some(lease), between);
        if over {
            body.end(None);
        }
        body
    }

    /// Pieces read elsewhere, `length` bytes in all.
    pub(super) fn files(pieces: mpsc::Receiver<Result<Bytes, OriginFault>>, length: u64) -> Self {
        Self::local(Source::Files { pieces, left: length }, Framing::Length)
    }

    /// No body.
    pub fn empty() -> Self {
        Self::local(Source::Ended, Framing::None)
    }

    /// Bytes in hand.
    pub fn full(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        Self::local(Source::Held(bytes), Framing::Length)
    }

    fn local(source: Source, framing: Framing) -> Self {
        let between = Duration::MAX;
        OriginBody {
            source,
            framing,
            lease: None,
            between,
            stall: None,
            total: None,
            waiting: false,
            seen: 0,
            resume: None,
        }
    }

    /// How the end of this body is known. [`Framing::Close`] cannot tell a cut from an
    /// end (RFC 9112 8), which matters to whoever stores it.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// All of a short body whose length was announced, if it is here already: in memory of its
    /// own, so that it may be kept as it is.
    pub fn take_whole(&mut self) -> Option<Bytes> {
        if !matches!(self.source, Source::Bare) {
            return None;
        }
        let lease = self.lease.as_mut()?;
        let whole = lease.bare()?.take_whole()?;
        lease.received(whole.len());
        self.seen += whole.len() as u64;
        self.end(None);
        Some(whole)
    }

    /// It must have ended by then.
    pub(super) fn end_at(&mut self, end: Instant) {
        self.total = Some(Box::pin(tokio::time::sleep_until(end)));
    }

    /// Allows the body to be continued when it breaks.
    pub(super) fn arm(&mut self, resume: Box<Resume>) {
        self.resume = Some(resume);
    }

    /// The body broke: asks for the rest if that is possible, else it ends as an error.
    fn broke(&mut self, fault: OriginFault) -> Option<OriginFault> {
        let hint = self.size_hint();
        self.end(Some(fault));
        match self.resume.take() {
            Some(resume) if resume.is_worth(fault, self.seen) => {
                self.source = Source::Resuming(resume.begin(fault, self.seen), hint);
                None
            }
            _ => Some(fault),
        }
    }

    /// Goes on with the body of another answer.
    fn go_on(&mut self, mut next: OriginBody, resume: Box<Resume>) {
        self.source = std::mem::replace(&mut next.source, Source::Ended);
        self.lease = next.lease.take();
        self.waiting = false;
        self.resume = Some(resume);
    }

    /// The body is over, well or badly; the connection's fate follows.
    fn end(&mut self, fault: Option<OriginFault>) {
        self.source = Source::Ended;
        self.stall = None;
        if let Some(lease) = self.lease.take() {
            match fault {
                None => lease.finish(self.framing != Framing::Close),
                Some(fault) => lease.fail(fault),
            }
        }
    }

    fn of_bare(&self) -> Option<&Bare> {
        self.lease.as_ref().and_then(Lease::as_bare)
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OriginFault>>> {
        if let Source::Resuming(resuming, _) = &mut self.source {
            match ready!(resuming.as_mut().poll(cx)) {
                Ok((next, resume)) => self.go_on(next, resume),
                Err(fault) => return Poll::Ready(Some(Err(fault))),
            }
        }
        match &mut self.source {
            Source::Ended => Poll::Ready(None),
            Source::Held(bytes) => {
                let bytes = std::mem::take(bytes);
                self.source = Source::Ended;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Source::Wire(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|item| item.map(|frame| frame.map_err(|error| body_fault(&error)))),
            Source::Bare => match self.lease.as_mut().and_then(Lease::bare) {
                Some(one) => one.poll_frame(cx),
                None => Poll::Ready(Some(Err(OriginFault::Truncated))),
            },
            Source::Resuming(..) => Poll::Ready(Some(Err(OriginFault::Truncated))),
            Source::Files { pieces, left } => match ready!(pieces.poll_recv(cx)) {
                Some(Ok(piece)) => {
                    *left = left.saturating_sub(piece.len() as u64);
                    Poll::Ready(Some(Ok(Frame::data(piece))))
                }
                Some(Err(fault)) => Poll::Ready(Some(Err(fault))),
                // The reader went away before everything was sent.
                None if *left > 0 => Poll::Ready(Some(Err(OriginFault::Truncated))),
                None => Poll::Ready(None),
            },
        }
    }

    /// Called while the source has nothing: arms and checks the between-bytes deadline.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<OriginFault> {
        // The request for the rest has deadlines of its own.
        if self.between == Duration::MAX || matches!(self.source, Source::Resuming(..)) {
            return Poll::Pending;
        }
        if !self.waiting {
            self.waiting = true;
            let sleep = tokio::time::sleep(self.between);
            match self.stall.as_mut() {
                Some(stall) => stall.set(sleep),
                None => self.stall = Some(Box::pin(sleep)),
            }
        }
        match self.stall.as_mut() {
            Some(stall) => stall.as_mut().poll(cx).map(|()| OriginFault::BodyTimeout),
            None => Poll::Pending,
        }
    }
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = OriginFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OriginFault>>> {
        let this = &mut *self;
        loop {
            let late = this.total.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready());
            let source = match late {
                true => Poll::Ready(Some(Err(OriginFault::TotalTimeout))),
                false => this.poll_source(cx),
            };
            let fault = match source {
                Poll::Pending => match this.poll_stall(cx) {
                    Poll::Ready(fault) => fault,
                    Poll::Pending => return Poll::Pending,
                },
                Poll::Ready(Some(Ok(frame))) => {
                    this.waiting = false;
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    this.seen += length as u64;
                    if let Some(lease) = &this.lease {
                        lease.received(length);
                    }
                    // The connection need not wait until the last piece was taken.
                    if matches!(this.source, Source::Bare) && this.is_end_stream() {
                        this.end(None);
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(fault))) => fault,
                Poll::Ready(None) => {
                    this.end(None);
                    return Poll::Ready(None);
                }
            };
            match this.broke(fault) {
                Some(fault) => return Poll::Ready(Some(Err(fault))),
                None => continue,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Ended => true,
            Source::Held(_) | Source::Resuming(..) => false,
            Source::Wire(body) => body.is_end_stream(),
            Source::Bare => self.of_bare().is_some_and(Bare::is_over),
            Source::Files { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Ended => SizeHint::with_exact(0),
            Source::Held(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Wire(body) => body.size_hint(),
            Source::Bare => self.of_bare().map_or_else(SizeHint::default, Bare::size_hint),
            Source::Resuming(_, hint) => *hint,
            Source::Files { left, .. } => SizeHint::with_exact(*left),
        }
    }
}

impl Drop for OriginBody {
    /// A reader that saw `is_end_stream` need not poll to the end. Any other drop leaves
    /// the lease, whose own drop closes the connection.
    fn drop(&mut self) {
        if self.lease.is_some() && self.is_end_stream() {
            self.end(None);
        }
    }
}

impl fmt::Debug for OriginBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginBody").field("framing", &self.framing).finish_non_exhaustive()
    }
}
