//! Whether a server may be asked, and why not: one small state machine a server.
//!
//! ```text
//! Up --failures in a row--> Ejected --time over--> Trial --good--> Up (slow start)
//!     or an outlier            ^------------------ bad (twice as long)
//! ```
//! Each ejection is twice as long as the one before, until the server was up for a while.
//! Beside it stand two verdicts that do not expire: `down` by active checks and `drained`
//! by an operator. The common case (nothing ever failed) is one atomic read.
//! Time is passed in, so the tests move it by hand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::options::EjectOptions;

/// May a server be asked?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes; the share in per cent is below 100 during slow start.
    Usable(u32),
    /// One request may try whether it is back.
    Trial,
    /// No.
    Out(&'static str),
    /// No, by an operator's wish: not even in a panic.
    Drained,
}

/// Why a server was ejected, for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Failures in a row.
    Failures,
    /// Too large a share of errors.
    Errors,
    /// Most answers much slower than the other servers'.
    Slow,
}

impl Cause {
    /// All, in the order of their counters.
    pub const ALL: [Cause; 3] = [Cause::Failures, Cause::Errors, Cause::Slow];

    /// For counters.
    pub fn word(self) -> &'static str {
        match self {
            Cause::Failures => "failures",
            Cause::Errors => "errors",
            Cause::Slow => "slow",
        }
    }
}

/// Health of one server.
#[derive(Debug)]
pub struct Health {
    /// Nothing is wrong and nothing was lately.
    plain: AtomicBool,
    inner: Mutex<Inner>,
    eject: EjectOptions,
    slow_start: Duration,
}

#[derive(Clone, Debug, Default)]
struct Inner {
    failures: u32,
    /// Ejections of this spell of trouble.
    ejections: u32,
    /// When they are forgotten, if it stays up.
    forgiven: Option<Instant>,
    ejected_until: Option<Instant>,
    trial: Option<Instant>,
    recovered: Option<Instant>,
    checks_good: u32,
    checks_bad: u32,
    down: bool,
    drained: bool,
    reason: &'static str,
}

impl Health {
    /// A server that is up.
    pub fn new(eject: EjectOptions, slow_start: Duration) -> Self {
        let inner = Mutex::new(Inner::default());
        Health { plain: AtomicBool::new(true), inner, eject, slow_start }
    }

    /// May it be asked now? Does not change anything.
    pub fn verdict(&self, now: Instant) -> Verdict {
        if self.plain.load(Ordering::Relaxed) {
            return Verdict::Usable(100);
        }
        let mut inner = self.inner.lock();
        if inner.drained {
            return Verdict::Drained;
        }
        if inner.down {
            return Verdict::Out(inner.reason);
        }
        if let Some(until) = inner.ejected_until {
            let trial_runs = inner.trial.is_some_and(|began| now.duration_since(began) < TRIAL_MAX);
            return if now >= until && !trial_runs {
                Verdict::Trial
            } else {
                Verdict::Out(inner.reason)
            };
        }
        match inner.recovered {
            Some(at) if now.duration_since(at) < self.slow_start => {
                let share =
                    now.duration_since(at).as_millis() * 100 / self.slow_start.as_millis().max(1);
                Verdict::Usable((share as u32).clamp(5, 100))
            }
            _ => {
                inner.recovered = None;
                self.settle(&inner);
                Verdict::Usable(100)
            }
        }
    }

    /// Claims the one trial request; `false` if another one has it.
    pub fn begin_trial(&self, now: Instant) -> bool {
        let mut inner = self.inner.lock();
        if inner.trial.is_some_and(|began| now.duration_since(began) < TRIAL_MAX) {
            return false;
        }
        inner.trial = Some(now);
        true
    }

    /// A request was answered. Returns `true` if this brought the server back.
    pub fn succeeded(&self, now: Instant) -> bool {
        if self.plain.load(Ordering::Relaxed) {
            return false;
        }
        let mut inner = self.inner.lock();
        let back = inner.ejected_until.take().is_some();
        inner.failures = 0;
        inner.trial = None;
        if back {
            inner.recovered = Some(now);
            // A server that comes back and fails again soon is still the same trouble: its
            // next ejection goes on doubling.
            inner.forgiven = Some(now + self.slow_start + self.eject.window);
        }
        if inner.forgiven.is_none_or(|at| now >= at) {
            inner.ejections = 0;
            inner.forgiven = None;
        }
        self.settle(&inner);
        back
    }

    /// A request failed. Returns how long the server is ejected if this ejected it. One
    /// that `answers`, if only with errors, is not ejected by this unless it was on trial.
    pub fn failed(&self, now: Instant, reason: &'static str, answers: bool) -> Option<Duration> {
        let mut inner = self.inner.lock();
        inner.failures = inner.failures.saturating_add(1);
        inner.reason = reason;
        self.plain.store(false, Ordering::Relaxed);
        let on_trial = inner.trial.take().is_some();
        let limit = self.eject.failures;
        let ejects = match inner.ejected_until {
            Some(_) => on_trial,
            None => !answers && limit > 0 && inner.failures >= limit,
        };
        ejects.then(|| self.throw_out(&mut inner, now))
    }

    /// Ejects the server; returns for how long.
    pub fn eject(&self, now: Instant, reason: &'static str) -> Duration {
        let mut inner = self.inner.lock();
        inner.reason = reason;
        self.throw_out(&mut inner, now)
    }

    fn throw_out(&self, inner: &mut Inner, now: Instant) -> Duration {
        let doubled = self.eject.base.saturating_mul(1 << inner.ejections.min(16));
        let time = doubled.min(self.eject.max);
        inner.ejections = inner.ejections.saturating_add(1);
        inner.ejected_until = Some(now + time);
        inner.recovered = None;
        inner.forgiven = None;
        inner.trial = None;
        self.plain.store(false, Ordering::Relaxed);
        time
    }

    /// Whether `limit` failures in a row were seen; never if it is 0.
    pub fn is_over(&self, limit: u32) -> bool {
        limit > 0 && !self.plain.load(Ordering::Relaxed) && self.inner.lock().failures >= limit
    }

    /// Whether it is out for what requests taught.
    pub fn is_ejected(&self) -> bool {
        !self.plain.load(Ordering::Relaxed) && self.inner.lock().ejected_until.is_some()
    }

    /// How long it still is ejected.
    pub fn rest(&self, now: Instant) -> Option<Duration> {
        let until = self.inner.lock().ejected_until?;
        Some(until.saturating_duration_since(now))
    }

    /// Takes over what was known of the same server before a reload.
    pub fn adopt(&self, old: &Health) {
        let mut inner = old.inner.lock().clone();
        inner.trial = None;
        self.settle(&inner);
        *self.inner.lock() = inner;
    }

    /// An active check ended. Returns the new state if it changed (`true`: up).
    pub fn checked(
        &self,
        now: Instant,
        result: Result<(), &'static str>,
        rise: u32,
        fall: u32,
    ) -> Option<bool> {
        let mut inner = self.inner.lock();
        let changed = match result {
            Ok(()) => {
                inner.checks_bad = 0;
                inner.checks_good = inner.checks_good.saturating_add(1);
                let back = inner.down && inner.checks_good >= rise;
                if back {
                    inner.forgiven = Some(now + self.slow_start + self.eject.window);
                    inner.down = false;
                    inner.ejected_until = None;
                    inner.failures = 0;
                    inner.trial = None;
                    inner.recovered = Some(now);
                }
                back.then_some(true)
            }
            Err(reason) => {
                inner.checks_good = 0;
                inner.checks_bad = inner.checks_bad.saturating_add(1);
                let gone = !inner.down && inner.checks_bad >= fall;
                if gone {
                    inner.down = true;
                    inner.reason = reason;
                }
                gone.then_some(false)
            }
        };
        self.settle(&inner);
        changed
    }

    /// Takes the server out or back by an operator's wish; requests in flight finish.
    pub fn drain(&self, drained: bool, now: Instant) {
        let mut inner = self.inner.lock();
        if inner.drained && !drained {
            inner.recovered = Some(now);
        }
        inner.drained = drained;
        self.settle(&inner);
    }

    /// State and reason in words, for the admin API.
    pub fn words(&self, now: Instant) -> (&'static str, &'static str) {
        match self.verdict(now) {
            Verdict::Usable(100) => ("up", ""),
            Verdict::Usable(_) => ("slow-start", "came back a moment ago"),
            Verdict::Drained => ("drained", "by an operator"),
            Verdict::Trial => ("trial", self.inner.lock().reason),
            Verdict::Out(reason) if self.inner.lock().down => ("down", reason),
            Verdict::Out(reason) => ("ejected", reason),
        }
    }

    fn settle(&self, inner: &Inner) {
        let plain = inner.failures == 0
            && inner.ejected_until.is_none()
            && inner.recovered.is_none()
            && inner.ejections == 0
            && !inner.down
            && !inner.drained;
        self.plain.store(plain, Ordering::Relaxed);
    }
}

/// A trial whose request vanished does not block the next one longer than this.
const TRIAL_MAX: Duration = Duration::from_secs(30);
