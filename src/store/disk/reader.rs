//! Reads one record and proves every byte of it.
//!
//! Small records are read in one call and the body is copied once into exactly its own
//! memory, because it may be promoted to the memory tier and must not pin the rest. Large
//! bodies are read straight into pieces of 1 MiB, a few blocks at a time, so that each is
//! verified while it is in the processor's cache. Nothing unverified leaves this file.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;

use super::device::{read_full, read_full_now};
use super::directory::Segment;
use super::format::{BLOCK, Flaw, HEADER, Header, split_front, verify_blocks};
use super::index::Place;
use crate::store::landed::filled;

/// Length of the buffers of a large body; a multiple of [`STEP`].
const PIECE: usize = 1 << 20;
/// Bytes read and verified at a time; a multiple of the block length.
pub(super) const STEP: usize = 4 * BLOCK;
/// Records up to this are read whole in the first call.
const SMALL: usize = 64 << 10;
/// Of larger ones, this much is read first.
const FIRST: usize = 8 << 10;

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// It is not in the page cache and the caller does not wait.
    #[error("not in the page cache")]
    WouldBlock,
    /// The device failed.
    #[error("{0}")]
    Io(io::Error),
    /// The bytes are not the record they should be.
    #[error("{0}")]
    Flaw(#[from] Flaw),
}

impl From<io::Error> for ReadFault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => ReadFault::WouldBlock,
            // Shorter than the index says: torn, not broken.
            io::ErrorKind::UnexpectedEof => ReadFault::Flaw(Flaw::Length),
            _ => ReadFault::Io(error),
        }
    }
}

/// A verified record.
pub struct Record {
    /// Its header.
    pub header: Header,
    /// Its meta block.
    pub meta: Vec<u8>,
    /// Its body in order; no piece is longer than 1 MiB.
    pub body: SmallVec<[Bytes; 1]>,
}

/// Whether the caller may be held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Wait for the disk.
    Yes,
    /// Answer from the page cache or not at all.
    No,
}

/// Reads the record at `place`.
///
/// # Errors
/// See [`ReadFault`]; [`Flaw::Other`] if another record lies there.
pub fn read_record(segment: &Segment, place: Place, wait: Wait) -> Result<Record, ReadFault> {
    let (mut buf, header) = read_front(segment, place, wait)?;
    let (meta, sums) = split_front(&header, &buf)?;
    let (meta, sums) = (meta.to_vec(), sums.to_vec());
    let start = header.body_offset();
    buf.drain(..start.min(buf.len()));
    let body_len = header.body_len as usize;
    buf.truncate(body_len);
    let mut body = SmallVec::new();
    let mut done = 0;
    while done < body_len {
        let len = (body_len - done).min(PIECE);
        body.push(filled(len, |piece| -> Result<(), ReadFault> {
            for (n, step) in piece.chunks_mut(STEP).enumerate() {
                let at = done + n * STEP;
                let have = buf.len().saturating_sub(at).min(step.len());
                let (early, late) = step.split_at_mut(have);
                early.copy_from_slice(buf.get(at..at + have).unwrap_or_default());
                read(segment, late, place.offset() + (start + at + have) as u64, wait)?;
                verify_blocks(&sums, at / BLOCK, step)?;
            }
            Ok(())
        })?);
        done += len;
    }
    Ok(Record { header, meta, body })
}

/// Reads only header and meta block of the record at `place`.
///
/// # Errors
/// As [`read_record`].
pub fn read_meta(segment: &Segment, place: Place) -> Result<(Header, Vec<u8>), ReadFault> {
    let (buf, header) = read_front(segment, place, Wait::Yes)?;
    let (meta, _) = split_front(&header, &buf)?;
    Ok((header, meta.to_vec()))
}

/// Reads header, meta block and block sums of the record at `place`.
///
/// # Errors
/// As [`read_record`].
pub fn read_sums(
    segment: &Segment,
    place: Place,
    wait: Wait,
) -> Result<(Header, Vec<u8>, Vec<u8>), ReadFault> {
    let (buf, header) = read_front(segment, place, wait)?;
    let (meta, sums) = split_front(&header, &buf)?;
    Ok((header, meta.to_vec(), sums.to_vec()))
}

/// Reads at least everything before the body (and no more than the record).
fn read_front(segment: &Segment, place: Place, wait: Wait) -> Result<(Vec<u8>, Header), ReadFault> {
    let len = usize::try_from(place.len()).map_err(|_| Flaw::Length)?;
    let mut buf = vec![0; if len <= SMALL { len } else { FIRST }];
    read(segment, &mut buf, place.offset(), wait)?;
    let header = Header::decode(buf.get(..HEADER).ok_or(Flaw::Length)?)?;
    if header.serial != segment.serial || header.total_len() != len {
        return Err(Flaw::Other.into());
    }
    let (had, need) = (buf.len(), header.body_offset());
    if need > had {
        buf.resize(need, 0);
        let late = buf.get_mut(had..).unwrap_or_default();
        read(segment, late, place.offset() + had as u64, wait)?;
    }
    Ok((buf, header))
}

fn read(segment: &Segment, buf: &mut [u8], offset: u64, wait: Wait) -> io::Result<()> {
    match wait {
        Wait::Yes => read_full(segment.file.as_ref(), buf, offset),
        Wait::No => read_full_now(segment.file.as_ref(), buf, offset),
    }
}

/// Threads that may be held up by a disk, with a bounded queue in front.
pub struct ReadPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

type Task = Box<dyn FnOnce() + Send>;

struct Shared {
    queue: Mutex<(VecDeque<Task>, bool)>,
    wake: Condvar,
    max: usize,
}

impl ReadPool {
    /// Starts `threads` threads (at least one).
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn new(threads: usize, queued_max: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new((VecDeque::new(), false)),
            wake: Condvar::new(),
            max: queued_max.max(1),
        });
        let mut pool = ReadPool { shared, threads: Vec::new() };
        for _ in 0..threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            let body = move || {
                while let Some(task) = shared.next() {
                    task();
                }
            };
            pool.threads.push(std::thread::Builder::new().name("disk-read".into()).spawn(body)?);
        }
        Ok(pool)
    }

    /// Queues `task`; false if the queue is full.
    pub fn submit(&self, task: Task) -> bool {
        let mut queue = self.shared.queue.lock();
        if queue.0.len() >= self.shared.max {
            return false;
        }
        queue.0.push_back(task);
        drop(queue);
        self.shared.wake.notify_one();
        true
    }
}

impl Drop for ReadPool {
    fn drop(&mut self) {
        self.shared.queue.lock().1 = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn next(&self) -> Option<Task> {
        let mut queue = self.queue.lock();
        loop {
            if queue.1 {
                return None;
            }
            if let Some(task) = queue.0.pop_front() {
                return Some(task);
            }
            self.wake.wait(&mut queue);
        }
    }
}
