//! What a record can carry.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::format::Kind;
use super::meta::{self, Run};
use crate::base::Now;
use crate::rules::entry::Entry;
use crate::rules::pieces;

/// The content of a record, shared with whoever offered it.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A stored response.
    Entry(Arc<Entry>),
}

impl Payload {
    /// The kind of its record.
    pub fn kind(&self) -> Kind {
        match self {
            Payload::Entry(entry) if pieces::is_piece(&entry.key) => Kind::Piece,
            Payload::Entry(_) => Kind::Entry,
        }
    }

    /// Bytes it keeps in memory while it waits.
    pub fn cost(&self) -> u64 {
        match self {
            Payload::Entry(entry) => entry.weight(),
        }
    }

    /// Fingerprint of its variant.
    pub fn variant(&self) -> u32 {
        match self {
            Payload::Entry(entry) => meta::variant_of(entry),
        }
    }

    /// Up to which purge it has been judged.
    pub fn judged(&self) -> u64 {
        match self {
            Payload::Entry(entry) => entry.checked_seq.load(Ordering::Acquire),
        }
    }

    /// Its meta block.
    pub fn meta(&self, now: Now, run: Run) -> Vec<u8> {
        match self {
            Payload::Entry(entry) => meta::encode(entry, now, run),
        }
    }

    /// Its body.
    pub fn body(&self) -> &[Bytes] {
        match self {
            Payload::Entry(entry) => &entry.body,
        }
    }
}
