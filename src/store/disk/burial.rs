//! Tombstones: what makes a removal last across a start, and what must happen to them when
//! the segment they were written to is lost.
//!
//! One that could not be written is kept and tried again, and until then no sync succeeds,
//! so that nobody (the ledger above all) believes that it is on the disk.

use super::active::{Done, Publish, Unsynced};
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

    /// Makes durable what was written to the active segment, and to those that were left
    /// after a fault before they were synced.
    pub(super) fn sync_active(&mut self) -> bool {
        let error = self.active.as_ref().and_then(|active| active.segment.file.sync().err());
        let failed = error.is_some();
        if let Some(error) = error {
            self.abandon("sync", &error);
            if let Some(unsynced) = self.unsynced.pop() {
                self.drop_segment(unsynced);
            }
        }
        let mut good = !failed;
        for unsynced in std::mem::take(&mut self.unsynced) {
            if let Err(error) = unsynced.segment.file.sync() {
                self.trouble("sync", &error);
                self.drop_segment(unsynced);
                good = false;
            }
        }
        good
    }

    /// A segment whose pages the kernel may have thrown away. Older records of what it
    /// replaced or buried must not come back at a start.
    fn drop_segment(&mut self, Unsynced { segment, lost }: Unsynced) {
        let held = |done: &Done| (done.segment.serial == segment.serial).then_some(done.held);
        let held = self.done.iter().find_map(held).unwrap_or(segment.size);
        self.done.retain(|done| done.segment.serial != segment.serial);
        self.dir.index.remove_slot(segment.slot);
        self.retire(segment, held);
        self.unburied.extend(lost);
    }
}
