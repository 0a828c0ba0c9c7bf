//! One write for a batch of HTTP/2 frames.
//!
//! h2 asks for a flush after every DATA frame, so sixteen small answers were sixteen
//! system calls, TLS records and packets. Here small writes are gathered up to one TLS
//! record, a flush asked by h2 is answered "done", and the loop that drives the
//! connection flushes for real once, before its task sleeps. Large writes bypass the
//! buffer, together with what is in it (`writev`). The buffer is given back when empty:
//! ten thousand idle connections must not pay for it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;
use tokio::io::AsyncWrite;

/// Bytes waiting for the real flush.
#[derive(Debug, Default)]
pub(crate) struct Coalesce {
    buffer: Vec<u8>,
    sent: usize,
}

impl Coalesce {
    /// Takes `slices`, or as much as the stream allows; `Pending` is back-pressure.
    pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        wire: &mut W,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        if total < BYPASS {
            if self.waiting().len() + total > RECORD {
                ready!(self.poll_drain(wire, cx))?;
            }
            if self.buffer.capacity() == 0 {
                self.buffer.reserve(RECORD);
            }
            for slice in slices {
                self.buffer.extend_from_slice(slice);
            }
            return Poll::Ready(Ok(total));
        }
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
    pub(crate) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        wire: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(self.poll_drain(wire, cx))?;
        ready!(Pin::new(wire).poll_flush(cx))?;
        Poll::Ready(Ok(sent))
    }

    fn poll_drain<W: AsyncWrite + Unpin>(
        &mut self,
        wire: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
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

/// Writes from here on are not worth copying.
const BYPASS: usize = 8 << 10;
