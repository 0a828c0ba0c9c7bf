//! A log-linear histogram of durations in plain cells of one writer.
//!
//! Every power of two of microseconds is split into four, from 1 microsecond to about a
//! minute: 5 to 25 % resolution in 1 KiB. A lock-free multi-writer histogram was rejected
//! because each thread has its own; hdrhistogram because it is not readable while it is
//! written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Powers of two covered: 2^26 microseconds are 67 s; longer ones land in the last.
const OCTAVES: usize = 27;
/// Steps per power of two.
const STEPS: usize = 4;
/// Number of cells.
pub const CELLS: usize = OCTAVES * STEPS;

/// Powers of two (in microseconds) at which `/metrics` shows buckets: 16 us ... 33 s.
pub const SHOWN: std::ops::RangeInclusive<u32> = 4..=25;

/// One thread's cells.
#[derive(Debug)]
pub struct Histogram {
    cells: [AtomicU64; CELLS],
    sum_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { cells: std::array::from_fn(|_| AtomicU64::new(0)), sum_us: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Adds one duration. Only the owning thread may call this.
    pub fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if let Some(cell) = self.cells.get(index(us)) {
            bump(cell, 1);
        }
        bump(&self.sum_us, us.min(1 << 40));
    }
}

/// Several histograms added up.
#[derive(Clone, Debug)]
pub struct Merged {
    cells: [u64; CELLS],
    /// Sum of all durations in microseconds.
    pub sum_us: u64,
}

impl Default for Merged {
    fn default() -> Self {
        Merged { cells: [0; CELLS], sum_us: 0 }
    }
}

impl Merged {
    /// Adds what `part` holds now.
    pub fn add(&mut self, part: &Histogram) {
        for (total, cell) in self.cells.iter_mut().zip(&part.cells) {
            *total += cell.load(Ordering::Relaxed);
        }
        self.sum_us += part.sum_us.load(Ordering::Relaxed);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Merged) {
        for (total, cell) in self.cells.iter_mut().zip(&other.cells) {
            *total += cell;
        }
        self.sum_us += other.sum_us;
    }

    /// How many durations.
    pub fn count(&self) -> u64 {
        self.cells.iter().sum()
    }

    /// `(upper bound in seconds, count)` for each shown bucket, not cumulative; the last
    /// bound is infinity (shown as `+Inf`).
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let mut out = Vec::with_capacity(SHOWN.count() + 1);
        let mut start = 0;
        for octave in SHOWN {
            let end = octave as usize * STEPS;
            let count = self.cells.iter().take(end).skip(start).sum();
            out.push((bound_us(end) as f64 / 1e6, count));
            start = end;
        }
        out.push((f64::INFINITY, self.cells.iter().skip(start).sum()));
        out
    }

    /// The duration that a share `q` (0..=1) of all does not exceed: the upper bound of
    /// its cell in microseconds, or zero when nothing was recorded.
    pub fn quantile_us(&self, q: f64) -> u64 {
        let total = self.count();
        let wanted = ((total as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, cell) in self.cells.iter().enumerate() {
            seen += cell;
            if seen >= wanted {
                return bound_us(at + 1);
            }
        }
        0
    }
}

/// Which cell a duration falls into. Values under four microseconds share the first
/// octaves' cells at whole microseconds.
fn index(us: u64) -> usize {
    let us = us.max(1);
    let octave = us.ilog2() as usize;
    let step = if octave >= 2 { (us >> (octave - 2)) & 3 } else { (us << (2 - octave)) & 3 };
    (octave * STEPS + step as usize).min(CELLS - 1)
}

/// Lower bound in microseconds of cell `at`, rounded up: the upper bound of the one before.
fn bound_us(at: usize) -> u64 {
    let (octave, step) = (at / STEPS, (at % STEPS) as u64);
    ((1u64 << octave) * (4 + step)).div_ceil(4)
}

/// Adds to a cell that only this thread writes: a load and a store, no locked instruction.
pub(super) fn bump(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_quarter_of_the_truth() {
        let part = Histogram::default();
        for us in 1..=10_000u64 {
            part.record(Duration::from_micros(us));
        }
        let mut all = Merged::default();
        all.add(&part);
        assert_eq!(all.count(), 10_000);
        for (q, truth) in [(0.5, 5_000.0), (0.99, 9_900.0)] {
            let got = all.quantile_us(q) as f64;
            assert!(got >= truth && got <= truth * 1.26, "{q}: {got}");
        }
    }

    #[test]
    fn shown_buckets_hold_every_duration_once() {
        let part = Histogram::default();
        for us in [0, 3, 15, 16, 17, 1_000, 40_000_000, u64::MAX / 2] {
            part.record(Duration::from_micros(us));
        }
        let mut all = Merged::default();
        all.add(&part);
        let buckets = all.buckets();
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 8);
        assert_eq!(buckets.first().map(|b| b.1), Some(3), "below 16 us");
        assert_eq!(buckets.last().map(|b| b.1), Some(2), "above 33 s");
    }
}
