//! Room for the next segment: within the limit of the directory, or less where the device
//! has less.
//!
//! A device that is full before its directory's limit is reached says so when a segment is
//! made. Then the oldest one is given up for it, once: if that was enough, what is in use
//! now is the room there is, for a while, and segments turn over within it as they do within
//! a limit. If it was not, somebody else takes the space, and giving up one segment after
//! the other would only lose them: writes are shed until there is room again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::active::Active;
use super::device::write_full;
use super::directory::{Directory, Segment};
use super::health::is_full;
use super::segment::{SegmentHeader, draft_name, file_name};
use super::writer::Writer;
use crate::store::policy::lanes::Step;

/// How long the writer waits for readers of reclaimed files, for each segment it makes.
const READERS_WAIT: Duration = Duration::from_millis(50);
/// How long writes are shed when readers hold everything.
const HELD_PAUSE_MS: u64 = 100;
/// How long what was found out is believed.
const BELIEVED_MS: u64 = 600_000;

/// What a writer knows of the room on its device.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Bytes that are known to fit, and until when that is believed.
    found: Option<(u64, u64)>,
    /// One was given up and it was not enough.
    in_vain: bool,
}

impl Room {
    /// Bytes of files at most.
    pub(super) fn limit(&self, dir: &Directory) -> u64 {
        let now = dir.clock.now().mono_ms;
        let found = self.found.filter(|(_, until_ms)| now < *until_ms);
        found.map_or(dir.capacity, |(bytes, _)| bytes.min(dir.capacity))
    }

    /// Whether a segment may be given up because the device is full.
    pub(super) fn may_yield(&self) -> bool {
        !self.in_vain
    }

    /// One was given up: with the new one in its place `used` bytes fit, or it was in vain.
    pub(super) fn yielded(&mut self, used: Option<u64>, dir: &Directory) {
        if let Some(bytes) = used {
            tracing::warn!(path = %dir.path.display(), bytes, limit = dir.capacity,
                "the device is full before the directory's limit is reached");
        }
        self.in_vain = used.is_none();
        self.found = used.map(|bytes| (bytes, dir.clock.now().mono_ms + BELIEVED_MS));
    }

    /// A segment was made: there is room.
    pub(super) fn made(&mut self) {
        self.in_vain = false;
    }
}

impl Writer {
    /// Makes the next segment, and room for the one after it.
    pub(super) fn open_next(&mut self) -> bool {
        let size = self.dir.segment_len;
        if !self.shrink_to(self.room.limit(&self.dir)) {
            return false;
        }
        let mut made = self.make_segment();
        if made.as_ref().is_err_and(is_full) && self.room.may_yield() && self.yield_one() {
            // The device is smaller than its limit says: what it holds must turn over all
            // the same, or the oldest would stay for ever and nothing new come in.
            let mut patience = READERS_WAIT;
            while !self.wait_for_readers(&mut patience) {}
            made = self.make_segment();
            let used = self.used() + size;
            self.room.yielded(made.is_ok().then_some(used), &self.dir);
        }
        match made {
            Ok(segment) => {
                self.active = Some(Active::empty(segment));
                self.room.made();
                let limit = self.room.limit(&self.dir);
                // Early, so that what is read finds room in the new segment; no second one for
                // the sake of a reader who is about to go.
                let held = self.held_by_readers();
                while self.used() + size > limit && self.held_by_readers() <= held {
                    if !self.reclaim() {
                        break;
                    }
                }
                self.count_used();
                self.active.is_some()
            }
            Err(error) => {
                self.trouble("making a segment", &error);
                false
            }
        }
    }

    /// Reclaims until one more segment fits below `limit`; false if that cannot be.
    fn shrink_to(&mut self, limit: u64) -> bool {
        let mut patience = READERS_WAIT;
        while self.used() + self.dir.segment_len > limit {
            if self.wait_for_readers(&mut patience) && !self.reclaim() {
                // Everything is held by readers, or cannot go.
                if self.held_by_readers() > 0 {
                    self.full_until_ms = self.dir.clock.now().mono_ms + HELD_PAUSE_MS;
                }
                return false;
            }
        }
        true
    }

    /// Readers of a reclaimed file hold its space: most for the length of one read, those who
    /// send from it for as long as a client takes. True if none does, or patience is at its
    /// end: then another one must go, and a slow client costs room but holds no writes up.
    fn wait_for_readers(&mut self, patience: &mut Duration) -> bool {
        const STEP: Duration = Duration::from_millis(1);
        self.punch_ready();
        let gone = self.retired_are_gone() && self.thinning.is_empty();
        if !gone && !patience.is_zero() {
            std::thread::sleep(STEP);
            *patience = patience.saturating_sub(STEP);
            return false;
        }
        true
    }

    /// A new segment file under the next serial. It gets its name when its header is durable.
    fn make_segment(&mut self) -> io::Result<Arc<Segment>> {
        let (size, serial) = (self.dir.segment_len, self.next_serial);
        // A serial is never used twice, whatever becomes of the file.
        self.next_serial += 1;
        let (device, draft, name) = (&self.dir.device, draft_name(serial), file_name(serial));
        let made = device.create(&draft, size).and_then(|file| {
            write_full(file.as_ref(), &SegmentHeader { serial, size, thinned: false }.encode(), 0)?;
            file.sync()?;
            device.rename(&draft, &name)?;
            device.sync()?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(self.dir.segments.add(serial, size, file)),
            Err(error) => {
                let _ = device.remove(&draft);
                let _ = device.remove(&name);
                Err(error)
            }
        }
    }

    /// Gives up as many of the oldest as it takes for the room of one without holes.
    fn yield_one(&mut self) -> bool {
        let mut freed = 0;
        while freed < self.dir.segment_len {
            let held = self.done.front().map_or(0, |oldest| oldest.held);
            if !self.reclaim_oldest(Step::Take) {
                break;
            }
            freed += held;
        }
        freed > 0
    }

    fn held_by_readers(&self) -> usize {
        self.retired.len() + self.thinning.len()
    }

    pub(super) fn retired_are_gone(&mut self) -> bool {
        self.retired.retain(|(file, _)| file.strong_count() > 0);
        self.retired.is_empty()
    }
}
