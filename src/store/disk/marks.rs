//! Which records have been judged by which purges.
//!
//! The ledger forgets purges after a sweep has judged everything stored, and then takes
//! what was last judged before its floor for gone. A record cannot be written again only
//! to say that it has been judged, so a mark in the log says it for all that lie before a
//! place. A record carries the number it was judged at when it was written; reinsertion,
//! which moves it behind the mark, writes the mark's number into its header.

use parking_lot::Mutex;

use super::format::Header;
use super::wire::Cursor;

/// Everything before `serial` and `offset` has been judged by the purges up to `upto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Sequence number of the ledger.
    pub upto: u64,
    /// Serial of the segment of the place.
    pub serial: u64,
    /// Offset of the place.
    pub offset: u64,
}

impl Mark {
    /// The meta block of its record.
    pub fn encode(&self) -> Vec<u8> {
        [self.upto, self.serial, self.offset].iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    /// The inverse of [`Mark::encode`].
    pub fn decode(meta: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(meta);
        Some(Mark { upto: cursor.u64()?, serial: cursor.u64()?, offset: cursor.u64()? })
    }
}

/// The newest mark of a directory; it covers what the older ones did.
#[derive(Debug, Default)]
pub struct Marks(Mutex<Mark>);

impl Marks {
    /// Takes a newer mark in.
    pub fn add(&self, mark: Mark) {
        let mut own = self.0.lock();
        if mark.upto >= own.upto {
            *own = mark;
        }
    }

    /// Forgets, before the log is read again.
    pub fn clear(&self) {
        *self.0.lock() = Mark::default();
    }

    /// Up to which purge the record with `header`, at `offset` of its segment, is judged.
    pub fn judged(&self, header: &Header, offset: u64) -> u64 {
        let mark = *self.0.lock();
        let covered = (header.serial, offset) < (mark.serial, mark.offset);
        if covered { header.judged.max(mark.upto) } else { header.judged }
    }
}
