//! Level 2: what the node tells about itself.
//!
//! One finished exchange is one call, [`Telemetry::finished`], with a borrowed record.
//! It feeds the counters, the access log, the list of heavy hitters and the live tail,
//! and it never waits: counters are plain cells of the calling thread, a log line is
//! formatted into the calling thread's buffer, and everything that could fill up drops
//! and counts instead.

pub mod access_log;
pub mod counters;
pub mod evictions;
pub mod exchange;
pub mod expose;
pub mod histogram;
pub mod line;
pub mod reasons;
pub mod sample;
pub mod setup;
pub mod summary;
pub mod table;
pub mod tail;
#[cfg(test)]
mod tests;
pub mod top;

use std::sync::Arc;

pub use access_log::AccessLog;
pub use counters::{Count, Counters, Event};
pub use evictions::{Evicted, Evictions};
pub use exchange::Exchange;
pub use reasons::Reasons;
pub use sample::Sample;
pub use summary::Summary;
pub use tail::Tail;
pub use top::{By, Top};

/// The ears of the node: shared by every exchange.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Numbers for `/metrics` and `/v1/stats`.
    pub counters: Arc<Counters>,
    /// One line an exchange.
    pub access_log: Arc<AccessLog>,
    /// Which URLs cause most of the work.
    pub top: Arc<Top>,
    /// Why URLs were not stored, for `explain`.
    pub reasons: Arc<Reasons>,
    /// When keys gave way to others, for `explain`.
    pub evictions: Arc<Evictions>,
    /// Live followers of the exchanges (`brink log`).
    pub tail: Arc<Tail>,
    /// A sample of what was asked for, for `brink lab advise`.
    pub sample: Arc<Sample>,
}

impl Telemetry {
    /// Counters and lists with an access log as given.
    pub fn new(access_log: AccessLog) -> Self {
        let telemetry = Telemetry {
            counters: Arc::new(Counters::new()),
            access_log: Arc::new(access_log),
            top: Arc::new(Top::default()),
            reasons: Arc::new(Reasons::default()),
            evictions: Arc::new(Evictions::default()),
            tail: Arc::new(Tail::default()),
            sample: Arc::new(Sample::default()),
        };
        let log = Arc::clone(&telemetry.access_log);
        telemetry.counters.observe("brink_access_log_dropped_total", move |emit| {
            emit(&[], log.dropped() as f64);
        });
        telemetry
    }

    /// With a sample of these settings in place of the default ones.
    pub fn with_sample(self, options: sample::Options) -> Self {
        Telemetry { sample: Arc::new(Sample::new(options)), ..self }
    }

    /// Telemetry that writes no access log, for tests and tools.
    pub fn quiet() -> Self {
        Telemetry::new(AccessLog::off())
    }

    /// Records one finished exchange everywhere. Never blocks; about half a microsecond.
    pub fn finished(&self, exchange: &Exchange<'_>) {
        self.counters.exchange(exchange);
        self.access_log.write(exchange);
        self.top.count(exchange);
        self.reasons.note(exchange);
        self.tail.send(exchange);
    }
}
