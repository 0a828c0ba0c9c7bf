//! Whether an origin as a whole fails, and how often it is asked then.
//!
//! Retries and ejection look after servers; this looks after the time when none of them
//! helps. While an origin fails, requests that a stale copy can answer are answered by it
//! at once, and only a few a second go out behind them to see whether it is back. Each
//! good answer allows two more, so that an origin that comes back meets a load that
//! doubles and not everybody at once. Requests without a stale copy are not held back:
//! they are all their clients have, and the queue bounds them.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Instant;

use super::options::RetryOptions;
use super::retry::Budget;

/// State of one group.
#[derive(Debug)]
pub struct Outage {
    /// Good answers in a row, or failures as a negative number.
    streak: AtomicI32,
    failing: AtomicBool,
    /// `None`: no limit.
    probes: Option<Budget>,
}

impl Outage {
    /// All is well.
    pub fn new(options: &RetryOptions, now: Instant) -> Self {
        let probes = (options.probes > 0).then(|| Budget::for_probes(options.probes, now));
        Outage { streak: AtomicI32::new(0), failing: AtomicBool::new(false), probes }
    }

    /// Notes what came of a request. `Some` if this changed whether the origin fails.
    pub fn note(&self, good: bool) -> Option<bool> {
        let failing = self.failing.load(Ordering::Relaxed);
        if good && !failing {
            // The common case writes only when something was wrong before.
            if self.streak.load(Ordering::Relaxed) < 0 {
                self.streak.store(0, Ordering::Relaxed);
            }
            return None;
        }
        let so_far = self.streak.load(Ordering::Relaxed);
        let streak = match good {
            true => so_far.max(0) + 1,
            false => (so_far.min(0) - 1).max(-FAILURES),
        };
        self.streak.store(streak, Ordering::Relaxed);
        if let (true, Some(probes)) = (good, &self.probes) {
            probes.deposit();
        }
        let now_failing = if good { streak < SUCCESSES } else { failing || streak <= -FAILURES };
        (self.failing.swap(now_failing, Ordering::Relaxed) != now_failing).then_some(now_failing)
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

/// Failures in a row after which an origin fails.
const FAILURES: i32 = 5;
/// Good answers in a row after which it does no more.
const SUCCESSES: i32 = 10;

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
        assert!((0..9).all(|_| outage.note(true).is_none()));
        assert_eq!(outage.note(true), Some(false));
        assert!((0..100).all(|_| outage.may_probe(later)));
    }
}
