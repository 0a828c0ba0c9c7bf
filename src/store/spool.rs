//! A body on its way in: filled once, read by many, from the first byte, at any speed.
//!
//! ```text
//!  origin ──push──► [piece][piece][piece]··· ──finish──► Landed
//!                      ▲       ▲        ▲  └──fail────► Failed (every reader sees it)
//!                    reader  reader   reader
//! ```
//!
//! The writer copies what it is given into buffers of our own, because the origin's bytes
//! are slices of a connection's read buffer. A spool keeps everything, so that a reader
//! may join at any time, until it is told that the body will not be stored: from then on
//! it keeps a bounded window, the writer waits for the slowest reader, and nobody may join
//! any more. A reader sees a clean end only after `finish`; a dropped writer is a failure.
//! Locks are held for a few instructions, never across an await.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::landed::land;
use crate::rules::fault::Fault;

/// Bytes a windowed spool holds ahead of its slowest reader.
pub const SPOOL_WINDOW_BYTES: u64 = 1 << 20;

/// Size of the buffers of a body whose length was not announced, or that is longer: all of
/// one size, because they live shortly and must leave no holes behind (see `landed`).
const PIECE_BYTES: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Filling,
    Landed,
    Failed(Fault),
}

#[derive(Debug)]
struct Inner {
    /// Pieces held, and the offset of the first one.
    pieces: VecDeque<Bytes>,
    base: u64,
    written: u64,
    state: State,
    /// Everything is kept; false once the body is known not to be stored.
    whole: bool,
    readers: Vec<Option<ReaderSlot>>,
    writer: Option<Waker>,
}

#[derive(Debug, Default)]
struct ReaderSlot {
    at: u64,
    waker: Option<Waker>,
}

impl Inner {
    fn wake_readers(&mut self) -> SmallVec<[Waker; 8]> {
        self.readers.iter_mut().flatten().filter_map(|reader| reader.waker.take()).collect()
    }

    /// Frees what every reader has passed, in a windowed spool; wakes the writer.
    fn trim(&mut self) -> Option<Waker> {
        if self.whole {
            return None;
        }
        let slowest = self.readers.iter().flatten().map(|reader| reader.at).min();
        let keep_from = slowest.unwrap_or(self.written);
        while let Some(first) = self.pieces.front() {
            let end = self.base + first.len() as u64;
            if end > keep_from {
                break;
            }
            self.base = end;
            self.pieces.pop_front();
        }
        self.writer.take()
    }
}

/// The shared part. Readers are made from it, the one [`Writer`] fills it.
#[derive(Debug)]
pub struct Spool {
    inner: Mutex<Inner>,
    /// Length announced by the origin.
    pub announced: Option<u64>,
}

impl Spool {
    /// An empty spool and its writer. `announced` sizes the first buffer.
    pub fn new(announced: Option<u64>) -> (Arc<Spool>, Writer) {
        let spool = Arc::new(Spool {
            inner: Mutex::new(Inner {
                pieces: VecDeque::new(),
                base: 0,
                written: 0,
                state: State::Filling,
                whole: true,
                readers: Vec::new(),
                writer: None,
            }),
            announced,
        });
        let writer = Writer { spool: spool.clone(), buffer: BytesMut::new(), ended: false };
        (spool, writer)
    }

    /// A reader from the first byte, or `None` if those bytes are gone.
    pub fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut inner = self.inner.lock();
        if inner.base > 0 || (!inner.whole && inner.written > 0) {
            return None;
        }
        let slot = Some(ReaderSlot::default());
        let index = match inner.readers.iter().position(Option::is_none) {
            Some(free) => {
                inner.readers[free] = slot;
                free
            }
            None => {
                inner.readers.push(slot);
                inner.readers.len() - 1
            }
        };
        Some(Reader { spool: self.clone(), index, at: 0, piece: 0, piece_start: 0 })
    }
}

/// The filling end. Dropping it without [`Writer::finish`] fails the spool.
#[derive(Debug)]
pub struct Writer {
    spool: Arc<Spool>,
    buffer: BytesMut,
    ended: bool,
}

impl Writer {
    /// Copies `data` in and wakes the readers.
    pub fn push(&mut self, data: &[u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            if self.buffer.capacity() == self.buffer.len() {
                self.buffer = BytesMut::with_capacity(self.next_capacity(rest.len()));
            }
            let room = self.buffer.capacity() - self.buffer.len();
            let (now, later) = rest.split_at(rest.len().min(room));
            self.buffer.extend_from_slice(now);
            let piece = self.buffer.split().freeze();
            let mut inner = self.spool.inner.lock();
            inner.written += piece.len() as u64;
            inner.pieces.push_back(piece);
            let wakers = inner.wake_readers();
            drop(inner);
            wakers.into_iter().for_each(Waker::wake);
            rest = later;
        }
    }

    /// Exact for a short announced body, so that nothing is wasted in the cache.
    fn next_capacity(&self, needed: usize) -> usize {
        let written = self.spool.inner.lock().written;
        match self.spool.announced {
            Some(total) if total <= PIECE_BYTES as u64 && total > written => {
                (total - written) as usize
            }
            Some(_) => PIECE_BYTES,
            None => needed.clamp(16 << 10, PIECE_BYTES),
        }
    }

    /// Bytes pushed so far.
    pub fn written(&self) -> u64 {
        self.spool.inner.lock().written
    }

    /// Turns to a bounded window: the body will not be stored.
    pub fn keep_window_only(&mut self) {
        let mut inner = self.spool.inner.lock();
        inner.whole = false;
        let waker = inner.trim();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready when there is room: always for a whole spool, within the window otherwise.
    /// `Ready(false)` says that nobody reads any more and nothing is stored.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut inner = self.spool.inner.lock();
        if inner.whole {
            return Poll::Ready(true);
        }
        if inner.readers.iter().flatten().next().is_none() {
            return Poll::Ready(false);
        }
        if inner.written - inner.base < SPOOL_WINDOW_BYTES {
            return Poll::Ready(true);
        }
        inner.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The body ended as its framing said: readers may end cleanly. Returns the body for
    /// storing, in one buffer if it is short; `None` if it was not kept.
    pub fn finish(mut self) -> Option<SmallVec<[Bytes; 1]>> {
        self.ended = true;
        let mut inner = self.spool.inner.lock();
        inner.state = State::Landed;
        let kept = inner.whole.then(|| inner.pieces.iter().cloned().collect::<Vec<_>>());
        let written = inner.written;
        let wakers = inner.wake_readers();
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
        let exact = self.spool.announced == Some(written) && written <= PIECE_BYTES as u64;
        kept.map(|pieces| land(pieces, written, exact))
    }

    /// The fill failed: every reader sees an error, never a clean end.
    pub fn fail(mut self, fault: Fault) {
        self.end_failed(fault);
    }

    fn end_failed(&mut self, fault: Fault) {
        self.ended = true;
        let mut inner = self.spool.inner.lock();
        inner.state = State::Failed(fault);
        let wakers = inner.wake_readers();
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.ended {
            self.end_failed(Fault::Internal);
        }
    }
}

/// One reader; independent of the others.
#[derive(Debug)]
pub struct Reader {
    spool: Arc<Spool>,
    index: usize,
    at: u64,
    /// Index of the piece that holds `at`, counted from the first byte of the spool, and
    /// the offset at which it starts: valid only while the spool keeps everything.
    piece: usize,
    piece_start: u64,
}

impl Reader {
    /// The next bytes, `None` after a clean end, the fault after a failure.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let mut inner = self.spool.inner.lock();
        if inner.written > self.at {
            let (mut index, mut start) = if inner.base == 0 && inner.whole {
                (self.piece, self.piece_start)
            } else {
                (0, inner.base)
            };
            while let Some(piece) = inner.pieces.get(index) {
                let end = start + piece.len() as u64;
                if end > self.at {
                    let data = piece.slice((self.at - start) as usize..);
                    self.at = end;
                    (self.piece, self.piece_start) = (index + 1, end);
                    if let Some(Some(slot)) = inner.readers.get_mut(self.index) {
                        slot.at = end;
                    }
                    let waker = inner.trim();
                    drop(inner);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                start = end;
                index += 1;
            }
        }
        match inner.state {
            State::Landed => Poll::Ready(None),
            State::Failed(fault) => Poll::Ready(Some(Err(fault))),
            State::Filling => {
                if let Some(Some(slot)) = inner.readers.get_mut(self.index) {
                    slot.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut inner = self.spool.inner.lock();
        if let Some(slot) = inner.readers.get_mut(self.index) {
            *slot = None;
        }
        let waker = inner.trim();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(reader: &mut Reader) -> Poll<Option<Result<Bytes, Fault>>> {
        reader.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_late_reader_gets_everything_and_a_clean_end_only_after_finish() {
        let (spool, mut writer) = Spool::new(Some(6));
        writer.push(b"abc");
        let mut late = spool.reader().unwrap();
        assert_eq!(poll(&mut late), Poll::Ready(Some(Ok(Bytes::from_static(b"abc")))));
        assert!(poll(&mut late).is_pending());
        writer.push(b"def");
        assert_eq!(writer.finish().unwrap().as_slice(), [Bytes::from_static(b"abcdef")]);
        assert_eq!(poll(&mut late), Poll::Ready(Some(Ok(Bytes::from_static(b"def")))));
        assert_eq!(poll(&mut late), Poll::Ready(None));
    }

    #[test]
    fn a_dropped_writer_is_a_failure_and_never_an_end() {
        let (spool, mut writer) = Spool::new(None);
        let mut reader = spool.reader().unwrap();
        writer.push(b"half");
        drop(writer);
        assert!(matches!(poll(&mut reader), Poll::Ready(Some(Ok(_)))));
        assert_eq!(poll(&mut reader), Poll::Ready(Some(Err(Fault::Internal))));
    }

    #[test]
    fn a_windowed_spool_waits_for_its_reader_and_lets_nobody_join() {
        let (spool, mut writer) = Spool::new(None);
        let mut reader = spool.reader().unwrap();
        writer.push(&vec![7; SPOOL_WINDOW_BYTES as usize + 5]);
        writer.keep_window_only();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(writer.poll_room(&mut cx).is_pending());
        assert!(spool.reader().is_none());
        while matches!(poll(&mut reader), Poll::Ready(Some(Ok(_)))) {}
        assert_eq!(writer.poll_room(&mut cx), Poll::Ready(true));
        drop(reader);
        assert_eq!(writer.poll_room(&mut cx), Poll::Ready(false));
        assert!(writer.finish().is_none());
    }
}
