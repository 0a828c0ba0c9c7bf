//! The disk tier without a disk: a log of objects in FIFO order, with another life for
//! what was read, filled by the node's own admission.
//!
//! Records are whole objects, so segment boundaries do not show. What the node's reclaim
//! reads and writes is counted the same way.

use std::collections::VecDeque;

use super::policies::Gone;
use crate::store::policy::admission::{Admission, AdmitPolicy, Offer};

#[derive(Clone, Copy, Default)]
struct Record {
    /// Serial number of the record that counts; zero if there is none.
    serial: u64,
    size: u64,
    read: bool,
}

/// A simulated disk.
pub struct Disk<'a> {
    capacity: u64,
    used: u64,
    serial: u64,
    /// Bytes written, reinsertion included.
    pub written: u64,
    /// Bytes written for the first time.
    pub admitted: u64,
    /// Objects given up.
    pub evictions: u64,
    records: Vec<Record>,
    log: VecDeque<(u32, u64)>,
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
            serial: 0,
            written: 0,
            admitted: 0,
            evictions: 0,
            records: vec![Record::default(); keys.len()],
            log: VecDeque::new(),
            admission: Admission::new(policy, ghost.max(1024)),
            keys,
        }
    }

    /// Whether the object is there; counts as read.
    pub fn get(&mut self, object: u32) -> bool {
        let record = &mut self.records[object as usize];
        record.read |= record.serial > 0;
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
        let held = self.records[object as usize].serial > 0;
        let print = (self.keys[object as usize] >> 64) as u64;
        if size > self.capacity / 2 || !self.admission.admits(why, print, held) {
            return;
        }
        self.admitted += size;
        self.append(object, size);
        while self.used > self.capacity {
            self.admission.full();
            if !self.reclaim() {
                break;
            }
        }
    }

    fn append(&mut self, object: u32, size: u64) {
        self.serial += 1;
        let new = Record { serial: self.serial, size, read: false };
        let old = std::mem::replace(&mut self.records[object as usize], new);
        if old.serial > 0 {
            self.used -= old.size;
        }
        self.used += size;
        self.written += size;
        self.log.push_back((object, self.serial));
    }

    /// Gives up the oldest record or writes it again. False if there is none.
    fn reclaim(&mut self) -> bool {
        let Some((object, serial)) = self.log.pop_front() else { return false };
        let record = self.records[object as usize];
        if record.serial != serial {
            return true;
        }
        if record.read {
            self.append(object, record.size);
            return true;
        }
        self.records[object as usize] = Record::default();
        self.used -= record.size;
        self.evictions += 1;
        self.admission.remember((self.keys[object as usize] >> 64) as u64);
        true
    }
}
