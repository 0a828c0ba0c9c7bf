//! A stretch of a long object on its way in: one writer, readers at any offset, and only a
//! window of it in memory.
//!
//! ```text
//!           base                       written            end
//!  ··········[chunk][chunk][chunk][chunk]·················|
//!    ▲         ▲                     ▲          ▲
//!  behind    reader                reader     waits
//! ```
//! The writer runs at most [`AHEAD_BYTES`] ahead of the reader that is furthest, so the
//! slowest holds nobody up: what it has not read in time it finds in the cache, or asks
//! for again ([`Next::Behind`]). Nobody reads: nothing more is fetched. The end may be cut
//! short while it runs, when somebody else fetches what follows. A reader that is told
//! [`Next::End`] has read everything before the end and nothing after it; a dropped writer
//! is a failure. Locks are held for a few instructions, never across an await.
//!
//! The spool (`super::spool`) keeps everything and has no offsets; one type for both was
//! rejected, because each promise of the one is broken by the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::rules::fault::Fault;

/// How far the writer may be ahead of the furthest reader, in bytes.
pub const AHEAD_BYTES: u64 = 1 << 20;

/// What is kept behind the furthest reader for others, in bytes.
const BEHIND_BYTES: u64 = 1 << 20;

/// How far ahead of the writer a reader may join and wait instead of asking by itself.
const JOIN_BYTES: u64 = 1 << 20;

/// Size of the buffers that bytes are copied into.
const BUFFER_BYTES: usize = 64 << 10;

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The origin has another version now, or none.
    Changed,
    /// The origin does not answer the question.
    Refused,
    /// It failed.
    Fault(Fault),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked for; whether it comes is not known.
    Opening,
    Filling,
    Ended,
    Broken(Broken),
}

#[derive(Debug)]
struct Inner {
    chunks: VecDeque<Bytes>,
    /// Offset of the first chunk.
    base: u64,
    written: u64,
    end: u64,
    state: State,
    /// It is the only one that will come: readers may wait however far ahead they are.
    only: bool,
    readers: Vec<Option<Slot>>,
    writer: Option<Waker>,
}

#[derive(Debug, Default)]
struct Slot {
    at: u64,
    waker: Option<Waker>,
}

/// The shared part.
#[derive(Debug)]
pub struct Window {
    inner: Mutex<Inner>,
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next bytes.
    Data(Bytes),
    /// They have passed through and are gone.
    Behind,
    /// They do not come from here.
    End,
    /// Nothing comes any more.
    Broken(Broken),
}

/// What the writer is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Go on.
    Yes,
    /// Everything up to the end has been written.
    Done,
    /// Nobody reads.
    Alone,
}

impl Inner {
    fn furthest(&self) -> Option<u64> {
        self.readers.iter().flatten().map(|reader| reader.at).max()
    }

    fn trim(&mut self) {
        let furthest = self.furthest().unwrap_or(self.written);
        let keep_from = self.written.saturating_sub(BEHIND_BYTES).min(furthest);
        while let Some(first) = self.chunks.front() {
            let end = self.base + first.len() as u64;
            if end > keep_from {
                break;
            }
            self.base = end;
            self.chunks.pop_front();
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Opening | State::Filling)
    }

    fn serves(&self, at: u64) -> bool {
        let near = self.only || at <= self.written.saturating_add(JOIN_BYTES);
        self.is_open() && self.base <= at && at < self.end && near
    }

    fn wakers(&mut self) -> SmallVec<[Waker; 8]> {
        let (written, open) = (self.written, matches!(self.state, State::Filling));
        let waits = |reader: &&mut Slot| !open || reader.at < written || reader.at >= self.end;
        self.readers.iter_mut().flatten().filter(waits).filter_map(|r| r.waker.take()).collect()
    }
}

impl Window {
    /// A window from `start` to `end`, not yet open, its writer, and a reader from `at`.
    /// `only` says that nobody else will bring these bytes: readers may wait for them
    /// however far ahead they are.
    pub fn new(start: u64, end: u64, at: u64, only: bool) -> (Arc<Window>, Writer, Reader) {
        let window = Arc::new(Window {
            inner: Mutex::new(Inner {
                chunks: VecDeque::new(),
                base: start,
                written: start,
                end,
                state: State::Opening,
                only,
                readers: vec![Some(Slot { at, waker: None })],
                writer: None,
            }),
        });
        let writer = Writer { window: window.clone(), buffer: BytesMut::new(), ended: false };
        let reader = Reader { window: window.clone(), index: 0, at };
        (window, writer, reader)
    }

    /// A reader from `at`, if the bytes there are here or come soon.
    pub fn reader(self: &Arc<Self>, at: u64) -> Option<Reader> {
        let mut inner = self.inner.lock();
        if !inner.serves(at) {
            return None;
        }
        let slot = Some(Slot { at, waker: None });
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
        self.moved(inner);
        Some(Reader { window: self.clone(), index, at })
    }

    /// Whether the bytes at `at` are here or come soon.
    pub fn serves(&self, at: u64) -> bool {
        self.inner.lock().serves(at)
    }

    /// Somebody else fetches what begins at `at`: if that is still to come, it ends there.
    pub fn cut(&self, at: u64) {
        let mut inner = self.inner.lock();
        if inner.written <= at && at < inner.end {
            inner.end = at;
            let wakers = inner.wakers();
            self.moved(inner);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// A reader has come, gone or moved: the writer may have something to do.
    fn moved(&self, mut inner: MutexGuard<'_, Inner>) {
        inner.trim();
        let writer = inner.writer.take();
        drop(inner);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

/// The filling end. Dropping it without a word breaks the window.
#[derive(Debug)]
pub struct Writer {
    window: Arc<Window>,
    buffer: BytesMut,
    ended: bool,
}

impl Writer {
    /// The origin has agreed: bytes come from `start`, which is not after the first that
    /// was asked for, up to `end` at most.
    pub fn open(&mut self, start: u64, end: u64, only: bool) {
        let mut inner = self.window.inner.lock();
        (inner.base, inner.written) = (start, start);
        inner.end = if only { end } else { inner.end.min(end) };
        (inner.only, inner.state) = (only, State::Filling);
        let waiting = inner.readers.iter_mut().flatten();
        let wakers: SmallVec<[Waker; 8]> = waiting.filter_map(|r| r.waker.take()).collect();
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Copies `data` in, in chunks that are handed to `landed` too.
    pub fn push(&mut self, mut data: &[u8], landed: &mut dyn FnMut(Bytes)) {
        while !data.is_empty() {
            if self.buffer.capacity() == self.buffer.len() {
                self.buffer = BytesMut::with_capacity(BUFFER_BYTES);
            }
            let room = self.buffer.capacity() - self.buffer.len();
            let (now, later) = data.split_at(data.len().min(room));
            self.buffer.extend_from_slice(now);
            let chunk = self.buffer.split().freeze();
            landed(chunk.clone());
            let mut inner = self.window.inner.lock();
            inner.written += chunk.len() as u64;
            inner.chunks.push_back(chunk);
            inner.trim();
            let wakers = inner.wakers();
            drop(inner);
            wakers.into_iter().for_each(Waker::wake);
            data = later;
        }
    }

    /// Offset of the next byte to be written, and of the end as it stands now.
    pub fn left(&self) -> (u64, u64) {
        let inner = self.window.inner.lock();
        (inner.written, inner.end)
    }

    /// What to do next; pending while the furthest reader is far enough behind.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Room> {
        let mut inner = self.window.inner.lock();
        if inner.written >= inner.end {
            return Poll::Ready(Room::Done);
        }
        let Some(furthest) = inner.furthest() else { return Poll::Ready(Room::Alone) };
        if inner.written < furthest.saturating_add(AHEAD_BYTES) {
            return Poll::Ready(Room::Yes);
        }
        inner.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Nothing more comes from here, and what came was right.
    pub fn finish(mut self) {
        self.end(State::Ended);
    }

    /// Nothing more comes.
    pub fn fail(mut self, why: Broken) {
        self.end(State::Broken(why));
    }

    fn end(&mut self, state: State) {
        self.ended = true;
        let mut inner = self.window.inner.lock();
        inner.state = state;
        if state == State::Ended {
            inner.end = inner.end.min(inner.written);
        }
        let wakers = inner.wakers();
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.ended {
            self.end(State::Broken(Broken::Fault(Fault::Internal)));
        }
    }
}

/// One reader; independent of the others.
#[derive(Debug)]
pub struct Reader {
    window: Arc<Window>,
    index: usize,
    at: u64,
}

impl Reader {
    /// Offset of the next byte it gets.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Passes over what lies before `at`.
    pub fn skip_to(&mut self, at: u64) {
        self.at = self.at.max(at);
        let mut inner = self.window.inner.lock();
        if let Some(Some(slot)) = inner.readers.get_mut(self.index) {
            slot.at = self.at;
        }
        self.window.moved(inner);
    }

    /// Ready when the origin has agreed, or why it has not.
    pub fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut inner = self.window.inner.lock();
        match inner.state {
            State::Opening => {
                if let Some(Some(slot)) = inner.readers.get_mut(self.index) {
                    slot.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            State::Broken(why) => Poll::Ready(Err(why)),
            State::Filling | State::Ended => Poll::Ready(Ok(())),
        }
    }

    /// The next bytes, or why they do not come from here.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut inner = self.window.inner.lock();
        if self.at < inner.base {
            return Poll::Ready(Next::Behind);
        }
        if self.at < inner.written {
            let mut start = inner.base;
            let mut found = None;
            for chunk in &inner.chunks {
                let end = start + chunk.len() as u64;
                if end > self.at {
                    found = Some(chunk.slice((self.at - start) as usize..));
                    break;
                }
                start = end;
            }
            let Some(data) = found else { return Poll::Ready(Next::Behind) };
            self.at += data.len() as u64;
            if let Some(Some(slot)) = inner.readers.get_mut(self.index) {
                slot.at = self.at;
            }
            self.window.moved(inner);
            return Poll::Ready(Next::Data(data));
        }
        match inner.state {
            State::Broken(why) => Poll::Ready(Next::Broken(why)),
            State::Ended => Poll::Ready(Next::End),
            State::Filling if self.at >= inner.end => Poll::Ready(Next::End),
            State::Opening | State::Filling => {
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
        let mut inner = self.window.inner.lock();
        if let Some(slot) = inner.readers.get_mut(self.index) {
            *slot = None;
        }
        self.window.moved(inner);
    }
}
