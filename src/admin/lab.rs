//! The lab's view of a running node: the curve and the advice, and the sample itself.
//!
//! The reckoning takes up to a second of one core, so its result is kept for a while and
//! only one runs at a time, beside the event loop.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use parking_lot::Mutex;
use serde_json::Value;

use super::answer::{Answer, Refusal, ok};

type Shared = Arc<super::State>;

/// How long an answer is good, in monotonic milliseconds.
const GOOD_MS: u64 = 15_000;

/// The last answer and when it was made.
#[derive(Debug, Default)]
pub(super) struct Advice {
    last: Mutex<Option<(u64, Value)>>,
    one: tokio::sync::Mutex<()>,
}

impl Advice {
    fn fresh(&self, now_ms: u64) -> Option<Value> {
        let last = self.last.lock();
        let (at, value) = last.as_ref()?;
        (now_ms < at + GOOD_MS).then(|| value.clone())
    }
}

/// `GET /v1/lab/curve`: miss ratio by cache size, and what other sizes would do.
pub(super) async fn curve(State(state): State<Shared>) -> Answer {
    let now_ms = || state.handles.clock.now().mono_ms;
    if let Some(value) = state.advice.fresh(now_ms()) {
        return ok(value);
    }
    let _one = state.advice.one.lock().await;
    if let Some(value) = state.advice.fresh(now_ms()) {
        return ok(value);
    }
    let Some(reckon) = state.handles.advise.clone() else { return Err(nothing()) };
    let value = tokio::task::spawn_blocking(move || reckon()).await.ok().flatten();
    let Some(value) = value else { return Err(nothing()) };
    *state.advice.last.lock() = Some((now_ms(), value.clone()));
    ok(value)
}

/// `GET /v1/lab/sample`: the sample as csv, keys hashed with a secret made for this answer.
pub(super) async fn sample(State(state): State<Shared>) -> Answer {
    let sample = state.handles.telemetry.sample.clone();
    let csv = move || sample.snapshot().map(|snapshot| snapshot.csv(rand::random()));
    let csv = tokio::task::spawn_blocking(csv).await.ok().flatten().ok_or_else(nothing)?;
    Ok(([(header::CONTENT_TYPE, "text/csv")], csv).into_response())
}

fn nothing() -> Refusal {
    Refusal::new(
        StatusCode::CONFLICT,
        "nothing sampled yet: there was no cacheable request, or [lab] sample = false",
    )
}
