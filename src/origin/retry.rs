//! The retry budget of a group: a bucket of tokens that requests fill and retries empty.
//!
//! Without it a dying origin gets every request several times, which finishes it. The
//! bucket holds ten seconds of the minimum, so a quiet group can still retry.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use super::options::RetryOptions;

/// Tokens in thousandths of a retry.
#[derive(Debug)]
pub struct Budget {
    tokens: AtomicI64,
    /// Milliseconds since `born` up to which the minimum was paid in.
    paid_ms: AtomicU64,
    born: Instant,
    per_request: i64,
    per_ms: i64,
    most: i64,
    /// Retries refused so far.
    refused: AtomicU64,
}

impl Budget {
    /// Full at the start.
    pub fn new(options: &RetryOptions, now: Instant) -> Self {
        let per_ms = i64::from(options.budget_min);
        let per_request = i64::from(options.budget_percent) * 10;
        let most = (per_ms * 10_000).max(per_request * 100);
        Budget {
            tokens: AtomicI64::new(most),
            paid_ms: AtomicU64::new(0),
            born: now,
            per_request,
            per_ms,
            most,
            refused: AtomicU64::new(0),
        }
    }

    /// For probes of an origin that fails: `per_second`, and two more for each deposit.
    pub fn for_probes(per_second: u32, now: Instant) -> Self {
        let per_ms = i64::from(per_second);
        Budget {
            tokens: AtomicI64::new(per_ms * 1000),
            paid_ms: AtomicU64::new(0),
            born: now,
            per_request: 2000,
            per_ms,
            most: per_ms * 1000,
            refused: AtomicU64::new(0),
        }
    }

    /// A request came: pays its share in.
    pub fn deposit(&self) {
        if self.tokens.load(Ordering::Relaxed) < self.most {
            self.tokens.fetch_add(self.per_request, Ordering::Relaxed);
        }
    }

    /// May one request be tried again?
    pub fn withdraw(&self, now: Instant) -> bool {
        let now_ms = now.duration_since(self.born).as_millis() as u64;
        let paid = self.paid_ms.swap(now_ms, Ordering::Relaxed);
        let earned = (now_ms.saturating_sub(paid) as i64).saturating_mul(self.per_ms);
        let have = self.tokens.load(Ordering::Relaxed);
        let add = earned.min(self.most - have).max(0);
        let have = self.tokens.fetch_add(add, Ordering::Relaxed) + add;
        if have < 1000 {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.tokens.fetch_sub(1000, Ordering::Relaxed);
        true
    }

    /// Retries refused so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use std::time::Duration;

    #[test]
    fn retries_stop_when_the_budget_is_spent_and_come_back_with_time_and_requests() {
        let start = clock::instant();
        let options = RetryOptions { budget_percent: 20, budget_min: 1, ..RetryOptions::default() };
        let budget = Budget::new(&options, start);
        let spent = (0..1000).filter(|_| budget.withdraw(start)).count();
        assert_eq!(spent, 20, "100 requests' worth");
        assert!(budget.refused() > 0);
        assert!(budget.withdraw(start + Duration::from_secs(1)), "one a second comes by itself");
        assert!(!budget.withdraw(start + Duration::from_secs(1)));
        for _ in 0..5 {
            budget.deposit();
        }
        assert!(budget.withdraw(start + Duration::from_secs(1)), "five requests pay one retry");
    }
}
