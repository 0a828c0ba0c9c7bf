//! What the threads of one directory share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;

use super::DirectoryStats;
use super::device::{Device, DeviceFile};
use super::format::Flaw;
use super::health::{Health, State};
use super::identity::{DiskError, Identity};
use super::index::{Index, Place, print_of};
use super::lend::Buffers;
use super::marks::Marks;
use super::meta::Run;
use super::options::{DirectoryOptions, Options};
use super::queue::{ALL_VARIANTS, Job, WriteQueue};
use super::rate::Rate;
use super::reader::{ReadFault, Record};
use crate::base::Clock;
use crate::rules::key::KeySeed;
use crate::store::policy::admission::Admission;

/// Reads in a row that may be late.
const LATE_MAX: u32 = 4;
/// Segments below which one is too large a share for newcomers.
const JUDGED_SEGMENTS_MIN: u64 = 8;

/// One open segment file. Readers hold it by `Arc`: the file of a reclaimed segment goes
/// when the last of them is done.
pub struct Segment {
    /// Its serial number, also in every record.
    pub serial: u64,
    /// Its place in the table, the one that the index names.
    pub slot: u32,
    /// Length of the file in bytes.
    pub size: u64,
    /// The file.
    pub file: Arc<dyn DeviceFile>,
}

/// The segments by slot.
#[derive(Default)]
pub struct Segments {
    table: RwLock<Vec<Option<Arc<Segment>>>>,
}

impl Segments {
    /// The segment in a slot.
    pub fn at(&self, slot: u32) -> Option<Arc<Segment>> {
        self.table.read().get(slot as usize)?.clone()
    }

    /// Puts a file into the first free slot.
    pub fn add(&self, serial: u64, size: u64, file: Arc<dyn DeviceFile>) -> Arc<Segment> {
        let mut table = self.table.write();
        let free = table.iter().position(Option::is_none).unwrap_or(table.len());
        if free == table.len() {
            table.push(None);
        }
        let segment = Arc::new(Segment { serial, slot: free as u32, size, file });
        if let Some(place) = table.get_mut(free) {
            *place = Some(Arc::clone(&segment));
        }
        segment
    }

    /// A new handle for a slot: the old one is gone when those are done who looked before.
    pub fn renew(&self, segment: &Segment) -> Arc<Segment> {
        let new = Arc::new(Segment { file: Arc::clone(&segment.file), ..*segment });
        if let Some(place) = self.table.write().get_mut(segment.slot as usize) {
            *place = Some(Arc::clone(&new));
        }
        new
    }

    /// Empties a slot.
    pub fn drop_slot(&self, slot: u32) {
        if let Some(place) = self.table.write().get_mut(slot as usize) {
            *place = None;
        }
    }

    /// Empties all slots.
    pub fn clear(&self) {
        self.table.write().clear();
    }

    /// Number of segments.
    pub fn len(&self) -> usize {
        self.table.read().iter().flatten().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Everything the reader, the writer and the callers of one directory share.
pub struct Directory {
    /// Where it is, for the log.
    pub path: PathBuf,
    /// Bytes of files in it, never exceeded.
    pub capacity: u64,
    /// Length of the segments it makes.
    pub segment_len: u64,
    /// Longest record.
    pub record_max: u64,
    /// Share of a segment that may be reinserted.
    pub reinsert_percent: u8,
    /// Whether newcomers are judged early.
    pub judges_early: bool,
    /// The disk.
    pub device: Arc<dyn Device>,
    /// Seed of the store's keys.
    pub seed: KeySeed,
    /// What keys are spread by: the store's own, known once it could be opened.
    pub id: AtomicU64,
    /// The time.
    pub clock: Clock,
    /// This run of the node.
    pub run: Run,
    /// Where every record lies.
    pub index: Index,
    /// The open segment files.
    pub segments: Segments,
    /// What waits to be written.
    pub queue: WriteQueue,
    /// Whether it takes part.
    pub health: Health,
    /// What is written.
    pub admission: Admission,
    /// How fast it is written.
    pub rate: Rate,
    /// What has been judged by which purges.
    pub marks: Marks,
    /// Reads in a row that took too long.
    pub late: AtomicU32,
    /// Buffers of those who read a step at a time.
    pub buffers: Buffers,
    /// What happened.
    pub counters: Counters,
}

impl Directory {
    /// A directory that has yet to join.
    pub fn new(
        options: &Options,
        own: &DirectoryOptions,
        (device, identity): (Arc<dyn Device>, Identity),
        clock: Clock,
        run: Run,
    ) -> Self {
        let segment_len = options.segment_len(own.capacity);
        let capacity = own.capacity.bytes();
        let admission = Admission::new(options.admit, options.ghost_keys, capacity);
        Directory {
            path: own.path.clone(),
            capacity,
            segment_len,
            record_max: options.record_max(segment_len),
            reinsert_percent: options.reinsert_percent.min(90),
            judges_early: admission.judges_early()
                && capacity / segment_len.max(1) >= JUDGED_SEGMENTS_MIN,
            device,
            seed: identity.seed,
            id: AtomicU64::new(identity.id),
            clock,
            run,
            index: Index::default(),
            segments: Segments::default(),
            queue: WriteQueue::new(options.queue_max.bytes()),
            health: Health::new(options.faults_max),
            admission,
            rate: Rate::new(options.write_rate_max.map(|max| max.bytes())),
            marks: Marks::default(),
            late: AtomicU32::new(0),
            buffers: Buffers::default(),
            counters: Counters::default(),
        }
    }

    /// Takes the directory again that was let go: the one that is at its path now, which
    /// may be another, empty one.
    ///
    /// # Errors
    /// As when a node starts.
    pub fn take_again(&self) -> Result<(), DiskError> {
        let failed = |error| DiskError::Io { path: self.path.clone(), error };
        self.device.reopen().map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => DiskError::Locked { path: self.path.clone() },
            _ => failed(error),
        })?;
        match Identity::read(&self.path)? {
            None => {
                Identity { seed: self.seed, id: self.id.load(Ordering::Relaxed) }.write(&self.path)
            }
            Some(found) if found.seed == self.seed => {
                self.id.store(found.id, Ordering::Relaxed);
                Ok(())
            }
            Some(_) => Err(DiskError::Seed { path: self.path.clone() }),
        }
    }

    /// Whether it is in service.
    pub fn is_ready(&self) -> bool {
        self.health.state() == State::Ready
    }

    /// Whether another variant of a key is stored or waits to be.
    pub fn holds_other(&self, hash: u128, variant: u32) -> bool {
        self.index.contains_other(print_of(hash), variant)
            || self.queue.pending(hash).iter().any(|waits| waits.variant() != variant)
    }

    /// Removes one variant of a key: what waits and what is on disk.
    pub fn remove_variant(&self, hash: u128, variant: u32) {
        let index = || self.index.remove_variant(print_of(hash), variant);
        self.queue.remove(hash, variant, || self.is_ready(), index);
    }

    /// The record, or `None` after counting what was wrong with it.
    pub fn judged(
        &self,
        read: Result<Record, ReadFault>,
        hash: u128,
        place: Place,
    ) -> Option<Record> {
        match read {
            Ok(record) => Some(record),
            Err(error) => {
                self.unreadable(error, print_of(hash), place);
                None
            }
        }
    }

    /// Counts why a record could not be read and drops it, so that it is not tried again.
    pub fn unreadable(&self, error: ReadFault, print: u64, place: Place) {
        match error {
            // The second: its segment was reclaimed and the slot used again meanwhile.
            ReadFault::WouldBlock | ReadFault::Flaw(Flaw::Other) => {}
            ReadFault::Flaw(_) => self.flawed(print, place),
            ReadFault::Io(error) => {
                self.give_up(print, place);
                self.fault("read", &error);
            }
        }
    }

    /// Drops a record that does not verify.
    pub fn flawed(&self, print: u64, place: Place) {
        // Given up meanwhile it may be a hole.
        if self.give_up(print, place) {
            self.counters.flaws.one();
        }
    }

    /// Drops a record for good: were it only dropped from the index, a restart would
    /// bring it back after a sweep that could not judge it.
    fn give_up(&self, print: u64, place: Place) -> bool {
        let held = self.index.remove_exact(print, place);
        if held {
            let hash = u128::from(print) << 64;
            self.queue.order(Job::Bury { hash, variant: ALL_VARIANTS });
        }
        held
    }

    /// How it is doing.
    pub fn stats(&self) -> DirectoryStats {
        let Counters {
            hits,
            misses,
            reads_inline,
            reads_pooled,
            reads_shed,
            flaws,
            written,
            written_bytes,
            writes_shed,
            declined,
            reclaimed,
            reinserted,
            evicted,
            set_aside,
            used_bytes,
        } = &self.counters;
        DirectoryStats {
            path: self.path.clone(),
            state: self.health.state(),
            last_fault: self.health.last_fault(),
            records: self.index.len() as u64,
            index_bytes: self.index.memory() as u64,
            used_bytes: used_bytes.value(),
            capacity_bytes: self.capacity,
            queued_bytes: self.queue.bytes(),
            faults: self.health.faults(),
            counters: vec![
                ("hits", hits.value()),
                ("misses", misses.value()),
                ("reads_inline", reads_inline.value()),
                ("reads_pooled", reads_pooled.value()),
                ("reads_shed", reads_shed.value()),
                ("flaws", flaws.value()),
                ("written", written.value()),
                ("written_bytes", written_bytes.value()),
                ("writes_shed", writes_shed.value()),
                ("declined", declined.value()),
                ("reclaimed", reclaimed.value()),
                ("reinserted", reinserted.value()),
                ("evicted", evicted.value()),
                ("set_aside", set_aside.value()),
            ],
        }
    }

    /// A read took too long. A busy machine or disk is late now and then; one that answers
    /// none of several in a row is a fault.
    pub fn late(&self) {
        if self.late.fetch_add(1, Ordering::Relaxed) >= LATE_MAX {
            self.fault("read", &std::io::ErrorKind::TimedOut.into());
        }
    }

    /// Counts a fault of the device, takes the directory out if it was one too many.
    pub fn fault(&self, doing: &str, error: &std::io::Error) {
        let path = self.path.display();
        if self.health.fault(self.clock.now().mono_ms, error) {
            tracing::error!(%path, doing, %error, "disk directory taken out after repeated faults");
        } else {
            tracing::debug!(%path, doing, %error, "disk fault");
        }
    }
}

/// A counter of events.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets it, for those that are a level and no count.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened in one directory since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Lookups that found something to serve.
    pub hits: Count,
    /// Lookups that did not.
    pub misses: Count,
    /// Reads answered from the page cache on the caller's thread.
    pub reads_inline: Count,
    /// Reads that went to the pool.
    pub reads_pooled: Count,
    /// Reads given up because the pool's queue was full or the time was over.
    pub reads_shed: Count,
    /// Records that did not verify and were dropped.
    pub flaws: Count,
    /// Records written.
    pub written: Count,
    /// Bytes written, all kinds.
    pub written_bytes: Count,
    /// Writes shed: queue full, over the rate, too large, not in service.
    pub writes_shed: Count,
    /// Offers that admission declined.
    pub declined: Count,
    /// Segments reclaimed.
    pub reclaimed: Count,
    /// Records written again when their segment was reclaimed.
    pub reinserted: Count,
    /// Live records given up when their segment was reclaimed.
    pub evicted: Count,
    /// Segment files of an unknown version, left alone.
    pub set_aside: Count,
    /// Bytes of segment files now (also those still held by readers).
    pub used_bytes: Count,
}
