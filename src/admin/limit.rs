//! How often somebody may call: a token bucket a caller, in a bounded table.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::base::Now;

/// Callers remembered; when full the table starts anew, which only errs towards letting
/// calls through.
const CALLERS_MAX: usize = 4096;

/// The node's limits.
#[derive(Debug)]
pub(super) struct Limits {
    /// Looking calls by token name.
    pub(super) reads: Buckets,
    /// Changing calls by token name.
    pub(super) changes: Buckets,
    /// Wrong tokens by peer address.
    pub(super) failures: Buckets,
}

impl Limits {
    /// Per token and second, per token and second, per address and minute.
    pub(super) fn new(reads: u32, changes: u32, failures: u32) -> Self {
        let [reads, changes, failures] = [reads, changes, failures].map(f64::from);
        Limits {
            reads: Buckets::new(reads, reads * 2.0),
            changes: Buckets::new(changes, changes * 2.0),
            failures: Buckets::new(failures / 60.0, failures),
        }
    }
}

/// One limit for many callers.
#[derive(Debug)]
pub(super) struct Buckets {
    per_second: f64,
    burst: f64,
    levels: Mutex<HashMap<String, Level>>,
}

#[derive(Debug)]
struct Level {
    left: f64,
    at_ms: u64,
}

impl Buckets {
    fn new(per_second: f64, burst: f64) -> Self {
        Buckets { per_second, burst: burst.max(1.0), levels: Mutex::default() }
    }

    /// Takes one call from `caller`'s bucket; the error is the number of seconds until
    /// there will be one again.
    pub(super) fn take(&self, caller: &str, now: Now) -> Result<(), u64> {
        self.with(caller, now, |level| {
            if level.left >= 1.0 {
                level.left -= 1.0;
                Ok(())
            } else {
                Err(1.0 - level.left)
            }
        })
    }

    /// Whether `caller` has a call left, without taking it.
    pub(super) fn check(&self, caller: &str, now: Now) -> Result<(), u64> {
        self.with(
            caller,
            now,
            |level| {
                if level.left >= 1.0 { Ok(()) } else { Err(1.0 - level.left) }
            },
        )
    }

    fn with(
        &self,
        caller: &str,
        now: Now,
        judge: impl FnOnce(&mut Level) -> Result<(), f64>,
    ) -> Result<(), u64> {
        let mut levels = self.levels.lock();
        if levels.len() >= CALLERS_MAX && !levels.contains_key(caller) {
            levels.clear();
        }
        let full = || Level { left: self.burst, at_ms: now.mono_ms };
        let level = levels.entry(caller.to_owned()).or_insert_with(full);
        let elapsed = now.mono_ms.saturating_sub(level.at_ms) as f64 / 1000.0;
        level.left = (level.left + elapsed * self.per_second).min(self.burst);
        level.at_ms = now.mono_ms;
        judge(level).map_err(|missing| {
            let wait = missing / self.per_second.max(1e-9);
            wait.ceil().clamp(1.0, 3600.0) as u64
        })
    }
}
