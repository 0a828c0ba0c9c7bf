//! The order of the disk's log where everything is written: newcomers are judged early.
//!
//! ```text
//!  oldest                                  border                 newest
//!  |  proved: each read is worth a round  |  newcomers (and rounds) |
//! ```
//! What is asked for once must leave soon, or it holds room for a whole round; what is asked
//! for often must not leave with it. So there is a border in the log, a short way behind its
//! end: a newcomer that it passes stays if it was read twice (where it lies: nothing is
//! copied), and is given up otherwise. What has stayed is judged again at the oldest end,
//! where each of up to three reads is worth another round. What comes back soon after it
//! was given up needs no further proof.
//!
//! How far behind the end the border is, the traffic says: when something comes back that the
//! border had given up, it was too near; when the oldest end had, too far.
//!
//! Given up records leave holes, so the log is longer than its room. Beyond four times the
//! room the oldest is written again whole, or it would grow for ever behind something hot.
//!
//! Measured: `benches/hit-ratio.md`. Rejected: one round for all (3 to 5 % more bytes
//! missed); two logs (the same misses, more writes, and a removal in one must be known to the
//! other after a crash); a border at a fixed distance (worst where the disk holds some hundred
//! objects); a frequency sketch at the door (10 % more).

use std::sync::atomic::{AtomicU64, Ordering};

/// Reads that let a newcomer stay.
pub const PROOF: u32 = 2;
/// Reads that are counted.
pub const READS_MAX: u32 = 3;
/// Share of the room that newcomers have: at first, at least, at most.
const SHARES: (f64, f64, f64) = (0.1, 0.05, 0.3);
/// How far one returning byte moves the border.
const STEP: f64 = 0.2;
/// Length of the log at most, in rooms.
const ROOMS_MAX: u64 = 4;

/// Where something was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the border, as a newcomer.
    Border,
    /// At the oldest end.
    Oldest,
}

/// What makes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The border moves over the oldest newcomers.
    Judge,
    /// The oldest end moves: what was read gets another round.
    Take,
    /// The oldest end moves and everything gets another round, for the sake of the length.
    Carry,
}

/// The border of one disk's log.
#[derive(Debug)]
pub struct Lanes {
    room: u64,
    newcomers: AtomicU64,
}

impl Lanes {
    /// For a disk of `room` bytes.
    pub fn new(room: u64) -> Self {
        Lanes { room, newcomers: AtomicU64::new(share(room, SHARES.0)) }
    }

    /// Bytes of newcomers that there should be at most.
    pub fn newcomers(&self) -> u64 {
        self.newcomers.load(Ordering::Relaxed)
    }

    /// What is to be done for room, by the bytes of newcomers, whether anything lies behind
    /// the border, and the length of the log with its holes.
    pub fn next(&self, newcomers: u64, judged: bool, length: u64) -> Step {
        if judged && length > self.room.saturating_mul(ROOMS_MAX) {
            Step::Carry
        } else if !judged || newcomers > self.newcomers() {
            Step::Judge
        } else {
            Step::Take
        }
    }

    /// The reads a record is left with for another round, or `None` if it is given up.
    pub fn again(step: Step, reads: u32) -> Option<u32> {
        match step {
            Step::Judge => (reads >= PROOF).then_some(0),
            Step::Take => reads.checked_sub(1),
            Step::Carry => Some(reads),
        }
    }

    /// Something of `size` bytes has come back that was given up not long ago.
    pub(super) fn returned(&self, end: End, size: u64) {
        let step = (size as f64 * STEP) as u64;
        let now = self.newcomers();
        let moved = match end {
            End::Border => now.saturating_add(step),
            End::Oldest => now.saturating_sub(step),
        };
        let (least, most) = (share(self.room, SHARES.1), share(self.room, SHARES.2));
        // Of two returns at once one may go uncounted.
        self.newcomers.store(moved.clamp(least, most), Ordering::Relaxed);
    }
}

fn share(room: u64, share: f64) -> u64 {
    (room as f64 * share) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_goes_on_and_what_was_not_goes() {
        assert_eq!(Lanes::again(Step::Judge, 1), None);
        assert_eq!(Lanes::again(Step::Judge, 2), Some(0));
        assert_eq!(Lanes::again(Step::Take, 0), None);
        assert_eq!(Lanes::again(Step::Take, 3), Some(2));
        assert_eq!(Lanes::again(Step::Carry, 0), Some(0));
    }

    #[test]
    fn the_border_follows_what_comes_back_within_bounds() {
        let lanes = Lanes::new(1000);
        assert_eq!(lanes.next(100, true, 1000), Step::Take);
        assert_eq!(lanes.next(101, true, 1000), Step::Judge);
        assert_eq!(lanes.next(50, false, 9000), Step::Judge);
        assert_eq!(lanes.next(101, true, 4001), Step::Carry);
        lanes.returned(End::Border, 100);
        assert_eq!(lanes.newcomers(), 120);
        lanes.returned(End::Border, 1000);
        assert_eq!(lanes.newcomers(), 300);
        lanes.returned(End::Oldest, 10_000);
        assert_eq!(lanes.newcomers(), 50);
    }
}
