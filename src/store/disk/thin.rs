//! Gives newcomers up where they lie, in the middle of the log: their bytes become holes.
//!
//! For the order of `policy::lanes` something in the middle must go before what is older. A
//! log of files can do that without leaving its order, so that nothing of what makes it safe
//! changes (whatever a tombstone voids lies before it and is gone before it):
//!
//! 1. What is given up gets tombstones at the end of the log, as if it had been removed, and
//!    they are made durable. From here on it is gone, whatever happens.
//! 2. It leaves the index. A removal that comes later finds nothing and writes nothing.
//! 3. The segment's header says, durably, that it cannot be read without its footer.
//! 4. When those are done who looked before, its bytes are given back to the file system.
//!
//! A stop at any point costs hits at most: a hole that somebody still finds does not verify
//! and is a miss. What stays is not moved, unless it is so short that pieces of blocks around
//! it would be wasted. A file system without holes keeps one round for all.

use std::io;
use std::sync::{Arc, Weak};

use super::active::{Active, newcomers};
use super::device::{DeviceFile, write_full};
use super::directory::Segment;
use super::format::HEADER;
use super::index::Place;
use super::recover::contents_of;
use super::segment::{ENTRY, FooterEntry, SegmentHeader};
use super::writer::Writer;
use crate::store::policy::lanes::{End, Lanes, Step};

/// Holes are whole blocks of this length.
const BLOCK: u64 = 4096;
/// What stays and is shorter is copied; less in short segments.
const COPIED_MAX: u64 = 64 << 10;
/// Share of a segment that is copied at most.
const COPIED_SHARE: u64 = 4;

/// A segment whose holes wait for its readers.
pub(super) struct Thinning {
    pub(super) serial: u64,
    /// The handle of those who looked before it was thinned.
    before: Weak<Segment>,
    file: Arc<dyn DeviceFile>,
    /// Offsets and lengths.
    holes: Vec<(u64, u64)>,
}

impl Writer {
    /// What is due for room.
    pub(super) fn next_step(&self) -> Step {
        let new = |active: &Active| newcomers(&active.entries);
        let size = |active: &Active| active.segment.size;
        let sealed: u64 = self.done.iter().map(|done| done.newcomers).sum();
        let length: u64 = self.done.iter().map(|done| done.segment.size).sum();
        let newcomers = sealed + self.active.as_ref().map_or(0, new);
        let length = length + self.active.as_ref().map_or(0, size);
        let judged = self.done.front().is_some_and(|oldest| oldest.judged);
        self.dir.admission.lanes().next(newcomers, judged, length)
    }

    /// The reads that a record starts with.
    pub(super) fn reads_at_first(&self, print: u64, variant: u32, size: u64) -> u32 {
        if !self.judges_early {
            return 0;
        }
        // A newer version is worth what the older one was.
        let older = self.dir.index.reads_of(print, variant);
        older.unwrap_or_else(|| self.dir.admission.head_start(print, size))
    }

    /// Moves the border over the oldest segment with newcomers. False if there is none, or no
    /// room to say what is given up.
    pub(super) fn thin_next(&mut self) -> bool {
        let Some(at) = self.done.iter().position(|done| !done.judged) else { return false };
        let Some(segment) = self.done.get(at).map(|done| Arc::clone(&done.segment)) else {
            return false;
        };
        let read = contents_of(segment.file.as_ref(), segment.serial, segment.size);
        let contents = match read {
            Ok(contents) => contents,
            Err(error) => {
                self.trouble("reading a segment to thin", &error);
                return false;
            }
        };
        // One that was left after a fault has no footer to rely on: it stays as it is.
        if contents.sealed && !self.give_up_newcomers(&segment, &contents.entries) {
            return false;
        }
        self.dir.admission.full();
        let still = |done: &&mut super::active::Done| done.segment.serial == segment.serial;
        // A fault of its device may have dropped it meanwhile.
        if let Some(done) = self.done.iter_mut().find(still) {
            (done.judged, done.newcomers) = (true, 0);
            if contents.sealed {
                let holes = self.holes(&segment, &contents.entries);
                self.make_holes(segment, holes);
            }
        }
        true
    }

    /// Judges the newcomers of a segment. False if it could not be said durably what is given
    /// up; all of it stays then.
    fn give_up_newcomers(&mut self, segment: &Segment, entries: &[FooterEntry]) -> bool {
        let active = |writer: &Self| writer.active.as_ref().map(|active| active.segment.serial);
        let Some(into) = active(self) else { return false };
        let candidates = entries.iter().filter(|entry| entry.holds() && !entry.proved);
        if !self.room_now((candidates.count() * (HEADER + ENTRY)) as u64) {
            return false;
        }
        let short = COPIED_MAX.min(segment.size >> 8);
        let mut budget = segment.size / COPIED_SHARE;
        let mut victims = Vec::new();
        for entry in entries.iter().filter(|entry| entry.holds() && !entry.proved) {
            let Some(place) = Place::new(segment.slot, entry.offset, entry.len) else { continue };
            let Some(reads) = self.dir.index.reads(entry.print, place) else { continue };
            match Lanes::again(Step::Judge, reads) {
                None if !self.room_now(HEADER as u64) => return false,
                None => {
                    self.bury(u128::from(entry.print) << 64, entry.variant);
                    victims.push((entry.print, place));
                }
                Some(left) if entry.len < short && entry.len <= budget => {
                    budget -= entry.len;
                    if self.room_now(entry.len)
                        && let Some(bytes) = self.whole(segment, entry)
                    {
                        let _ = self.append_raw(bytes, place, left);
                    }
                }
                Some(left) => {
                    self.dir.index.repoint(entry.print, place, place, left);
                }
            }
        }
        // After a fault the log goes on in another segment, and what was written is not known.
        if !self.flush() || active(self) != Some(into) {
            return false;
        }
        if !self.sync_active() || active(self) != Some(into) {
            return false;
        }
        for (print, place) in victims {
            if self.dir.index.remove_exact(print, place) {
                self.dir.admission.remember(print, End::Border);
                self.dir.counters.evicted.one();
            }
        }
        true
    }

    /// Where nothing lies any more that the index names, in whole blocks.
    fn holes(&self, segment: &Segment, entries: &[FooterEntry]) -> Vec<(u64, u64)> {
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for entry in entries.iter().filter(|entry| entry.holds()) {
            let Some(place) = Place::new(segment.slot, entry.offset, entry.len) else { continue };
            if self.dir.index.reads(entry.print, place).is_some() {
                continue;
            }
            match spans.last_mut() {
                Some((_, end)) if *end == entry.offset => *end += entry.len,
                _ => spans.push((entry.offset, entry.offset + entry.len)),
            }
        }
        let whole = |(from, to): (u64, u64)| {
            let from = from.next_multiple_of(BLOCK);
            let len = (to / BLOCK * BLOCK).saturating_sub(from);
            (len > 0).then_some((from, len))
        };
        spans.into_iter().filter_map(whole).collect()
    }

    fn make_holes(&mut self, segment: Arc<Segment>, holes: Vec<(u64, u64)>) {
        if holes.is_empty() {
            return;
        }
        let Segment { serial, size, .. } = *segment;
        let header = SegmentHeader { serial, size, thinned: true }.encode();
        let said = write_full(segment.file.as_ref(), &header, 0);
        if let Err(error) = said.and_then(|()| segment.file.sync()) {
            self.trouble("marking a segment as thinned", &error);
            return;
        }
        let new = self.dir.segments.renew(&segment);
        let file = Arc::clone(&segment.file);
        if let Some(done) = self.done.iter_mut().find(|done| done.segment.serial == serial) {
            done.segment = new;
        }
        self.thinning.push(Thinning { serial, before: Arc::downgrade(&segment), file, holes });
        drop(segment);
        self.punch_ready();
    }

    /// Makes the holes that no reader stands in the way of.
    pub(super) fn punch_ready(&mut self) {
        let waiting = std::mem::take(&mut self.thinning);
        let (ready, waiting) = waiting.into_iter().partition(|one| one.before.strong_count() == 0);
        self.thinning = waiting;
        let ready: Vec<Thinning> = ready;
        for one in ready {
            let mut freed = 0;
            let punched = one.holes.iter().try_for_each(|(offset, len)| {
                one.file.punch(*offset, *len)?;
                freed += len;
                Ok(())
            });
            match punched.and_then(|()| one.file.held()) {
                Ok(held) => self.holds(one.serial, held, freed),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    let path = self.dir.path.display();
                    tracing::warn!(%path, "no holes in files here: newcomers are not judged early");
                    self.judges_early = false;
                }
                Err(error) => self.trouble("giving room back", &error),
            }
        }
    }

    /// A segment takes up less now: by what the file system says, but not less than what was
    /// given back accounts for.
    fn holds(&mut self, serial: u64, held: u64, freed: u64) {
        if let Some(done) = self.done.iter_mut().find(|done| done.segment.serial == serial) {
            done.held = held.max(done.segment.size.saturating_sub(freed)).min(done.held);
        }
    }
}

/// Bytes that a file found at the start takes up.
pub(super) fn held_of(file: &dyn DeviceFile, size: u64) -> io::Result<u64> {
    Ok(file.held()?.min(size))
}
