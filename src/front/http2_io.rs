//! The stream under h2: counts frames both ways and gathers writes.
//!
//! The I/O is shared between h2, which reads and writes frames, and the loop that
//! drives the connection, which flushes. Both run in one task, so the lock is never
//! contended; it is there because the parts must be `Send`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::coalesce::{self, Coalesce};
use super::frames::{
    Budgets, CONTINUATION, DATA, Flood, FrameHead, HEADERS, PREFACE_LEN, Walk, goaway,
};
use super::gate::Lease;
use super::http2_block::Blocks;
use super::pulse::{Phase, Pulse, Verdict};
use super::stats::{Stats, count};
use super::wire::{self, Wire};

/// h2's handle.
pub(crate) struct Http2Io(pub(crate) Arc<Mutex<Shared>>);

/// The stream itself.
pub(crate) struct Shared {
    wire: Wire,
    pulse: Arc<Pulse>,
    stats: Arc<Stats>,
    /// Bytes read while it was not known that this is HTTP/2.
    early: Vec<u8>,
    inward: Walk,
    outward: Walk,
    budgets: Budgets,
    blocks: Arc<Mutex<Blocks>>,
    /// Bytes of a header block come next.
    in_block: bool,
    out: Coalesce,
    flood: Option<Flood>,
    closing: Option<usize>,
    /// There is nothing to read until the task is woken: h2 asks after every request.
    quiet: bool,
    /// When something was read last, in the pulse's time.
    heard: u64,
    _lease: Lease,
}

impl Shared {
    pub(crate) fn new(
        wire: Wire,
        pulse: Arc<Pulse>,
        stats: Arc<Stats>,
        early: Vec<u8>,
        budgets: Budgets,
        lease: Lease,
    ) -> Arc<Mutex<Shared>> {
        let mut wire = wire;
        wire::hold(&mut wire, coalesce::HOLD);
        let heard = pulse.now();
        Arc::new(Mutex::new(Shared {
            wire,
            pulse,
            stats,
            early,
            inward: Walk::after(PREFACE_LEN),
            outward: Walk::after(0),
            budgets,
            blocks: Arc::default(),
            in_block: false,
            out: Coalesce::default(),
            flood: None,
            closing: None,
            quiet: false,
            heard,
            _lease: lease,
        }))
    }

    /// The task runs again: there may be something to read.
    pub(crate) fn rouse(&mut self) {
        self.quiet = false;
    }

    /// What of the client's header blocks h2 does not tell.
    pub(crate) fn blocks(&self) -> Arc<Mutex<Blocks>> {
        Arc::clone(&self.blocks)
    }

    /// How long nothing has been read.
    pub(crate) fn silent(&self) -> Duration {
        Duration::from_millis(self.pulse.now().saturating_sub(self.heard))
    }

    /// Really sends what was gathered; called once before the task sleeps.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.out.poll_flush(&mut self.wire, cx) {
            Poll::Ready(sent) => {
                self.pulse.write_progress(sent?);
                self.out.give_back();
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                self.pulse.write_blocked();
                Poll::Pending
            }
        }
    }

    /// Sends what is left, closes our side and drains the client's for a short while.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut left = match self.closing {
            Some(left) => left,
            None => {
                self.pulse.wait_for(Phase::Linger);
                ready!(self.poll_flush(cx))?;
                ready!(Pin::new(&mut self.wire).poll_shutdown(cx))?;
                LINGER_BYTES_MAX
            }
        };
        let mut scratch = [0u8; 4096];
        loop {
            self.closing = Some(left);
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.wire).poll_read(cx, &mut buf))?;
            let n = buf.filled().len();
            if n == 0 || n >= left {
                return Poll::Ready(Ok(()));
            }
            left -= n;
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(flood) = self.flood {
            return Poll::Ready(Err(io::Error::other(flood)));
        }
        let before = buf.filled().len();
        if self.early.is_empty() {
            if self.quiet {
                return Poll::Pending;
            }
            let polled = Pin::new(&mut self.wire).poll_read(cx, buf);
            self.quiet = polled.is_pending();
            ready!(polled)?;
        } else {
            let n = self.early.len().min(buf.remaining());
            buf.put_slice(self.early.get(..n).unwrap_or_default());
            self.early.drain(..n);
        }
        let mut fresh = buf.filled().get(before..).unwrap_or_default();
        self.heard = self.pulse.now();
        self.budgets.tick(self.heard);
        self.budgets.finished(self.pulse.take_finished());
        let mut uploaded = 0;
        if let Err(flood) = self.follow_block(fresh) {
            buf.set_filled(before);
            return Poll::Ready(Err(self.cut_off(flood)));
        }
        while let Some(frame) = self.inward.next(&mut fresh) {
            if frame.kind == DATA {
                uploaded += frame.len;
            }
            if let Err(flood) = self.heed(frame, fresh) {
                buf.set_filled(before);
                return Poll::Ready(Err(self.cut_off(flood)));
            }
        }
        self.pulse.uploads(self.budgets.uploads() > 0, uploaded);
        self.pulse.partial(!self.inward.at_boundary() || self.budgets.in_block());
        Poll::Ready(Ok(()))
    }

    /// A frame begins, and `fresh` with its payload.
    fn heed(&mut self, frame: FrameHead, fresh: &[u8]) -> Result<(), Flood> {
        let last = self.budgets.last_stream();
        self.budgets.received(frame)?;
        if matches!(frame.kind, HEADERS | CONTINUATION) {
            self.blocks.lock().begin(frame, frame.kind == HEADERS, last);
            self.in_block = true;
            self.follow_block(fresh)?;
        }
        Ok(())
    }

    /// Shows the beginning of `fresh` to who reads header blocks, if it belongs to one.
    fn follow_block(&mut self, fresh: &[u8]) -> Result<(), Flood> {
        if self.in_block {
            self.in_block = self.blocks.lock().take(fresh)?;
        }
        Ok(())
    }

    fn write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(flood) = self.flood {
            return Poll::Ready(Err(io::Error::other(flood)));
        }
        let n = match self.out.poll_write(&mut self.wire, cx, slices) {
            Poll::Ready(written) => written?,
            Poll::Pending => {
                self.pulse.write_blocked();
                return Poll::Pending;
            }
        };
        self.pulse.write_progress(n);
        let mut left = n;
        for slice in slices {
            let mut part = slice.get(..left.min(slice.len())).unwrap_or_default();
            left -= part.len();
            while let Some(frame) = self.outward.next(&mut part) {
                if frame.kind == DATA {
                    self.pulse.data_sent();
                }
                if let Err(flood) = self.budgets.sent(frame) {
                    return Poll::Ready(Err(self.cut_off(flood)));
                }
            }
        }
        Poll::Ready(Ok(n))
    }

    /// Remembers the flood and, where a frame may begin, says good-bye.
    fn cut_off(&mut self, flood: Flood) -> io::Error {
        count(&self.stats.http2_floods);
        count(flood.counter(&self.stats));
        tracing::debug!(%flood, "connection cut off");
        self.flood = Some(flood);
        if self.outward.at_boundary() {
            let farewell = goaway(self.budgets.last_stream());
            let mut cx = Context::from_waker(std::task::Waker::noop());
            // What does not fit now is not worth waiting for.
            let _ = self.out.poll_write(&mut self.wire, &mut cx, &[IoSlice::new(&farewell)]);
        }
        io::Error::other(flood)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.pulse.verdict() == Verdict::Abort {
            wire::reset(&self.wire);
        }
        self.pulse.enter(Phase::Gone);
    }
}

impl AsyncRead for Http2Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.lock().read(cx, buf)
    }
}

impl AsyncWrite for Http2Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().write(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().write(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Done, as far as h2 is concerned: see `Shared::poll_flush`.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The loop that drives the connection closes it, whatever h2's end was.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Bytes read and thrown away after the last frame.
const LINGER_BYTES_MAX: usize = 256 << 10;
