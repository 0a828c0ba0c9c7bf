//! `GET /v1/history`: totals of the last minutes, so that a curve is whole when somebody
//! begins to look.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::State;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;

use super::answer::{Answer, ok};

type Shared = Arc<super::State>;

/// Between two samples.
const EVERY: Duration = Duration::from_secs(2);
/// Samples kept: ten minutes.
const KEPT: usize = 300;

/// Totals since start at one time.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    at_ms: u64,
    requests: u64,
    /// Fresh and stale.
    hits: u64,
    /// All that could have been hits.
    asked: u64,
    bytes: u64,
    origin_bytes: u64,
}

/// The last samples.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<Sample>>);

/// Takes samples until the listener is gone.
pub(super) async fn keep(state: Weak<super::State>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        let Some(state) = state.upgrade() else { return };
        let now = state.handles.telemetry.counters.summary();
        let hits = now.hits + now.stale;
        let sample = Sample {
            at_ms: state.handles.clock.now().wall_ms,
            requests: now.requests,
            hits,
            asked: hits + now.misses + now.passes + now.revalidated,
            bytes: now.bytes,
            origin_bytes: now.origin_bytes,
        };
        let mut samples = state.history.0.lock();
        if samples.len() >= KEPT {
            samples.pop_front();
        }
        samples.push_back(sample);
    }
}

/// `GET /v1/history`: oldest first.
pub(super) async fn history(State(state): State<Shared>) -> Answer {
    let samples: Vec<Sample> = state.history.0.lock().iter().copied().collect();
    ok(json!({"every_ms": EVERY.as_millis() as u64, "samples": samples}))
}
