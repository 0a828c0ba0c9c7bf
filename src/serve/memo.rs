//! Three short memories, two of which keep herds away.
//!
//! *Uncacheable*: a key whose last answer could not be shared. Without it every wave of
//! requests would queue behind one leader only to learn that each must ask for itself
//! (Varnish calls it hit-for-miss). *Unwell*: a key whose refresh has just failed; its stale
//! entry is served without asking again until the back-off ends. *Whole only*: a large object of
//! which the origin gave no range. All are bounded moka
//! caches from key hash to a monotonic deadline: the time is ours, so tests can move it.

use std::time::Duration;

use moka::sync::Cache;

use crate::base::Now;

/// Keys remembered at most, in each of them.
const KEYS_MAX: u64 = 65_536;

/// First wait after a failed refresh; doubles with each further one.
const BACK_OFF_FIRST_MS: u64 = 1_000;

/// Longest wait between two refreshes of a key whose origin stays down.
const BACK_OFF_MAX_MS: u64 = 30_000;

/// How long an origin that ignored a range is not asked for one of the same object.
const WHOLE_ONLY_MS: u64 = 600_000;

#[derive(Clone, Copy)]
struct Rest {
    until_mono_ms: u64,
    wait_ms: u64,
}

/// The memories.
pub struct Memos {
    uncacheable: Cache<u128, u64>,
    unwell: Cache<u128, Rest>,
    whole_only: Cache<u128, u64>,
}

impl Default for Memos {
    fn default() -> Self {
        Memos {
            uncacheable: Cache::new(KEYS_MAX),
            unwell: Cache::new(KEYS_MAX),
            whole_only: Cache::new(KEYS_MAX),
        }
    }
}

impl Memos {
    /// Remembers that the answer for `key` could not be shared.
    pub fn remember_uncacheable(&self, key: u128, now: Now, ttl: Duration) {
        self.uncacheable.insert(key, now.mono_ms + ttl.as_millis() as u64);
    }

    /// Forgets it, because an answer was stored after all.
    pub fn forget_uncacheable(&self, key: u128) {
        // A look that finds nothing leaves no trace in a moka cache, all else does.
        if self.uncacheable.contains_key(&key) {
            self.uncacheable.invalidate(&key);
        }
    }

    /// Whether requests for `key` should not wait for each other.
    pub fn is_uncacheable(&self, key: u128, now: Now) -> bool {
        self.uncacheable.contains_key(&key)
            && self.uncacheable.get(&key).is_some_and(|until| now.mono_ms < until)
    }

    /// Remembers that the origin gives this version of a large object only whole, or that a
    /// range of what has this key must not be cut.
    pub fn remember_whole_only(&self, version: u128, now: Now) {
        self.whole_only.insert(version, now.mono_ms + WHOLE_ONLY_MS);
    }

    /// Whether it did so lately.
    pub fn is_whole_only(&self, version: u128, now: Now) -> bool {
        self.whole_only.get(&version).is_some_and(|until| now.mono_ms < until)
    }

    /// A refresh of `key` failed: rest, longer each time. The low bits of the key spread
    /// the ends of many rests, so that an origin coming back is not hit by all at once.
    pub fn refresh_failed(&self, key: u128, now: Now) {
        let wait_ms = self
            .unwell
            .get(&key)
            .map_or(BACK_OFF_FIRST_MS, |rest| (rest.wait_ms * 2).min(BACK_OFF_MAX_MS));
        let jitter_ms = (key as u64 ^ now.mono_ms) % (wait_ms / 4 + 1);
        let rest = Rest { until_mono_ms: now.mono_ms + wait_ms - jitter_ms, wait_ms };
        self.unwell.insert(key, rest);
    }

    /// The origin answered for `key`.
    pub fn refresh_worked(&self, key: u128) {
        if self.unwell.contains_key(&key) {
            self.unwell.invalidate(&key);
        }
    }

    /// Whether `key` rests: do not ask the origin if there is something stale to serve.
    pub fn is_unwell(&self, key: u128, now: Now) -> bool {
        self.unwell.get(&key).is_some_and(|rest| now.mono_ms < rest.until_mono_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Clock;

    #[test]
    fn an_uncacheable_key_is_remembered_for_its_time() {
        let (memos, clock) = (Memos::default(), Clock::manual(0));
        memos.remember_uncacheable(1, clock.now(), Duration::from_secs(10));
        assert!(memos.is_uncacheable(1, clock.now()));
        assert!(!memos.is_uncacheable(2, clock.now()));
        clock.advance(Duration::from_secs(10));
        assert!(!memos.is_uncacheable(1, clock.now()));
    }

    #[test]
    fn the_rest_after_a_failed_refresh_grows_and_ends_with_success() {
        let (memos, clock) = (Memos::default(), Clock::manual(0));
        memos.refresh_failed(1, clock.now());
        assert!(memos.is_unwell(1, clock.now()));
        clock.advance(Duration::from_secs(1));
        assert!(!memos.is_unwell(1, clock.now()));
        for _ in 0..8 {
            memos.refresh_failed(1, clock.now());
        }
        clock.advance(Duration::from_secs(20));
        assert!(memos.is_unwell(1, clock.now()));
        memos.refresh_worked(1);
        assert!(!memos.is_unwell(1, clock.now()));
    }
}
