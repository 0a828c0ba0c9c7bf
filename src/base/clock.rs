//! The only place that reads a clock.
//!
//! Freshness runs on the monotonic clock from the moment of receipt, so a step of the
//! wall clock neither empties the cache nor revives what was stale; the wall clock is
//! used for `Date`, for ages that come from `Date`, and across a restart. Tests and the
//! simulation use a manual clock: one type, so that no generic runs through the code.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic milliseconds start here and not at zero, so that an object read back from
/// disk may have been received "before" this process began without going negative.
pub const MONO_BASE_MS: u64 = 1 << 42;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic milliseconds; only differences mean something.
    pub mono_ms: u64,
    /// Wall clock, milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

impl Now {
    /// This reading, so much later by both clocks.
    pub fn after(self, span: Duration) -> Now {
        let ms = span.as_millis() as u64;
        Now { mono_ms: self.mono_ms + ms, wall_ms: self.wall_ms + ms }
    }

    /// Wall clock in whole seconds since the Unix epoch.
    pub fn wall_secs(self) -> u64 {
        self.wall_ms / 1000
    }

    /// The wall clock as the type `httpdate` formats.
    pub fn system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.wall_ms)
    }
}

/// Where the time comes from.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Real { start: Instant },
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    mono_ms: AtomicU64,
    wall_ms: AtomicU64,
}

impl Clock {
    /// The machine's clocks.
    #[allow(clippy::disallowed_methods)]
    pub fn real() -> Self {
        Clock(Source::Real { start: Instant::now() })
    }

    /// A clock that stands still until it is moved.
    pub fn manual(wall_ms: u64) -> Self {
        Clock(Source::Manual(Arc::new(Manual {
            mono_ms: AtomicU64::new(MONO_BASE_MS),
            wall_ms: AtomicU64::new(wall_ms),
        })))
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        self.at(instant())
    }

    /// The same for a monotonic instant just read, which saves reading that clock again. A
    /// manual clock pays no heed to it.
    #[allow(clippy::disallowed_methods)]
    pub fn at(&self, instant: Instant) -> Now {
        match &self.0 {
            Source::Real { start } => Now {
                mono_ms: MONO_BASE_MS + instant.duration_since(*start).as_millis() as u64,
                wall_ms: SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_millis() as u64),
            },
            Source::Manual(manual) => Now {
                mono_ms: manual.mono_ms.load(Ordering::Acquire),
                wall_ms: manual.wall_ms.load(Ordering::Acquire),
            },
        }
    }

    /// Moves a manual clock on, both readings together. Does nothing to a real one.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(manual) = &self.0 {
            manual.mono_ms.fetch_add(by.as_millis() as u64, Ordering::AcqRel);
            manual.wall_ms.fetch_add(by.as_millis() as u64, Ordering::AcqRel);
        }
    }

    /// Sets only the wall clock of a manual clock, as an operator or NTP would.
    pub fn step_wall(&self, wall_ms: u64) {
        if let Source::Manual(manual) = &self.0 {
            manual.wall_ms.store(wall_ms, Ordering::Release);
        }
    }
}

/// The monotonic instant for code that measures a span or arms a timer. Kept here so
/// that `Instant::now` is called in this file alone.
#[allow(clippy::disallowed_methods)]
pub fn instant() -> Instant {
    Instant::now()
}
