//! Whether an origin as a whole fails, and how often it is asked then.
//!
//! Retries and ejection look after servers; this looks after the time when none of them
//! helps. While an origin fails, requests that a stale copy can answer are answered by it
//! at once, and only a few a second go out behind them to see whether it is back. Each
//! good answer allows two more, so that an origin that comes back meets a load that
//! doubles and not everybody at once. Requests without a stale copy are not held back:
//! they are all their clients have, and the queue bounds them.
//!
//! Failures less good answers decide, not failures in a row: one URL that always answers
//! 500 must not make an origin a failing one, however often somebody asks for it, as long
//! as most answers are good.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Instant;

use super::options::RetryOptions;
use super::retry::Budget;

/// State of one group.
#[derive(Debug)]
pub struct Outage {
    /// Good answers less failures, from [`WORST`] to 0.
    score: AtomicI32,
    failing: AtomicBool,
    /// `None`: no limit.
    probes: Option<Budget>,
}

impl Outage {
    /// All is well.
    pub fn new(options: &RetryOptions, now: Instant) -> Self {
        let probes = (options.probes > 0).then(|| Budget::for_probes(options.probes, now));
        Outage { score: AtomicI32::new(0), failing: AtomicBool::new(false), probes }
    }

    /// Notes what came of a request. `Some` if this changed whether the origin fails.
    pub fn note(&self, good: bool) -> Option<bool> {
        let so_far = self.score.load(Ordering::Relaxed);
        let failing = self.failing.load(Ordering::Relaxed);
        if good && so_far == 0 && !failing {
            // The common case writes nothing.
            return None;
        }
        let score = (so_far + if good { 1 } else { -1 }).clamp(WORST, 0);
        self.score.store(score, Ordering::Relaxed);
        if let (true, Some(probes)) = (good, &self.probes) {
            probes.deposit();
        }
        let now = score < 0 && (failing || score <= FAILS);
        (self.failing.swap(now, Ordering::Relaxed) != now).then_some(now)
    }

    /// Whether stale copies should answer without waiting for the origin.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Whether a request that a stale copy can answer may be sent now.
    pub fn may_probe(&self, now: Instant) -> bool {
        !self.is_failing() || self.probes.as_ref().is_none_or(|probes| probes.withdraw(now))
    }
}

/// The score at which an origin fails; at 0 it does no more.
const FAILS: i32 = -5;
/// As bad as it gets: so many good answers end any outage.
const WORST: i32 = -10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use std::time::Duration;

    #[test]
    fn a_failing_origin_is_probed_by_a_few_and_then_by_twice_as_many_as_it_answers() {
        let now = clock::instant();
        let outage = Outage::new(&RetryOptions { probes: 3, ..RetryOptions::default() }, now);
        assert!((0..4).all(|_| outage.note(false).is_none()));
        assert!((0..100).all(|_| outage.may_probe(now)));
        assert_eq!(outage.note(false), Some(true));
        assert_eq!((0..100).filter(|_| outage.may_probe(now)).count(), 3);
        let later = now + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| outage.may_probe(later)).count(), 3);
        assert_eq!(outage.note(true), None);
        assert_eq!((0..100).filter(|_| outage.may_probe(later)).count(), 2);
        assert_eq!(outage.note(false), None, "it still fails");
        assert!((0..4).all(|_| outage.note(true).is_none()));
        assert_eq!(outage.note(true), Some(false));
        assert!((0..100).all(|_| outage.may_probe(later)));
        assert!((0..1000).all(|n| outage.note(n % 3 > 0).is_none()), "a third is no outage");
        assert_eq!((0..20).filter_map(|_| outage.note(false)).count(), 1);
        assert!((0..9).all(|_| outage.note(true).is_none()));
        assert_eq!(outage.note(true), Some(false));
    }
}
