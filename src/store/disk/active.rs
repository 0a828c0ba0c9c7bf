//! The segment being written: what is in it, what waits in memory, what becomes true when
//! that has been written. State only; the writer does the I/O.

use std::sync::Arc;

use super::directory::{Directory, Segment};
use super::format::{Header, Kind};
use super::index::{Place, print_of};
use super::payload::Payload;
use super::segment::{FooterEntry, START, footer_len};

/// Bytes collected before a write; also the most that one call writes.
pub(super) const BATCH: usize = 1 << 20;

/// A segment that takes no more records.
pub(super) struct Done {
    pub(super) segment: Arc<Segment>,
    /// Bytes that its file takes up.
    pub(super) held: u64,
    /// Bytes of its records that have yet to be judged; see `thin`.
    pub(super) newcomers: u64,
    /// The border of the log has passed it.
    pub(super) judged: bool,
}

impl Done {
    pub(super) fn new(segment: Arc<Segment>, entries: &[FooterEntry]) -> Self {
        Done { held: segment.size, newcomers: newcomers(entries), judged: false, segment }
    }
}

/// Bytes of records that have yet to be judged.
pub(super) fn newcomers(entries: &[FooterEntry]) -> u64 {
    entries.iter().filter(|entry| !entry.proved && entry.holds()).map(|entry| entry.len).sum()
}

/// A segment that takes no more records and may not be on the disk yet.
pub(super) struct Unsynced {
    pub(super) segment: Arc<Segment>,
    /// Keys and variants of what it replaced or buried.
    pub(super) lost: Vec<(u128, u32)>,
}

/// The segment being written.
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    /// Offset in the file of the first byte of `buffer`.
    pub(super) flushed: u64,
    pub(super) buffer: Vec<u8>,
    pub(super) entries: Vec<FooterEntry>,
    /// How many of `entries` are published.
    pub(super) published: usize,
    pub(super) waiting: Vec<Publish>,
}

/// What becomes true when the bytes of a record are written.
pub(super) enum Publish {
    /// A response is on disk.
    Put { hash: u128, variant: u32, payload: Payload, place: Place, reads: u32 },
    /// A record has moved to a newer segment, with so many reads left.
    Moved { print: u64, variant: u32, from: Place, to: Place, reads: u32 },
    /// A tombstone is on disk: nothing to do.
    Buried { hash: u128, variant: u32 },
    /// A mark is on disk: nothing to do.
    Nothing,
}

impl Active {
    pub(super) fn empty(segment: Arc<Segment>) -> Self {
        Active {
            segment,
            flushed: START,
            buffer: Vec::with_capacity(BATCH),
            entries: Vec::new(),
            published: 0,
            waiting: Vec::new(),
        }
    }

    /// Keys and variants of all its records, for tombstones. Half of the hash is enough,
    /// since it is all that the index knows of a key.
    pub(super) fn lost(&self) -> Vec<(u128, u32)> {
        lost(&self.entries)
    }

    pub(super) fn end(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    pub(super) fn fits(&self, len: u64) -> bool {
        self.end() + len + footer_len(self.entries.len() + 1) <= self.segment.size
    }

    pub(super) fn place(&self, len: u64) -> Option<Place> {
        Place::new(self.segment.slot, self.end(), len)
    }

    pub(super) fn list(&mut self, header: &Header, place: Place, proved: bool) {
        self.entries.push(FooterEntry {
            print: print_of(header.hash),
            offset: place.offset(),
            len: place.len(),
            variant: header.variant,
            kind: header.kind,
            proved,
        });
    }
}

/// See [`Active::lost`].
pub(super) fn lost(entries: &[FooterEntry]) -> Vec<(u128, u32)> {
    let own = entries.iter().filter(|entry| entry.kind != Kind::Judged);
    own.map(|entry| (u128::from(entry.print) << 64, entry.variant)).collect()
}

impl Publish {
    pub(super) fn publish(self, dir: &Directory) {
        match self {
            Publish::Put { hash, variant, payload, place, reads } => {
                dir.queue.finish(hash, &payload, || {
                    dir.index.insert(print_of(hash), variant, place, reads);
                });
                dir.counters.written.one();
            }
            Publish::Moved { print, from, to, reads, .. } => {
                if dir.index.repoint(print, from, to, reads) {
                    dir.counters.reinserted.one();
                }
            }
            Publish::Buried { .. } | Publish::Nothing => {}
        }
    }
}
