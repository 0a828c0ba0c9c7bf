//! What the node tells: health, metrics, statistics, heavy hitters, the live log, the
//! audit, origins.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::answer::{Answer, Path, Query, Refusal, Sent, ok};
use super::disk;
use super::handles::Handles;
use super::sweep::Sweeper;
use crate::origin::ServerState;
use crate::telemetry::{By, expose};

type Shared = Arc<super::State>;

/// Lines of `/v1/top` at most.
const TOP_MAX: usize = 500;

/// Registers the gauges that the admin part can answer for.
pub(super) fn observe(handles: &Handles, sweeper: &Sweeper) {
    let counters = &handles.telemetry.counters;
    // Weak, because it holds the counters itself: a node that ends must let go of its disk.
    let sweeper = Arc::downgrade(&sweeper.inner);
    counters.observe("brink_purge_sweep_left", move |emit| {
        let Some(inner) = sweeper.upgrade() else { return };
        for (tier, left) in (Sweeper { inner }).left() {
            emit(&[tier], left as f64);
        }
    });
    let memory = Arc::downgrade(&handles.memory);
    counters.observe("brink_cache_objects", move |emit| {
        if let Some(memory) = memory.upgrade() {
            emit(&["memory"], memory.len() as f64);
        }
    });
    let memory = Arc::downgrade(&handles.memory);
    counters.observe("brink_cache_bytes", move |emit| {
        if let Some(memory) = memory.upgrade() {
            emit(&["memory"], memory.bytes() as f64);
        }
    });
    let capacity = handles.memory.capacity();
    counters.observe("brink_cache_bytes_max", move |emit| emit(&["memory"], capacity as f64));
    if let Some(disk) = handles.disk.as_ref().map(Arc::downgrade) {
        disk::observe(counters, &disk);
    }
    let ledger = Arc::downgrade(&handles.ledger);
    counters.observe("brink_purge_seq", move |emit| {
        if let Some(ledger) = ledger.upgrade() {
            emit(&[], ledger.seq() as f64);
        }
    });
    let ledger = Arc::downgrade(&handles.ledger);
    counters.observe("brink_purge_pending", move |emit| {
        if let Some(ledger) = ledger.upgrade() {
            emit(&[], ledger.len() as f64);
        }
    });
    observe_origins(handles);
}

fn observe_origins(handles: &Handles) {
    let counters = &handles.telemetry.counters;
    let rows: [(&'static str, fn(&ServerState) -> u64); 3] = [
        ("brink_origin_server_requests_total", |server| server.requests),
        ("brink_origin_failures_total", |server| server.failures),
        ("brink_origin_bytes_total", |server| server.bytes),
    ];
    for (name, read) in rows {
        let groups = handles.groups.clone();
        counters.observe(name, move |emit| {
            for group in groups() {
                let state = group.state();
                for server in &state.servers {
                    emit(&[&state.name, &server.name], read(server) as f64);
                }
            }
        });
    }
    let groups = handles.groups.clone();
    counters.observe("brink_origin_ejections_total", move |emit| {
        for group in groups() {
            let state = group.state();
            for server in &state.servers {
                for (cause, count) in &server.ejections {
                    emit(&[&state.name, &server.name, cause], *count as f64);
                }
            }
        }
    });
    let groups = handles.groups.clone();
    counters.observe("brink_origin_retries_total", move |emit| {
        for group in groups() {
            emit(&[group.name()], group.state().retries as f64);
        }
    });
    let groups = handles.groups.clone();
    counters.observe("brink_origin_failing", move |emit| {
        for group in groups() {
            emit(&[group.name()], f64::from(u8::from(group.is_failing())));
        }
    });
    let groups = handles.groups.clone();
    counters.observe("brink_origin_up", move |emit| {
        for group in groups() {
            let state = group.state();
            for server in &state.servers {
                let used = matches!(server.state, "up" | "slow-start" | "trial");
                emit(&[&state.name, &server.name], f64::from(u8::from(used)));
            }
        }
    });
}

/// `GET /healthz`: the process answers.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the node takes traffic, or what it waits for; then a line for each
/// directory of the disk tier. One that is out costs hits, so it does not make the node
/// unready.
pub(super) async fn ready(State(state): State<Shared>) -> Response {
    let (status, first) = match (state.handles.ready)() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    };
    let disks = state.handles.disk.as_ref().map(|disk| disk::lines(disk)).unwrap_or_default();
    (status, first + &disks).into_response()
}

/// `GET /metrics`, OpenMetrics or the older text format as the scraper accepts.
pub(super) async fn metrics(State(state): State<Shared>, headers: HeaderMap) -> Answer {
    let text = expose::text(&state.handles.telemetry.counters).map_err(|error| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("encoding failed: {error}"))
    })?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let (kind, text) = if open {
        (expose::CONTENT_TYPE, text)
    } else {
        (expose::CLASSIC_CONTENT_TYPE, expose::classic(&text))
    };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// `GET /v1/stats`.
pub(super) async fn stats(State(state): State<Shared>) -> Answer {
    let handles = &state.handles;
    let summary = handles.telemetry.counters.summary();
    let mut answer = serde_json::to_value(&summary).unwrap_or_default();
    if let Value::Object(fields) = &mut answer {
        let ledger = &handles.ledger;
        let own = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "now_ms": handles.clock.now().wall_ms,
            "memory": {"objects": handles.memory.len(), "bytes": handles.memory.bytes()},
            "tiers": tiers(handles),
            "purge": {
                "seq": ledger.seq(),
                "pending": ledger.len(),
                "sweeps": state.sweeper.sweeps(),
            },
        });
        if let Value::Object(own) = own {
            fields.extend(own);
        }
    }
    ok(answer)
}

/// Fill of every tier, from the same gauges as `/metrics`.
fn tiers(handles: &Handles) -> Value {
    let mut tiers = serde_json::Map::new();
    for (name, field) in [
        ("brink_cache_objects", "objects"),
        ("brink_cache_bytes", "bytes"),
        ("brink_cache_bytes_max", "bytes_max"),
    ] {
        handles.telemetry.counters.observed(name, &mut |labels, value| {
            let tier = labels.first().copied().unwrap_or("");
            let tier = tiers.entry(tier).or_insert_with(|| json!({}));
            if let Value::Object(fields) = tier {
                fields.insert(field.to_owned(), json!(value as u64));
            }
        });
    }
    Value::Object(tiers)
}

/// The query of `GET /v1/top`.
#[derive(Debug, Deserialize)]
pub(super) struct TopQuery {
    by: Option<By>,
    limit: Option<usize>,
}

/// `GET /v1/top`.
pub(super) async fn top(State(state): State<Shared>, Query(query): Query<TopQuery>) -> Answer {
    let by = query.by.unwrap_or(By::Requests);
    let limit = query.limit.unwrap_or(20).clamp(1, TOP_MAX);
    let list = state.handles.telemetry.top.list(by, limit);
    ok(json!({"by": by, "window_s": crate::telemetry::top::WINDOW_MS / 1000, "top": list}))
}

/// The query of `GET /v1/log`.
#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    filter: Option<String>,
}

/// `GET /v1/log`: exchanges as they finish, one JSON object a line, until the caller
/// leaves. `filter=word=text,...` keeps lines whose fields have that text in them.
pub(super) async fn log(State(state): State<Shared>, Query(query): Query<LogQuery>) -> Answer {
    let filter = Filter::parse(query.filter.as_deref().unwrap_or(""))?;
    let follower = state.handles.telemetry.tail.follow();
    let follower = follower.ok_or_else(|| Refusal::too_many(5, "too many follow the log"))?;
    let lines = futures_util::stream::unfold((follower, filter), |(mut follower, filter)| async {
        loop {
            match follower.recv().await {
                Ok(line) if filter.keeps(&line) => {
                    return Some((Ok::<_, Infallible>(line), (follower, filter)));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    let line = Bytes::from(format!("{{\"missed\":{missed}}}\n"));
                    return Some((Ok(line), (follower, filter)));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

/// Conditions on a line; all must hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter(Vec<(String, String)>);

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Filter, Refusal> {
        let conditions = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let parsed = conditions.map(|part| {
            part.split_once('=')
                .map(|(field, text)| (field.trim().to_owned(), text.trim().to_owned()))
                .ok_or_else(|| {
                    Refusal::bad(format!("filter {part:?}: expected field=text such as cache=miss"))
                })
        });
        Ok(Filter(parsed.collect::<Result<_, _>>()?))
    }

    pub(super) fn keeps(&self, line: &[u8]) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Ok(value) = serde_json::from_slice::<Value>(line) else { return false };
        self.0.iter().all(|(field, text)| match value.get(field) {
            Some(Value::String(own)) => own.contains(text.as_str()),
            // Compared as text: a number is never equal to a string as JSON values.
            #[allow(clippy::cmp_owned)]
            Some(own) => own.to_string() == *text,
            None => text.is_empty(),
        })
    }
}

/// `GET /v1/audit`: the last changes, newest first.
pub(super) async fn audit(State(state): State<Shared>) -> Answer {
    ok(json!({"changes": state.audit.list()}))
}

/// `GET /v1/origins`.
pub(super) async fn origins(State(state): State<Shared>) -> Answer {
    let mut groups: Vec<_> = (state.handles.groups)().iter().map(|group| group.state()).collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    ok(json!({"origins": groups}))
}

/// The body of `PUT /v1/origins/{origin}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OriginChange {
    /// Name of the origin that answers from now on; its own name ends a switch.
    switch_to: Option<String>,
    /// Back to who answered before the last switch.
    #[serde(default)]
    roll_back: bool,
}

/// `PUT /v1/origins/{origin}`.
pub(super) async fn set_origin(
    State(state): State<Shared>,
    Path(origin): Path<String>,
    Sent(change): Sent<OriginChange>,
) -> Answer {
    let groups = (state.handles.groups)();
    let find = |name: &str| {
        let group = groups.iter().find(|group| group.name() == name);
        group.ok_or_else(|| Refusal::not_found(format!("no origin {name:?}")))
    };
    let group = find(&origin)?;
    match (&change.switch_to, change.roll_back) {
        (Some(to), false) => group.switch(Some(find(to)?)),
        (None, true) => {
            group.roll_back();
        }
        _ => {
            let expected = "expected {\"switch_to\": \"NAME\"} or {\"roll_back\": true}";
            return Err(Refusal::bad(expected));
        }
    }
    ok(group.state())
}

/// The body of `PUT /v1/origins/{origin}/servers/{server}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerChange {
    state: Option<Wish>,
    weight: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wish {
    #[serde(alias = "resume")]
    Up,
    Drain,
}

/// `PUT /v1/origins/{origin}/servers/{server}`.
pub(super) async fn set_server(
    State(state): State<Shared>,
    Path((origin, server)): Path<(String, String)>,
    Sent(change): Sent<ServerChange>,
) -> Answer {
    if change.state.is_none() && change.weight.is_none() {
        return Err(Refusal::bad("expected {\"state\": \"up\" or \"drain\"} or {\"weight\": N}"));
    }
    let groups = (state.handles.groups)();
    let group = groups.iter().find(|group| group.name() == origin);
    let group = group.ok_or_else(|| Refusal::not_found(format!("no origin {origin:?}")))?;
    if let Some(wish) = change.state {
        group.drain(&server, wish == Wish::Drain).map_err(Refusal::not_found)?;
    }
    if let Some(weight) = change.weight {
        group.set_weight(&server, weight).map_err(Refusal::bad)?;
    }
    ok(group.state())
}
