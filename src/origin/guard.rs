//! The answer guard: an I/O wrapper through which hyper reads an origin.
//!
//! Every byte is read by [`Reader`] first. If it objects, hyper gets an error in place of
//! the bytes, so no answer built from them exists, and hyper closes the connection; the
//! reason travels inside the `io::Error`. Checking hyper's parsed answer instead was
//! rejected: it hides duplicate fields, folded lines and what follows a message.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::Reader;
use super::framing::{Expect, Framing};

/// What the guard and the code that uses the connection tell each other.
#[derive(Debug, Default)]
pub struct Line {
    /// The answer expected next: 0 none, else flags.
    expect: AtomicU8,
    /// Bytes of the current request went out.
    wrote: AtomicBool,
    /// Bytes of the current answer came in.
    began: AtomicBool,
    framing: AtomicU8,
    /// Exchanges begun, for the idle timer.
    uses: AtomicU32,
    /// Exchanges under way.
    busy: AtomicU32,
    /// Something was odd, such as bytes left over after an answer: not to be used again.
    spoiled: AtomicBool,
}

const ASKED: u8 = 1;
const HEAD: u8 = 2;
const UPGRADE: u8 = 4;

impl Line {
    /// Called before a request is handed to hyper.
    pub fn begin(&self, expect: Expect) {
        let head = if expect.head { HEAD } else { 0 };
        let upgrade = if expect.upgrade { UPGRADE } else { 0 };
        self.wrote.store(false, Ordering::Relaxed);
        self.began.store(false, Ordering::Relaxed);
        self.expect.store(ASKED | head | upgrade, Ordering::Release);
        self.enter();
    }

    /// Counts an exchange as under way.
    pub fn enter(&self) {
        self.uses.fetch_add(1, Ordering::Relaxed);
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// The exchange is over.
    pub fn leave(&self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }

    /// Exchanges under way.
    pub fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Exchanges begun so far (wraps).
    pub fn uses(&self) -> u32 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Whether a byte of the current answer has arrived.
    pub fn has_begun(&self) -> bool {
        self.began.load(Ordering::Relaxed)
    }

    /// Framing of the newest complete head.
    pub fn framing(&self) -> Framing {
        match self.framing.load(Ordering::Relaxed) {
            1 => Framing::Length,
            2 => Framing::Chunked,
            3 => Framing::Close,
            4 => Framing::Stream,
            5 => Framing::Tunnel,
            _ => Framing::None,
        }
    }

    /// Something was odd: no further exchange on this connection.
    pub fn spoil(&self) {
        self.spoiled.store(true, Ordering::Release);
    }

    /// Whether something was odd, such as bytes left over after an answer.
    pub fn is_spoiled(&self) -> bool {
        self.spoiled.load(Ordering::Acquire)
    }

    fn note(&self, framing: Framing) {
        let code = match framing {
            Framing::None => 0,
            Framing::Length => 1,
            Framing::Chunked => 2,
            Framing::Close => 3,
            Framing::Stream => 4,
            Framing::Tunnel => 5,
        };
        self.framing.store(code, Ordering::Relaxed);
    }
}

/// Why an answer was refused, carried inside an `io::Error`.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub &'static str);

/// An HTTP/1 connection whose answers are checked.
#[derive(Debug)]
pub struct Guarded<T> {
    io: T,
    reader: Reader,
    line: std::sync::Arc<Line>,
}

impl<T> Guarded<T> {
    /// Wraps a fresh connection.
    pub fn new(io: T, line: std::sync::Arc<Line>) -> Self {
        Guarded { io, reader: Reader::default(), line }
    }

    fn inspect(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        if self.reader.is_idle() {
            let flags = self.line.expect.swap(0, Ordering::AcqRel);
            if flags == 0 {
                return Err("bytes nobody asked for");
            }
            if !self.line.wrote.load(Ordering::Relaxed) {
                return Err("an answer before its request");
            }
            self.line.began.store(true, Ordering::Relaxed);
            self.reader.begin(Expect { head: flags & HEAD != 0, upgrade: flags & UPGRADE != 0 });
        }
        let verdict = self.reader.feed(bytes);
        self.line.note(self.reader.framing());
        verdict
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.line.is_spoiled() {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let all = fresh.len();
        match self.inspect(fresh) {
            Ok(used) => {
                if used < all {
                    // Nobody can say whose they are: they go, and the connection with them.
                    self.line.spoiled.store(true, Ordering::Release);
                    buf.set_filled(before + used);
                }
                Poll::Ready(Ok(()))
            }
            Err(reason) => {
                buf.set_filled(before);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, Refused(reason))))
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.line.wrote.store(true, Ordering::Relaxed);
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.line.wrote.store(true, Ordering::Relaxed);
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
