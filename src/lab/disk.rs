//! The disk tier without a disk: a log of objects, in the order and with the admission of
//! the node itself (`store::policy::{admission, lanes}`).
//!
//! Records are whole objects, so segment boundaries do not show. What the node's reclaim
//! reads and writes is counted the same way.

use std::collections::VecDeque;

use super::policies::Gone;
use crate::store::policy::admission::{Admission, AdmitPolicy, Offer};
use crate::store::policy::lanes::{End, Lanes, READS_MAX, Step};

/// Keys remembered at least.
const GHOST_MIN: usize = 64;
/// What is read twice and shorter than this is copied by the border, as by the node.
const COPIED_MAX: u64 = 64 << 10;

#[derive(Clone, Copy, Default)]
struct Record {
    /// Serial number of the record that counts; zero if there is none.
    serial: u64,
    size: u64,
    reads: u32,
    /// It has yet to be judged at the border.
    newcomer: bool,
}

/// A simulated disk.
pub struct Disk<'a> {
    capacity: u64,
    used: u64,
    /// Bytes of the newcomers among them.
    newcomers: u64,
    serial: u64,
    /// Bytes written, reinsertion included.
    pub written: u64,
    /// Bytes written for the first time.
    pub admitted: u64,
    /// Objects given up.
    pub evictions: u64,
    records: Vec<Record>,
    /// Objects, serials and sizes, the oldest first.
    log: VecDeque<(u32, u64, u64)>,
    /// Bytes of it, with its holes.
    length: u64,
    /// Records before the border.
    judged: usize,
    admission: Admission,
    keys: &'a [u128],
}

impl<'a> Disk<'a> {
    /// An empty disk for objects with these keys.
    pub fn new(capacity: u64, policy: AdmitPolicy, keys: &'a [u128], footprint: u64) -> Self {
        // About as many keys as it will hold.
        let share = capacity as f64 / footprint.max(1) as f64;
        let ghost = (keys.len() as f64 * share.min(1.0)) as usize;
        Disk {
            capacity,
            used: 0,
            newcomers: 0,
            serial: 0,
            written: 0,
            admitted: 0,
            evictions: 0,
            records: vec![Record::default(); keys.len()],
            log: VecDeque::new(),
            length: 0,
            judged: 0,
            admission: Admission::new(policy, ghost.max(GHOST_MIN), capacity),
            keys,
        }
    }

    /// Whether the object is there; counts as read.
    pub fn get(&mut self, object: u32) -> bool {
        let record = &mut self.records[object as usize];
        record.reads = (record.reads + 1).min(READS_MAX);
        record.serial > 0
    }

    /// What has just come from the origin.
    pub fn stored(&mut self, object: u32, size: u64) {
        self.offer(object, size, Offer::Stored);
    }

    /// What memory has given up.
    pub fn evicted(&mut self, gone: Gone) {
        self.offer(gone.object, gone.size, Offer::Evicted { hits: gone.hits });
    }

    fn offer(&mut self, object: u32, size: u64, why: Offer) {
        let record = self.records[object as usize];
        let (held, early) = (record.serial > 0, self.admission.judges_early());
        let print = self.print(object);
        if size > self.capacity || !self.admission.admits(why, print, held) {
            return;
        }
        self.admitted += size;
        let reads = match (early, held) {
            (false, _) => 0,
            (true, true) => record.reads,
            (true, false) => self.admission.head_start(print, size),
        };
        self.append(object, size, reads, early);
        while self.used > self.capacity {
            self.admission.full();
            if !self.reclaim(early) {
                break;
            }
        }
    }

    fn append(&mut self, object: u32, size: u64, reads: u32, newcomer: bool) {
        self.serial += 1;
        self.forget(object);
        self.records[object as usize] = Record { serial: self.serial, size, reads, newcomer };
        self.used += size;
        self.newcomers += if newcomer { size } else { 0 };
        self.written += size;
        self.length += size;
        self.log.push_back((object, self.serial, size));
    }

    fn forget(&mut self, object: u32) {
        let old = std::mem::take(&mut self.records[object as usize]);
        if old.serial > 0 {
            self.used -= old.size;
            self.newcomers -= if old.newcomer { old.size } else { 0 };
        }
    }

    /// Gives up the oldest record, or keeps it. False if there is none.
    fn reclaim(&mut self, early: bool) -> bool {
        if !early {
            return self.oldest(|reads| (reads > 0).then_some(0));
        }
        let lanes = self.admission.lanes();
        let step = lanes.next(self.newcomers, self.judged > 0, self.length);
        match step {
            Step::Judge => self.judge(),
            step => self.oldest(|reads| Lanes::again(step, reads)),
        }
    }

    fn judge(&mut self) -> bool {
        let Some(&(object, serial, size)) = self.log.get(self.judged) else { return false };
        self.judged += 1;
        let record = &mut self.records[object as usize];
        if record.serial != serial || !record.newcomer {
            return true;
        }
        match Lanes::again(Step::Judge, record.reads) {
            None => self.give_up(object, End::Border),
            Some(left) if size < COPIED_MAX => self.append(object, size, left, false),
            Some(left) => {
                (record.reads, record.newcomer) = (left, false);
                self.newcomers -= size;
            }
        }
        true
    }

    fn oldest(&mut self, again: impl Fn(u32) -> Option<u32>) -> bool {
        let Some((object, serial, size)) = self.log.pop_front() else { return false };
        self.length -= size;
        self.judged = self.judged.saturating_sub(1);
        let record = self.records[object as usize];
        if record.serial == serial {
            match again(record.reads) {
                Some(left) => self.append(object, size, left, false),
                None => self.give_up(object, End::Oldest),
            }
        }
        true
    }

    fn give_up(&mut self, object: u32, end: End) {
        self.forget(object);
        self.evictions += 1;
        self.admission.remember(self.print(object), end);
    }

    fn print(&self, object: u32) -> u64 {
        (self.keys[object as usize] >> 64) as u64
    }
}
