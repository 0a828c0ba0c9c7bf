//! Gives the oldest segment up: FIFO over segments, with another life for what was read.
//!
//! Records that were looked up since they were written go to the head of the log again,
//! within a budget; the others are evicted. Index first, file last: a reader that has the
//! place already holds the file, one that comes later does not find the place any more.
//! FIFO order is also what makes tombstones safe: whatever a tombstone voids lies before
//! it and is gone before it, which is why nothing is reclaimed while an older file stays.
//! Where newcomers are judged early, `thin` makes most of the room.

use std::sync::Arc;

use super::active::{Done, Publish, lost};
use super::device::read_full;
use super::directory::Segment;
use super::format::{Flaw, HEADER, Header, split_front, verify_blocks};
use super::index::{Place, print_of};
use super::recover::{records_of, remove};
use super::segment::FooterEntry;
use super::writer::Writer;
use crate::store::policy::lanes::{End, Lanes, Step};

impl Writer {
    /// Makes room in the way that is due. False if none can be made now.
    pub(super) fn reclaim(&mut self) -> bool {
        if !self.judges_early {
            return self.reclaim_oldest(Step::Take);
        }
        match self.next_step() {
            Step::Judge if self.thin_next() => true,
            Step::Judge => self.reclaim_oldest(Step::Take),
            step => self.reclaim_oldest(step),
        }
    }

    /// Reclaims the oldest segment. False if there is none, or a file will not go.
    pub(super) fn reclaim_oldest(&mut self, step: Step) -> bool {
        if !self.remove_leftover() {
            return false;
        }
        let Some(oldest) = self.done.pop_front() else { return false };
        let Done { segment, held, judged, .. } = oldest;
        self.dir.admission.full();
        let records = match records_of(segment.file.as_ref(), segment.serial, segment.size) {
            Ok(records) => records,
            Err(error) => {
                self.trouble("reading a segment to reclaim", &error);
                Vec::new()
            }
        };
        self.reinsert(&segment, &records, step, judged);
        let mut evicted = 0;
        for record in &records {
            let Some(place) = Place::new(segment.slot, record.offset, record.len) else { continue };
            if self.dir.index.remove_exact(record.print, place) {
                let early = self.judges_early && !judged && !record.proved;
                let end = if early { End::Border } else { End::Oldest };
                self.dir.admission.remember(record.print, end);
                evicted += 1;
            }
        }
        if records.is_empty() {
            evicted += self.dir.index.remove_slot(segment.slot).records;
        }
        self.dir.counters.evicted.add(evicted);
        self.dir.counters.reclaimed.one();
        if !self.retire(segment, held) {
            // Still there, and no longer in the index: a removal would not be written.
            self.unburied.extend(lost(&records));
        }
        true
    }

    /// Tries again to remove files that would not go. False if one still does not.
    pub(super) fn remove_leftover(&mut self) -> bool {
        while let Some((serial, _)) = self.leftover.first() {
            if let Err(error) = remove(self.dir.device.as_ref(), *serial) {
                self.trouble("removing a segment", &error);
                return false;
            }
            self.leftover.remove(0);
        }
        true
    }

    fn reinsert(
        &mut self,
        segment: &Arc<Segment>,
        records: &[FooterEntry],
        step: Step,
        judged: bool,
    ) {
        // Without a segment to write to there is no room: everything is evicted.
        if self.active.is_none() {
            return;
        }
        let mut budget = segment.size / 100 * u64::from(self.dir.reinsert_percent);
        for record in records {
            let Some(place) = Place::new(segment.slot, record.offset, record.len) else { continue };
            let Some(reads) = self.dir.index.reads(record.print, place) else { continue };
            let again = match self.judges_early {
                true if judged || record.proved => Lanes::again(step, reads),
                true => Lanes::again(Step::Judge, reads),
                false => (reads > 0).then_some(0),
            };
            let Some(left) = again else { continue };
            if !record.holds() || record.len > budget {
                continue;
            }
            if !self.room_now(record.len) {
                break;
            }
            let Some(bytes) = self.whole(segment, record) else { continue };
            budget -= record.len;
            if self.append_raw(bytes, place, left) != Ok(true) {
                break;
            }
        }
        self.flush();
    }

    /// Whether `len` more bytes fit into the active segment.
    pub(super) fn room_now(&self, len: u64) -> bool {
        self.active.as_ref().is_some_and(|active| active.fits(len))
    }

    /// Appends a whole record as it was read from another segment, under this one's serial
    /// and with so many reads left.
    pub(super) fn append_raw(
        &mut self,
        mut record: Vec<u8>,
        from: Place,
        reads: u32,
    ) -> Result<bool, Flaw> {
        let mut header = Header::decode(&record)?;
        let Some(active) = &mut self.active else { return Ok(false) };
        header.judged = self.dir.marks.judged(&header, from.offset());
        header.serial = active.segment.serial;
        record.get_mut(..HEADER).ok_or(Flaw::Length)?.copy_from_slice(&header.encode());
        let Some(to) = active.place(record.len() as u64) else { return Ok(false) };
        active.list(&header, to, true);
        let (print, variant) = (print_of(header.hash), header.variant);
        active.waiting.push(Publish::Moved { print, variant, from, to, reads });
        Ok(self.write(&record))
    }

    /// A record that verifies in every byte, or nothing: rot is not copied.
    pub(super) fn whole(&mut self, segment: &Segment, record: &FooterEntry) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(record.len).ok()?];
        if let Err(error) = read_full(segment.file.as_ref(), &mut bytes, record.offset) {
            self.trouble("reading a record to keep", &error);
            return None;
        }
        let verified = || {
            let header = Header::decode(&bytes).ok()?;
            let (_, sums) = split_front(&header, &bytes).ok()?;
            let start = header.body_offset();
            let body = bytes.get(start..start + header.body_len as usize)?;
            verify_blocks(sums, 0, body).ok()?;
            (header.serial == segment.serial && header.total_len() == bytes.len()).then_some(())
        };
        if verified().is_none() {
            self.dir.counters.flaws.one();
            return None;
        }
        Some(bytes)
    }

    /// Takes a segment out of the table and unlinks its file; false if that stays for now.
    /// `held` is what that takes up.
    pub(super) fn retire(&mut self, segment: Arc<Segment>, held: u64) -> bool {
        self.dir.segments.drop_slot(segment.slot);
        self.unsynced.retain(|unsynced| unsynced.segment.serial != segment.serial);
        self.thinning.retain(|thinning| thinning.serial != segment.serial);
        if let Err(error) = remove(self.dir.device.as_ref(), segment.serial) {
            self.trouble("removing a segment", &error);
            self.leftover.push((segment.serial, held));
            return false;
        }
        self.retired.push((Arc::downgrade(&segment.file), held));
        true
    }
}
