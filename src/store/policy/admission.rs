//! What is worth a write to the disk.
//!
//! Memory is the probation area. What it gives up is written if it was asked for again
//! while it was there, or if it was given up once before not long ago: the ghost, a table
//! of fingerprints, remembers. Until the disk has been full once, everything is written,
//! because room that nothing needs costs nothing to fill. Measured on five traces (memory
//! a tenth of the disk), this writes 0.2 to 0.95 of what writing every miss does and
//! misses less, because what is asked for once does not push out the rest.
//!
//! The ghost is direct-mapped and forgets by being overwritten: exact order would cost
//! ten times the memory and a lock for a question whose wrong answer is one write more or
//! less. It works best with about as many places as the disk has residents: twice that
//! brings back too much that is asked for twice a day.
//!
//! Rejected: writing on the second miss without asking memory. It loses one more hit on
//! everything that does come back (0.6 points on video).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::lanes::{End, Lanes, PROOF};

/// What is written at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdmitPolicy {
    /// What memory gives up and was asked for again, then or a little earlier.
    #[default]
    Evicted,
    /// Everything: when wear is no concern, and for large disks.
    All,
}

/// Why a response is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It has just been stored or freshened.
    Stored,
    /// The memory tier has given it up, or never let it in.
    Evicted {
        /// How often it was found there.
        hits: u32,
    },
}

/// The admission of one disk.
#[derive(Debug)]
pub struct Admission {
    policy: AdmitPolicy,
    /// What memory, or the border of the log, gave up.
    ghost: Ghost,
    /// What the oldest end of the log gave up, where that is told apart: the border gives up
    /// ten times as much and would overwrite what is known of it.
    oldest: Ghost,
    lanes: Lanes,
    been_full: AtomicBool,
}

impl Admission {
    /// For a disk of `room` bytes. `ghost_keys` is rounded up to a power of two, at most
    /// 2^28; 4 bytes each, and as much again where everything is written.
    pub fn new(policy: AdmitPolicy, ghost_keys: usize, room: u64) -> Self {
        let oldest = if policy == AdmitPolicy::All { ghost_keys } else { 1 };
        Admission {
            policy,
            ghost: Ghost::new(ghost_keys),
            oldest: Ghost::new(oldest),
            lanes: Lanes::new(room),
            been_full: AtomicBool::new(false),
        }
    }

    /// The disk has given something up for want of room: from now on choose.
    pub fn full(&self) {
        self.been_full.store(true, Ordering::Relaxed);
    }

    /// Whether a response is written. `print` are 64 bits of its hash; `held` says that
    /// some version of it is on disk.
    pub fn admits(&self, offer: Offer, print: u64, held: bool) -> bool {
        match offer {
            // A newer version of what is there must replace it.
            Offer::Stored if held => true,
            // Held means that it came from there: nothing new to write.
            Offer::Evicted { .. } if held => false,
            _ if self.policy == AdmitPolicy::All => true,
            _ if !self.been_full.load(Ordering::Relaxed) => true,
            Offer::Stored => false,
            Offer::Evicted { hits } => hits > 0 || self.ghost.exchange(print),
        }
    }

    /// Whether newcomers are judged early. What memory has proved needs no second proof:
    /// there one round for all misses less (downloads, 30 % of the footprint: 12.6 against
    /// 13.7).
    pub fn judges_early(&self) -> bool {
        self.policy == AdmitPolicy::All
    }

    /// The reads that a newcomer of `size` bytes starts with, when it is written to a disk
    /// that judges early.
    pub fn head_start(&self, print: u64, size: u64) -> u32 {
        match (self.ghost.holds(print), self.oldest.holds(print)) {
            (false, false) => return 0,
            (true, false) => self.lanes.returned(End::Border, size),
            (false, true) => self.lanes.returned(End::Oldest, size),
            (true, true) => {}
        }
        PROOF
    }

    /// Remembers a key that the disk has given up.
    pub fn remember(&self, print: u64, end: End) {
        match end {
            End::Oldest if self.judges_early() => self.oldest.exchange(print),
            _ => self.ghost.exchange(print),
        };
    }

    /// The border of the log.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }
}

/// Fingerprints of what was given up.
#[derive(Debug)]
struct Ghost(Box<[AtomicU32]>);

impl Ghost {
    fn new(keys: usize) -> Self {
        let len = keys.clamp(1, 1 << 28).next_power_of_two();
        Ghost((0..len).map(|_| AtomicU32::new(0)).collect())
    }

    /// Remembers a key; true if it was remembered already.
    fn exchange(&self, print: u64) -> bool {
        let tag = tag(print);
        self.place(print).is_some_and(|cell| cell.swap(tag, Ordering::Relaxed) == tag)
    }

    fn holds(&self, print: u64) -> bool {
        self.place(print).is_some_and(|cell| cell.load(Ordering::Relaxed) == tag(print))
    }

    fn place(&self, print: u64) -> Option<&AtomicU32> {
        // The length is a power of two.
        self.0.get(print as usize & (self.0.len() - 1))
    }
}

/// Never zero, which is the mark of an empty place.
fn tag(print: u64) -> u32 {
    (print >> 32) as u32 | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLD: Offer = Offer::Evicted { hits: 0 };

    #[test]
    fn everything_is_written_until_the_disk_has_been_full() {
        let admission = Admission::new(AdmitPolicy::Evicted, 64, 1 << 20);
        assert!(admission.admits(Offer::Stored, 1 << 40, false));
        admission.full();
        assert!(!admission.admits(Offer::Stored, 1 << 40, false));
        assert!(Admission::new(AdmitPolicy::All, 64, 1 << 20).admits(Offer::Stored, 7, false));
    }

    #[test]
    fn then_only_what_was_asked_for_again() {
        let admission = Admission::new(AdmitPolicy::Evicted, 64, 1 << 20);
        admission.full();
        assert!(admission.admits(Offer::Evicted { hits: 1 }, 1 << 40, false));
        assert!(!admission.admits(COLD, 2 << 40, false));
        assert!(admission.admits(COLD, 2 << 40, false), "given up a second time");
        admission.remember(3 << 40, End::Oldest);
        assert!(admission.admits(COLD, 3 << 40, false), "given up by the disk before");
    }

    #[test]
    fn what_the_disk_holds_is_replaced_by_a_newer_version_only() {
        let admission = Admission::new(AdmitPolicy::Evicted, 64, 1 << 20);
        admission.full();
        assert!(admission.admits(Offer::Stored, 1, true));
        assert!(!admission.admits(Offer::Evicted { hits: 9 }, 1, true));
    }

    #[test]
    fn where_everything_is_written_what_comes_back_is_known_and_moves_the_border() {
        let admission = Admission::new(AdmitPolicy::All, 64, 1000);
        assert_eq!(admission.head_start(1 << 40, 100), 0);
        admission.remember(1 << 40, End::Border);
        assert_eq!(admission.head_start(1 << 40, 100), PROOF);
        assert_eq!(admission.lanes().newcomers(), 120);
        admission.remember(2 << 40, End::Oldest);
        assert_eq!(admission.head_start(2 << 40, 100), PROOF);
        assert_eq!(admission.lanes().newcomers(), 100);
    }
}
