//! A bound on the bytes a second that are written: wear of flash, room for reads.
//!
//! A bucket of one second's worth, asked by whoever offers a write: what comes beyond is
//! shed at once. Delaying the writer instead would only fill its queue.

use parking_lot::Mutex;

/// The bound of one directory.
pub struct Rate {
    per_second: Option<u64>,
    /// Bytes that may be written, as of a monotonic time in milliseconds.
    state: Mutex<(u64, u64)>,
}

impl Rate {
    /// `None` is no bound.
    pub fn new(per_second: Option<u64>) -> Self {
        Rate { per_second, state: Mutex::new((per_second.unwrap_or(0), 0)) }
    }

    /// Takes `bytes` out; false if they are not there. A write longer than a second's
    /// worth is let through when the bucket is full, or it would never be.
    pub fn takes(&self, bytes: u64, now_ms: u64) -> bool {
        let Some(max) = self.per_second else { return true };
        let mut state = self.state.lock();
        let since = now_ms.saturating_sub(state.1).min(1_000);
        let left = state.0.saturating_add(max.saturating_mul(since) / 1_000).min(max);
        let taken = bytes.min(max) <= left;
        *state = (if taken { left.saturating_sub(bytes) } else { left }, now_ms);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_rate_is_written_and_a_long_write_waits_for_a_full_bucket() {
        let rate = Rate::new(Some(1_000));
        assert!(rate.takes(600, 5_000) && !rate.takes(600, 5_000));
        assert!(rate.takes(600, 5_200));
        assert!(!rate.takes(9_000, 5_900) && rate.takes(9_000, 6_900));
        assert!(!rate.takes(1, 6_900));
        assert!(Rate::new(None).takes(u64::MAX, 0));
    }
}
