//! One stored response, and the slot that holds all variants of one key.
//!
//! Everything here is our own compact memory: hyper's header maps and bytes are slices
//! of its read buffers and would pin kilobytes an object that no weigher sees. An entry
//! never changes after it is made, except for two marks of the purge ledger; freshening
//! makes a new entry that shares the body.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use smallvec::SmallVec;

use super::freshness::Freshness;
use super::head::Head;
use super::vary::Vary;

/// How much of the representation the body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// The bytes `first..=last` of `total` (RFC 9111 3.3): a stored 206.
    Part {
        /// Offset of the first byte held.
        first: u64,
        /// Offset of the last byte held.
        last: u64,
        /// Length of the whole representation, if the origin said it.
        total: Option<u64>,
    },
    /// None: this is the manifest of an object in pieces (`rules::pieces`).
    Pieces {
        /// Length of the representation in bytes.
        total: u64,
        /// What its pieces are found by.
        version: u128,
    },
}

impl Extent {
    /// Offsets of the first and last byte held of a part; `None` for a whole.
    pub fn held(self) -> Option<(u64, u64)> {
        match self {
            Extent::Whole | Extent::Pieces { .. } => None,
            Extent::Part { first, last, .. } => Some((first, last)),
        }
    }
}

/// A stored response.
#[derive(Debug)]
pub struct Entry {
    /// The canonical key text, compared on every hit.
    pub key: Box<[u8]>,
    /// Status and header fields, packed.
    pub head: Head,
    /// The body in one or more exact-size buffers, in order.
    pub body: SmallVec<[Bytes; 1]>,
    /// Which part of the representation the body is.
    pub extent: Extent,
    /// How long it may be used.
    pub freshness: Freshness,
    /// What the request had to look like, if the response varies.
    pub vary: Option<Box<Vary>>,
    /// Surrogate keys, sorted, without duplicates.
    pub tags: Box<[Box<str>]>,
    /// Sequence number of the purge ledger when the request for it was sent.
    pub seq: u64,
    /// Last sequence number it was checked against.
    pub checked_seq: AtomicU64,
    /// Marked stale by a soft purge.
    pub soft_purged: AtomicBool,
}

/// What an entry costs beyond key, head, body, vary and tags: the entry itself, reference
/// counts, the slot, the policy's lists, the table, and what the allocator rounds up.
/// Measured as resident memory with 343,336 objects of 1 KiB in a tier of 512 MiB.
pub const ENTRY_OVERHEAD: u64 = 544;

/// The weight of an entry with one body buffer of `body` bytes and `head` bytes of key,
/// head, tags and vary: what the lab reckons with.
pub fn weight_of(head: u64, body: u64) -> u64 {
    ENTRY_OVERHEAD + head + if body > 0 { body_weight(body) } else { 0 }
}

/// What a body buffer of `len` bytes costs. On the heap an eighth is lost to size classes and
/// to holes between objects that come and go; long ones lie in whole pages.
fn body_weight(len: u64) -> u64 {
    if len < BODY_MAPPED_MIN { len + len / 8 } else { len.next_multiple_of(4096) }
}

/// Body buffers from this length on lie in mappings of their own (`store::landed`).
pub const BODY_MAPPED_MIN: u64 = 128 << 10;

impl Entry {
    /// Length of the stored body in bytes.
    pub fn body_len(&self) -> u64 {
        self.body.iter().map(|piece| piece.len() as u64).sum()
    }

    /// Length of the representation, or of the part of it, that this entry stands for.
    pub fn content_len(&self) -> u64 {
        match self.extent {
            Extent::Pieces { total, .. } => total,
            Extent::Whole | Extent::Part { .. } => self.body_len(),
        }
    }

    /// Whether it stands for the whole representation, in one or in pieces.
    pub fn is_whole(&self) -> bool {
        !matches!(self.extent, Extent::Part { .. })
    }

    /// Whether the body is kept in pieces.
    pub fn in_pieces(&self) -> bool {
        matches!(self.extent, Extent::Pieces { .. })
    }

    /// Honest weight in bytes: everything that goes when this entry goes.
    pub fn weight(&self) -> u64 {
        let tags: usize = self.tags.iter().map(|tag| tag.len() + size_of::<Box<str>>()).sum();
        let vary = self.vary.as_ref().map_or(0, |vary| vary.weight());
        ENTRY_OVERHEAD
            + (self.key.len() + self.head.weight() + tags + vary) as u64
            + self.body.iter().map(|piece| body_weight(piece.len() as u64)).sum::<u64>()
    }

    /// The last sequence number of the purge ledger it was checked against.
    pub fn seen_seq(&self) -> u64 {
        self.checked_seq.load(Ordering::Acquire)
    }

    /// Whether a soft purge has made it stale.
    pub fn is_soft_purged(&self) -> bool {
        self.soft_purged.load(Ordering::Acquire)
    }
}

/// All variants of one key. The common case is one entry without `Vary`.
#[derive(Debug, Default)]
pub struct Slot {
    /// Newest first.
    pub variants: SmallVec<[Arc<Entry>; 1]>,
}

impl Slot {
    /// A slot with one entry.
    pub fn one(entry: Arc<Entry>) -> Self {
        Slot { variants: SmallVec::from_buf([entry]) }
    }

    /// Sum of the variants' weights.
    pub fn weight(&self) -> u64 {
        self.variants.iter().map(|entry| entry.weight()).sum()
    }
}

impl Clone for Slot {
    /// A hit copies the slot out from under a lock: for one entry that is one count, without
    /// the loop of a list.
    fn clone(&self) -> Self {
        match self.variants.as_slice() {
            [one] => Slot::one(Arc::clone(one)),
            many => Slot { variants: many.iter().cloned().collect() },
        }
    }
}
