//! Servers that answer, but worse than they should: by share of errors, by time.
//!
//! Each server counts its answers in a window that starts anew when its time is over. An
//! answer is slow if it took a multiple of what is usual for the other servers; a server
//! most of whose answers are slow is an outlier. Counting slow ones is a median test: one
//! very long answer, which moves an average, changes nothing. The counts are loose between
//! threads, which a share of at least twenty answers survives.
//! Ejecting a server that answers is a guess, so only a part of a group may be out for
//! such reasons: when all are slow or failing, none is an outlier.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::health::{Cause, Verdict};
use super::options::EjectOptions;
use super::server::Server;

/// The answers of one server in the running window.
#[derive(Debug)]
pub struct Tally {
    born: Instant,
    /// Milliseconds after `born` at which the window began.
    began_ms: AtomicU64,
    all: AtomicU32,
    bad: AtomicU32,
    slow: AtomicU32,
    /// Answers that took longer, in microseconds, are slow.
    slow_above_us: AtomicU64,
}

impl Tally {
    /// Empty, and nothing is slow yet.
    pub fn new(now: Instant) -> Self {
        Tally {
            born: now,
            began_ms: AtomicU64::new(0),
            all: AtomicU32::new(0),
            bad: AtomicU32::new(0),
            slow: AtomicU32::new(0),
            slow_above_us: AtomicU64::new(u64::MAX),
        }
    }

    /// Counts an answer or a failure.
    pub fn note(&self, bad: bool, now: Instant, window: Duration) {
        let now_ms = now.saturating_duration_since(self.born).as_millis() as u64;
        let age_ms = now_ms.saturating_sub(self.began_ms.load(Ordering::Relaxed));
        if u128::from(age_ms) >= window.as_millis() {
            self.began_ms.store(now_ms, Ordering::Relaxed);
            self.clear();
        }
        self.all.fetch_add(1, Ordering::Relaxed);
        self.bad.fetch_add(u32::from(bad), Ordering::Relaxed);
    }

    /// Whether a head that took this long is slow; counts it if so.
    pub fn note_time(&self, took_us: u64) -> bool {
        let slow = took_us > self.slow_above_us.load(Ordering::Relaxed);
        self.slow.fetch_add(u32::from(slow), Ordering::Relaxed);
        slow
    }

    fn clear(&self) {
        for count in [&self.all, &self.bad, &self.slow] {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// What the window says.
    fn verdict(&self, options: &EjectOptions) -> Option<Cause> {
        let all = self.all.load(Ordering::Relaxed);
        if all < options.window_min.max(1) {
            return None;
        }
        let share = |part: &AtomicU32| u64::from(part.load(Ordering::Relaxed)) * 100;
        let all = u64::from(all);
        if options.errors_percent > 0 && share(&self.bad) >= u64::from(options.errors_percent) * all
        {
            return Some(Cause::Errors);
        }
        (options.slow_factor > 0 && share(&self.slow) > 50 * all).then_some(Cause::Slow)
    }
}

/// Looks at `server` after an exchange with it, among the others of its group.
pub fn judge(server: &Server, servers: &[Arc<Server>], now: Instant) {
    let options = &server.common.options.eject;
    if servers.len() < 2 {
        return;
    }
    let cause = match server.health.is_over(options.failures) {
        true => Cause::Failures,
        false => {
            if server.tally.all.load(Ordering::Relaxed).is_multiple_of(RENEW) {
                let limit = slow_above(server, servers, options, now);
                server.tally.slow_above_us.store(limit, Ordering::Relaxed);
            }
            match server.tally.verdict(options) {
                Some(cause) => cause,
                None => return,
            }
        }
    };
    if !matches!(server.health.verdict(now), Verdict::Usable(_)) {
        return;
    }
    // Two threads may each eject the last one allowed: the panic choice covers that.
    let out = servers.iter().filter(|one| one.health.is_ejected()).count() + 1;
    if out * 100 > servers.len() * options.share_max as usize {
        return;
    }
    server.tally.clear();
    server.eject(cause, now);
}

/// The time above which an answer of `server` is slow: a multiple of the median of the
/// other servers' averages.
fn slow_above(
    server: &Server,
    servers: &[Arc<Server>],
    options: &EjectOptions,
    now: Instant,
) -> u64 {
    let mut others: Vec<u64> = servers
        .iter()
        .filter(|one| one.id() != server.id())
        .filter(|one| matches!(one.health.verdict(now), Verdict::Usable(_)))
        .map(|one| one.latency_us.load(Ordering::Relaxed))
        .filter(|latency| *latency > 0)
        .collect();
    others.sort_unstable();
    let Some(median) = others.get(others.len() / 2) else { return u64::MAX };
    let floor = options.slow_min.as_micros().min(u128::from(u64::MAX)) as u64;
    median.saturating_mul(options.slow_factor.into()).max(floor)
}

/// The limit for slow answers is computed anew every so many answers.
const RENEW: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn filled(bad: u32, slow: u32, all: u32) -> Option<Cause> {
        let now = clock::instant();
        let tally = Tally::new(now);
        tally.slow_above_us.store(1000, Ordering::Relaxed);
        for n in 0..all {
            tally.note(n < bad, now, Duration::from_secs(10));
            assert_eq!(tally.note_time(if n < slow { 1001 } else { 1000 }), n < slow);
        }
        tally.verdict(&EjectOptions::default())
    }

    #[test]
    fn half_errors_or_mostly_slow_answers_are_too_many() {
        assert_eq!(filled(10, 0, 20), Some(Cause::Errors));
        assert_eq!(filled(9, 0, 20), None);
        assert_eq!(filled(0, 11, 20), Some(Cause::Slow));
        assert_eq!(filled(0, 10, 20), None);
        assert_eq!(filled(19, 0, 19), None, "too few to conclude anything");
    }

    #[test]
    fn a_window_that_is_over_is_forgotten() {
        let now = clock::instant();
        let tally = Tally::new(now);
        for _ in 0..30 {
            tally.note(true, now, Duration::from_secs(10));
        }
        tally.note(false, now + Duration::from_secs(11), Duration::from_secs(10));
        assert_eq!(tally.verdict(&EjectOptions::default()), None);
    }
}
