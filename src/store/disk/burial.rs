//! Tombstones: what makes a removal last across a start, and what must happen to them when
//! the segment they were written to is lost.
//!
//! One that could not be written is kept and tried again, and until then no sync succeeds,
//! so that nobody (the ledger above all) believes that it is on the disk.

use super::active::Publish;
use super::format::{Header, Kind};
use super::writer::Writer;

impl Writer {
    /// Writes a tombstone. One that cannot be written is kept and tried again, and until
    /// then no sync succeeds.
    pub(super) fn bury(&mut self, hash: u128, variant: u32) {
        let stamp = Header::stamp(Kind::Tombstone, hash, variant, 0);
        if !self.append(stamp, &[], &[], |_| Publish::Buried { hash, variant }) {
            self.unburied.push((hash, variant));
        }
    }

    pub(super) fn bury_rest(&mut self) {
        for (hash, variant) in std::mem::take(&mut self.unburied) {
            self.bury(hash, variant);
        }
    }

    /// At a clean stop: everything written, listed and durable. More may follow later.
    pub(super) fn checkpoint(&mut self) {
        self.full_until_ms = 0;
        self.bury_rest();
        if self.flush() && self.write_footer(false) {
            self.sync_active();
        }
    }

    pub(super) fn sync_active(&mut self) -> bool {
        let Some(active) = &self.active else { return true };
        let Err(error) = active.segment.file.sync() else { return true };
        let lost = active.lost();
        self.abandon("sync", &error);
        if let Some(dropped) = self.done.pop_back() {
            self.dir.index.remove_slot(dropped.segment.slot);
            self.retire(dropped.segment);
            // Older records of what it replaced or buried must not come back at a start.
            self.unburied.extend(lost);
        }
        false
    }
}
