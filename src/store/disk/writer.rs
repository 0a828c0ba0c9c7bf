//! The one thread of a directory that writes: records into the active segment, in
//! batches; a footer when it is full; the next segment. When it begins and ends: `life`.
//!
//! A record is published in the index only after all of its bytes were accepted by the
//! kernel. When a write fails, what was not published is dropped and the segment is left
//! as it is: nothing is ever written over bytes of unknown state. When a sync fails the
//! whole segment is dropped, because the kernel may have thrown its pages away and will
//! report success the next time.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::active::{Active, BATCH, Done, Publish, Unsynced};
use super::device::{DeviceFile, write_full};
use super::directory::Directory;
use super::format::{ALIGN, Header, Kind, encode_front};
use super::health::is_full;
use super::index::{Place, print_of};
use super::payload::Payload;
use super::queue::{ALL_VARIANTS, Command, Job, Next};
use super::room::Room;
use super::segment::{Footer, encode_footer};
use super::thin::Thinning;

/// How long the writer sleeps when nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);
/// After a full disk, how long writes are shed before the next try.
const FULL_PAUSE_MS: u64 = 1_000;

/// The writer's own state.
pub(super) struct Writer {
    pub(super) dir: Arc<Directory>,
    /// Oldest first.
    pub(super) done: VecDeque<Done>,
    pub(super) active: Option<Active>,
    /// Reclaimed segments whose files readers may still hold, with their sizes.
    pub(super) retired: Vec<(Weak<dyn DeviceFile>, u64)>,
    /// Segments whose holes wait for readers.
    pub(super) thinning: Vec<Thinning>,
    /// Newcomers are judged early: so it is wanted, and the file system takes holes.
    pub(super) judges_early: bool,
    /// Left after a fault, or found unsealed at a start: part of the next sync.
    pub(super) unsynced: Vec<Unsynced>,
    /// Segments given up whose files could not be removed yet: serials and sizes. Until they
    /// are, nothing more is reclaimed, because tombstones for their records would go too.
    pub(super) leftover: Vec<(u64, u64)>,
    /// Bytes of files that are not ours to touch.
    pub(super) foreign_bytes: u64,
    pub(super) next_serial: u64,
    pub(super) full_until_ms: u64,
    pub(super) room: Room,
    /// Tombstones that could not be written yet. Bounded by what the index held.
    pub(super) unburied: Vec<(u128, u32)>,
}

impl Writer {
    /// Writes until told otherwise; `None` when the directory has been taken out.
    pub(super) fn serve(&mut self) -> Option<Command> {
        let mut patience = Duration::ZERO;
        loop {
            if !self.dir.is_ready() {
                return self.leave();
            }
            match self.dir.queue.next(patience) {
                Next::Job(job) => {
                    patience = Duration::ZERO;
                    self.work(job);
                }
                Next::Idle => {
                    self.bury_rest();
                    self.flush();
                    self.remove_leftover();
                    self.punch_ready();
                    self.count_used();
                    patience = PATIENCE;
                }
                Next::Command(Command::Close) => {
                    self.checkpoint();
                    return Some(Command::Close);
                }
                Next::Command(Command::PutBack) => return self.leave(),
                Next::Command(command) => return Some(command),
            }
        }
    }

    /// The directory has been taken out: what was not buried must not be forgotten.
    fn leave(&mut self) -> Option<Command> {
        self.flush();
        for (hash, variant) in std::mem::take(&mut self.unburied) {
            self.dir.queue.order(Job::Bury { hash, variant });
        }
        self.dir.counters.used_bytes.set(0);
        None
    }

    fn work(&mut self, job: Job) {
        match job {
            Job::Put { hash, variant, payload } => {
                if self.dir.queue.wants(hash, &payload) && !self.put(hash, variant, &payload) {
                    self.give_up(hash, variant, &payload);
                }
            }
            Job::Bury { hash, variant } => {
                if variant == ALL_VARIANTS && self.dir.queue.pending(hash).is_empty() {
                    self.dir.index.remove(print_of(hash));
                }
                self.bury(hash, variant);
            }
            Job::Position(answer) => {
                self.flush();
                let end = |active: &Active| (active.segment.serial, active.end());
                let _ = answer.send(self.active.as_ref().map_or((self.next_serial, 0), end));
            }
            Job::Judged(mark) => {
                let stamp = Header::stamp(Kind::Judged, 0, 0, 0);
                self.append(stamp, &mark.encode(), &[], |_| Publish::Nothing);
            }
            Job::Sync(done) => {
                self.bury_rest();
                let good = self.flush()
                    && self.sync_active()
                    && self.remove_leftover()
                    && self.unburied.is_empty();
                let _ = done.send(good);
            }
        }
    }

    /// Appends a payload; false if it was not taken.
    fn put(&mut self, hash: u128, variant: u32, payload: &Payload) -> bool {
        let meta = payload.meta(self.dir.clock.now(), self.dir.run);
        let reads = self.reads_at_first(print_of(hash), variant, payload.cost());
        let stamp = Header::stamp(payload.kind(), hash, variant, payload.judged());
        self.append(stamp, &meta, payload.body(), |place| Publish::Put {
            hash,
            variant,
            payload: payload.clone(),
            place,
            reads,
        })
    }

    pub(super) fn append(
        &mut self,
        mut stamp: Header,
        meta: &[u8],
        body: &[Bytes],
        publish: impl FnOnce(Place) -> Publish,
    ) -> bool {
        let body_len: usize = body.iter().map(Bytes::len).sum();
        if (body_len + meta.len()) as u64 > self.dir.record_max {
            return false;
        }
        (stamp.meta_len, stamp.body_len) = (meta.len() as u32, body_len as u32);
        if !self.make_room(stamp.total_len() as u64) {
            return false;
        }
        let Some(active) = &mut self.active else { return false };
        stamp.serial = active.segment.serial;
        let front = encode_front(stamp, meta, body);
        let Ok((header, front)) = front else { return false };
        let Some(place) = active.place(header.total_len() as u64) else { return false };
        active.list(&header, place, false);
        active.waiting.push(publish(place));
        let padding = header.total_len() - header.body_offset() - body_len;
        let zeros = [0; ALIGN];
        self.write(&front)
            && body.iter().all(|piece| self.write(piece))
            && self.write(zeros.get(..padding).unwrap_or_default())
    }

    /// Buffers bytes, writing whole batches out. False after a fault.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(active) = &mut self.active {
            let room = BATCH.saturating_sub(active.buffer.len());
            let (now, later) = bytes.split_at(bytes.len().min(room));
            active.buffer.extend_from_slice(now);
            bytes = later;
            if bytes.is_empty() {
                return true;
            }
            if !self.write_out() {
                return false;
            }
        }
        false
    }

    /// Writes the buffer without publishing: the last record may not be whole.
    fn write_out(&mut self) -> bool {
        let Some(active) = &mut self.active else { return false };
        if active.buffer.is_empty() {
            return true;
        }
        match write_full(active.segment.file.as_ref(), &active.buffer, active.flushed) {
            Ok(()) => {
                self.dir.counters.written_bytes.add(active.buffer.len() as u64);
                active.flushed += active.buffer.len() as u64;
                active.buffer.clear();
                true
            }
            Err(error) => {
                self.abandon("write", &error);
                false
            }
        }
    }

    /// Writes what is buffered and publishes it. Called only between records.
    pub(super) fn flush(&mut self) -> bool {
        if self.active.is_none() {
            return true;
        }
        if !self.write_out() {
            return false;
        }
        let Some(active) = &mut self.active else { return false };
        active.published = active.entries.len();
        for done in active.waiting.drain(..) {
            done.publish(&self.dir);
        }
        true
    }

    /// Leaves the active segment as it is after a fault; what is published stays readable.
    pub(super) fn abandon(&mut self, doing: &str, error: &io::Error) {
        self.trouble(doing, error);
        let Some(active) = self.active.take() else { return };
        let (segment, lost) = (active.segment.clone(), active.lost());
        self.unsynced.push(Unsynced { segment, lost });
        self.done.push_back(Done::new(active.segment, &active.entries));
        for lost in active.waiting {
            match lost {
                Publish::Put { hash, variant, payload, .. } => {
                    self.give_up(hash, variant, &payload);
                }
                Publish::Buried { hash, variant } => self.unburied.push((hash, variant)),
                // It may be whole on disk, where the index does not know of it.
                Publish::Moved { print, variant, .. } => {
                    self.unburied.push((u128::from(print) << 64, variant));
                }
                Publish::Nothing => {}
            }
        }
    }

    /// A write that came to nothing. Its record may be whole on disk all the same, and an
    /// older version must not outlive a newer one that was lost: both are buried.
    fn give_up(&self, hash: u128, variant: u32, payload: &Payload) {
        if self.dir.queue.finish(hash, payload, || {}) {
            self.dir.counters.writes_shed.one();
        }
        self.dir.index.remove_variant(print_of(hash), variant);
        self.dir.queue.order(Job::Bury { hash, variant });
    }

    pub(super) fn trouble(&mut self, doing: &str, error: &io::Error) {
        if is_full(error) {
            self.full_until_ms = self.dir.clock.now().mono_ms + FULL_PAUSE_MS;
        }
        self.dir.fault(doing, error);
    }

    /// Makes sure that a record of `len` bytes fits into the active segment.
    fn make_room(&mut self, len: u64) -> bool {
        if let Some(active) = &self.active {
            if active.fits(len) {
                return true;
            }
            self.seal();
        }
        self.dir.clock.now().mono_ms >= self.full_until_ms && self.open_next()
    }

    /// Writes the footer that closes the active segment for good.
    fn seal(&mut self) {
        if self.flush()
            && self.write_footer(true)
            && self.sync_active()
            && let Some(active) = self.active.take()
        {
            self.done.push_back(Done::new(active.segment, &active.entries));
        }
    }

    pub(super) fn write_footer(&mut self, sealed: bool) -> bool {
        let Some(active) = &mut self.active else { return true };
        let entries = std::mem::take(&mut active.entries);
        let footer = Footer { sealed, end: active.flushed, entries };
        let bytes = encode_footer(active.segment.serial, &footer);
        active.entries = footer.entries;
        let at = active.segment.size.saturating_sub(bytes.len() as u64);
        match write_full(active.segment.file.as_ref(), &bytes, at) {
            Ok(()) => true,
            Err(error) => {
                self.abandon("write of a footer", &error);
                false
            }
        }
    }

    /// Bytes of files in the directory, also those that only readers hold.
    pub(super) fn used(&mut self) -> u64 {
        self.retired_are_gone();
        let done: u64 = self.done.iter().map(|done| done.held).sum();
        let retired: u64 = self.retired.iter().map(|(_, size)| size).sum();
        let active = self.active.as_ref().map_or(0, |active| active.segment.size);
        let leftover: u64 = self.leftover.iter().map(|(_, size)| size).sum();
        done + retired + active + leftover + self.foreign_bytes
    }

    pub(super) fn count_used(&mut self) {
        let used = self.used();
        self.dir.counters.used_bytes.set(used);
    }
}
