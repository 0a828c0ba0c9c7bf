//! Which stored responses are written to disk.
//!
//! Memory is the probation area: what it gives up has been worth keeping for a while and
//! is written; what is fetched is only remembered by fingerprint and written when it is
//! fetched a second time. The ghost is a direct-mapped table that forgets by being
//! overwritten: a list with exact order costs ten times the memory and a lock for a
//! question whose wrong answer is one write more or less.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::options::AdmitPolicy;

/// Why a response is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It has just been stored or freshened.
    Stored,
    /// The memory tier has given it up.
    Evicted,
}

/// The admission of one directory.
pub struct Admission {
    policy: AdmitPolicy,
    ghost: Box<[AtomicU32]>,
    been_full: AtomicBool,
}

impl Admission {
    /// `ghost_keys` is rounded up to a power of two.
    pub fn new(policy: AdmitPolicy, ghost_keys: usize) -> Self {
        let len = ghost_keys.clamp(1, 1 << 28).next_power_of_two();
        Admission {
            policy,
            ghost: (0..len).map(|_| AtomicU32::new(0)).collect(),
            been_full: AtomicBool::new(false),
        }
    }

    /// The directory has given something up for want of room: from now on choose.
    pub fn full(&self) {
        self.been_full.store(true, Ordering::Relaxed);
    }

    /// Whether a response is written. `held` says that some version of it is on disk.
    pub fn admits(&self, offer: Offer, print: u64, held: bool) -> bool {
        match offer {
            // Held means that it came from there: nothing new to write.
            Offer::Evicted => !held,
            // A newer version of what is there must replace it.
            Offer::Stored if held => true,
            Offer::Stored => {
                self.policy == AdmitPolicy::All
                    || !self.been_full.load(Ordering::Relaxed)
                    || self.seen_before(print)
            }
        }
    }

    /// Remembers a key that the disk has given up.
    pub fn remember(&self, print: u64) {
        self.seen_before(print);
    }

    /// Remembers a key that is not on disk; true if it was remembered.
    fn seen_before(&self, print: u64) -> bool {
        let (place, tag) = (print as usize % self.ghost.len(), (print >> 32) as u32 | 1);
        self.ghost.get(place).is_some_and(|cell| cell.swap(tag, Ordering::Relaxed) == tag)
    }
}
