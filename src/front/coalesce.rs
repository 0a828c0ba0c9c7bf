//! One write for a batch of HTTP/2 frames.
//!
//! h2 asks for a flush after every DATA frame, so sixteen small answers were sixteen
//! system calls, TLS records and packets. Here small writes are gathered up to one TLS
//! record, a flush asked by h2 is answered "done", and the loop that drives the
//! connection flushes for real once, before its task sleeps.
//!
//! Under TLS what is gathered is encrypted as soon as it fills records, straight from the
//! frames, and sent several records at a time: a frame of 16 KiB with its header would
//! otherwise be two records and a system call of its own. Without TLS large writes bypass
//! the buffer, together with what is in it (`writev`). The buffer is given back when empty:
//! ten thousand idle connections must not pay for it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;
use tokio::io::AsyncWrite;

use super::wire::{self, Wire};

/// Bytes waiting for the real flush.
#[derive(Debug, Default)]
pub(crate) struct Coalesce {
    buffer: Vec<u8>,
    sent: usize,
    /// Bytes given to TLS since it was last flushed.
    sealed: usize,
}

impl Coalesce {
    /// Takes `slices`, or as much as the stream allows; `Pending` is back-pressure.
    pub(crate) fn poll_write(
        &mut self,
        wire: &mut Wire,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let fits = self.waiting().len() + total < RECORD;
        match wire {
            Wire::Tls(_) if !fits => self.poll_seal(wire, cx, slices, total),
            Wire::Plain(_) | Wire::Unix(_) | Wire::Pipe(_) if total >= BYPASS => {
                self.poll_through(wire, cx, slices)
            }
            _ => {
                if !fits {
                    ready!(self.poll_drain(wire, cx))?;
                }
                self.gather(slices, 0);
                Poll::Ready(Ok(total))
            }
        }
    }

    /// Copies what comes after the first `skip` bytes of `slices`.
    fn gather(&mut self, slices: &[IoSlice<'_>], mut skip: usize) {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(RECORD);
        }
        for slice in slices {
            self.buffer.extend_from_slice(slice.get(skip..).unwrap_or_default());
            skip = skip.saturating_sub(slice.len());
        }
    }

    /// Encrypts as many whole records as there are and keeps the rest.
    fn poll_seal(
        &mut self,
        wire: &mut Wire,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        total: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.sealed >= SEALED_MAX {
                ready!(Pin::new(&mut *wire).poll_flush(cx))?;
                self.sealed = 0;
            }
            let mine = self.waiting().len();
            let mut left = (mine + total) / RECORD * RECORD;
            let whole = left;
            let mut full: SmallVec<[IoSlice<'_>; 8]> = SmallVec::new();
            for part in std::iter::once(self.waiting()).chain(slices.iter().map(|s| &**s)) {
                let part = part.get(..left.min(part.len())).unwrap_or_default();
                left -= part.len();
                if !part.is_empty() {
                    full.push(IoSlice::new(part));
                }
            }
            let Some(taken) = wire::seal(wire, &full) else { return Poll::Ready(Ok(0)) };
            drop(full);
            let taken = taken?;
            self.sealed += taken;
            self.advance(taken.min(mine));
            if taken < mine || taken == 0 {
                // The session holds all it may: send.
                self.sealed = SEALED_MAX;
                continue;
            }
            if taken < whole {
                return Poll::Ready(Ok(taken - mine));
            }
            self.gather(slices, taken - mine);
            return Poll::Ready(Ok(total));
        }
    }

    /// Writes `slices` without copying, after what waits.
    fn poll_through(
        &mut self,
        wire: &mut Wire,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mine = self.waiting().len();
            let mut all: SmallVec<[IoSlice<'_>; 8]> = SmallVec::new();
            if mine > 0 {
                all.push(IoSlice::new(self.waiting()));
            }
            all.extend(slices.iter().filter(|s| !s.is_empty()).map(|s| IoSlice::new(s)));
            let n = ready!(Pin::new(&mut *wire).poll_write_vectored(cx, &all))?;
            drop(all);
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(n.min(mine));
            if n > mine {
                return Poll::Ready(Ok(n - mine));
            }
        }
    }

    /// Sends everything and flushes the stream.
    pub(crate) fn poll_flush(
        &mut self,
        wire: &mut Wire,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(self.poll_drain(wire, cx))?;
        ready!(Pin::new(wire).poll_flush(cx))?;
        Poll::Ready(Ok(sent + std::mem::take(&mut self.sealed)))
    }

    fn poll_drain(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let total = self.waiting().len();
        while !self.waiting().is_empty() {
            match ready!(Pin::new(&mut *wire).poll_write(cx, self.waiting()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.advance(n),
            }
        }
        Poll::Ready(Ok(total))
    }

    fn waiting(&self) -> &[u8] {
        self.buffer.get(self.sent..).unwrap_or_default()
    }

    fn advance(&mut self, n: usize) {
        self.sent += n;
        if self.sent >= self.buffer.len() {
            self.sent = 0;
            self.buffer.clear();
        }
    }

    /// Frees the buffer when nothing waits in it.
    pub(crate) fn give_back(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            self.buffer = Vec::new();
        }
    }
}

/// Plaintext of one TLS record (RFC 8446 5.1).
const RECORD: usize = 16 << 10;

/// Writes from here on are not worth copying where no TLS reads them anyway.
const BYPASS: usize = 8 << 10;

/// Encrypted bytes from which on they are sent before more is encrypted.
const SEALED_MAX: usize = 4 * RECORD;

/// What a TLS session must be able to hold encrypted: one batch, one write beyond it, and
/// what records add.
pub(crate) const HOLD: usize = 3 * SEALED_MAX;
