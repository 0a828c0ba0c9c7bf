//! A record sent from where it lies: read, proved and handed out a step at a time.
//!
//! For bodies that are only passed on: nothing is brought up into memory, and each step is
//! small enough to be read, checked and written while it is in the processor's cache, into
//! buffers that are used again at once (the last one given back first). Reading a whole piece
//! first cost as much again. The reader holds the segment's file, which is never written to
//! again where a record lies, so a reclaimed segment stays readable to the end.
//!
//! Only what is in the page cache is lent, because it is read on the network thread; for
//! anything else there is `Disk::get`. Rejected: `sendfile` of what was verified once. The
//! kernel does not say whether a page is still the one that was verified, and under a bound on
//! what waits unsent it costs as much as these two copies (benches/README.md).

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::device::read_full_now;
use super::directory::{Directory, Segment};
use super::format::{BLOCK, verify_blocks};
use super::index::{Place, print_of};
use super::meta;
use super::reader::{ReadFault, STEP, Wait, read_sums};
use super::{Disk, Member};
use crate::rules::entry::Entry;
use crate::rules::key::Key;

/// Buffers kept for use again, a directory.
const KEPT_MAX: usize = 16;

/// A stored response whose body stays on disk.
pub struct Lent {
    /// All of it but the body.
    pub entry: Arc<Entry>,
    dir: Arc<Directory>,
    segment: Arc<Segment>,
    print: u64,
    place: Place,
    sums: Vec<u8>,
    /// Where in the file the body begins, and how long it is.
    start: u64,
    len: usize,
}

impl Disk {
    /// The one variant stored under `key`, if it is at rest and its head can be read without
    /// waiting. `None` says nothing about whether there is something.
    pub fn lend(&self, key: &Key) -> Option<Lent> {
        let member = self.member(key.hash()).filter(|member| member.dir.is_ready())?;
        let lent = member.lend(key)?;
        lent.dir.counters.hits.one();
        Some(lent)
    }
}

impl Member {
    fn lend(&self, key: &Key) -> Option<Lent> {
        let dir = &self.dir;
        let print = print_of(key.hash());
        if !dir.queue.pending(key.hash()).is_empty() {
            return None;
        }
        let [(_, place)] = *dir.index.lookup(print).as_slice() else { return None };
        let segment = dir.segments.at(place.slot())?;
        let front = match read_sums(&segment, place, Wait::No) {
            Ok(front) => front,
            Err(error) => {
                dir.unreadable(error, print, place);
                return None;
            }
        };
        let (header, meta, sums) = front;
        if header.hash != key.hash() {
            return None;
        }
        let judged = dir.marks.judged(&header, place.offset());
        let now = dir.clock.now();
        let entry = meta::decode(&meta, SmallVec::new(), judged, now, dir.run)?;
        let start = place.offset() + header.body_offset() as u64;
        // What varies must be chosen by the request's fields, which nobody looks at here.
        (entry.vary.is_none() && *entry.key == *key.text()).then(|| Lent {
            entry: Arc::new(entry),
            dir: Arc::clone(dir),
            segment,
            print,
            place,
            sums,
            start,
            len: header.body_len as usize,
        })
    }
}

impl Lent {
    /// Length of the body in bytes.
    pub fn body_len(&self) -> u64 {
        self.len as u64
    }

    /// Some bytes of the body from `at` on, every one of them verified; `None` if they are not
    /// in the page cache, or not what was written (then the record is dropped).
    pub fn read_now(&self, at: u64) -> Option<Bytes> {
        let at = usize::try_from(at).ok().filter(|at| *at < self.len)?;
        let first = at / BLOCK;
        let from = first * BLOCK;
        let len = (self.len - from).min(STEP);
        let mut buffer = self.dir.buffers.take();
        let room = buffer.data.get_mut(..len)?;
        let read = read_full_now(self.segment.file.as_ref(), room, self.start + from as u64)
            .map_err(ReadFault::from)
            .and_then(|()| Ok(verify_blocks(&self.sums, first, room)?));
        match read {
            Ok(()) => {
                self.dir.counters.reads_inline.one();
                let mut bytes = Bytes::from_owner(buffer);
                bytes.truncate(len);
                Some(bytes.slice(at - from..))
            }
            Err(error) => {
                self.dir.unreadable(error, self.print, self.place);
                None
            }
        }
    }
}

/// Buffers of one step that nobody uses now.
#[derive(Debug, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    fn take(&self) -> Buffer {
        let kept = self.0.lock().pop();
        let data = kept.unwrap_or_else(|| vec![0; STEP]);
        Buffer { data, home: Arc::clone(&self.0) }
    }
}

/// One of them, in use; it goes back when its last reader is done.
struct Buffer {
    data: Vec<u8>,
    home: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut home = self.home.lock();
        if home.len() < KEPT_MAX {
            home.push(std::mem::take(&mut self.data));
        }
    }
}
