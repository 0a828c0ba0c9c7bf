//! `POST /v1/purge`, `PURGE <url>`, `GET /v1/purges`.
//!
//! Order of a purge: number, make durable, apply, answer. When the call returns it is in
//! effect for every connection and for fetches under way, and survives a crash. The
//! count of objects comes from a sweep that the call waits for (bounded by `wait_ms`);
//! `effective_ms` says when the purge was in effect, `took_ms` when all was counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Answer, Query, Refusal, Sent, ok};
use super::commit::{self, Effect, Order};
use super::guard::Who;
use super::job::Found;
use super::objects::asked_for;
use super::sweep::Report;
use crate::base::clock::instant;
use crate::rules::key::Key;
use crate::rules::purge::{ITEMS_MAX, PurgeError, What};

type Shared = Arc<super::State>;

/// Longest a call may wait for its sweep.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Items shown in `/v1/purges`.
const ITEMS_SHOWN: usize = 8;

/// The body of `POST /v1/purge`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Call {
    urls: Vec<String>,
    prefixes: Vec<String>,
    prefix_by: PrefixBy,
    tags: Vec<String>,
    hosts: Vec<String>,
    everything: bool,
    pattern: Option<String>,
    pattern_syntax: Syntax,
    soft: bool,
    dry_run: bool,
    wait_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PrefixBy {
    #[default]
    Literal,
    Segment,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Syntax {
    #[default]
    Regex,
    Glob,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Done {
    /// Number of the last item in the ledger; absent in a dry run.
    seq: Option<u64>,
    matched: u64,
    freed_bytes: u64,
    /// Milliseconds until it was in effect (and durable).
    effective_ms: f64,
    /// Milliseconds until this answer.
    took_ms: f64,
    /// Whether the sweep is over and the counts are final.
    swept: bool,
    soft: bool,
    dry_run: bool,
}

/// `POST /v1/purge`.
pub(super) async fn post(
    State(state): State<Shared>,
    Extension(Who(who)): Extension<Who>,
    Sent(call): Sent<Call>,
) -> Answer {
    run(&state, call, who).await
}

/// `PURGE <url>`: the target in absolute form, or the path with `Host` naming the site;
/// then both schemes are meant. `Soft-Purge: 1` marks stale instead.
pub(super) async fn by_method(
    State(state): State<Shared>,
    Extension(Who(who)): Extension<Who>,
    request: Request,
) -> Answer {
    if request.method().as_str() != "PURGE" {
        return Err(Refusal::not_found("no such path or method; see /v1/openapi.json"));
    }
    let soft = request.headers().get("soft-purge").is_some_and(|value| value != "0");
    let urls = urls_of(request.uri(), request.headers())?;
    run(&state, Call { urls, soft, ..Call::default() }, who).await
}

fn urls_of(uri: &Uri, headers: &HeaderMap) -> Result<Vec<String>, Refusal> {
    if uri.scheme().is_some() {
        return Ok(vec![uri.to_string()]);
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.ok_or_else(|| Refusal::bad("PURGE needs a URL, or a path and Host"))?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    Ok(["http", "https"].map(|scheme| format!("{scheme}://{host}{target}")).to_vec())
}

async fn run(state: &Shared, call: Call, who: String) -> Answer {
    let started = instant();
    let (whats, keys) = items(state, &call)?;
    let wait = Duration::from_millis(call.wait_ms.unwrap_or(2_000)).min(WAIT_MAX);
    if call.dry_run {
        let found = state.sweeper.count(whats, 0, call.soft, || {}).wait(wait).await;
        return ok(done(None, found, (started, started), &call));
    }
    let before = (keys.len() == whats.len()).then(|| stored(state, &keys, call.soft));
    let mut report = Report {
        seq: 0,
        at_ms: state.handles.clock.now().wall_ms,
        who,
        items: whats.iter().take(ITEMS_SHOWN).map(What::to_string).collect(),
        items_total: whats.len(),
        soft: call.soft,
        found: before.unwrap_or_default(),
    };
    let order = Order { whats, report: report.clone(), counted: before.is_none() };
    let Effect { seq, counting } = commit::commit(state, order).await?;
    report.seq = seq;
    let effective = instant();
    let found = match counting {
        Some(counting) => counting.wait(wait).await,
        None => {
            report.found.matched += if call.soft { 0 } else { remove(state, &keys) };
            let found = report.found;
            state.sweeper.report(report);
            found
        }
    };
    ok(done(Some(seq), found, (started, effective), &call))
}

/// Removes URLs from every tier; how many of them only the disk had.
fn remove(state: &Shared, keys: &[Key]) -> u64 {
    let handles = &state.handles;
    let gone = |key: &&Key| {
        let freed = handles.memory.remove(key);
        handles.disk.as_ref().is_some_and(|disk| disk.remove(key)) && freed == 0
    };
    keys.iter().filter(gone).count() as u64
}

fn done(
    seq: Option<u64>,
    found: Found,
    (started, effective): (Instant, Instant),
    call: &Call,
) -> Done {
    let ms = |since: Duration| (since.as_secs_f64() * 1e6).round() / 1e3;
    Done {
        seq,
        matched: found.matched,
        freed_bytes: found.freed_bytes,
        effective_ms: ms(effective.duration_since(started)),
        took_ms: ms(instant().duration_since(started)),
        swept: found.swept,
        soft: call.soft,
        dry_run: call.dry_run,
    }
}

/// The call's items, and the keys of those that are URLs.
fn items(state: &Shared, call: &Call) -> Result<(Vec<What>, Vec<Key>), Refusal> {
    let lists = [&call.urls, &call.prefixes, &call.tags, &call.hosts];
    let single = usize::from(call.everything) + usize::from(call.pattern.is_some());
    let got = lists.iter().map(|list| list.len()).sum::<usize>() + single;
    if got == 0 {
        return Err(Refusal::bad(
            "nothing to purge: give urls, prefixes, tags, hosts, pattern or everything: true",
        ));
    }
    if got > ITEMS_MAX {
        return Err(PurgeError::TooMany { got, max: ITEMS_MAX }.into());
    }
    let mut whats = Vec::with_capacity(got);
    let mut keys = Vec::new();
    for url in &call.urls {
        let asked = asked_for(url)?;
        let key = match (state.handles.locate)(&asked) {
            Some(located) => located.key,
            None => {
                return Err(Refusal::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    format!("no site serves {url}"),
                ));
            }
        };
        whats.push(What::Url(key.text().into()));
        keys.push(key);
    }
    let by_segment = call.prefix_by == PrefixBy::Segment;
    let made = call.prefixes.iter().map(|text| What::prefix(text, by_segment));
    let made = made.chain(call.tags.iter().map(|tag| What::tag(tag)));
    let made = made.chain(call.hosts.iter().map(|host| What::host(host)));
    let pattern = call.pattern.iter();
    let made = made.chain(pattern.map(|p| What::pattern(p, call.pattern_syntax == Syntax::Glob)));
    for what in made {
        whats.push(what?);
    }
    if call.everything {
        whats.push(What::Everything);
    }
    Ok((whats, keys))
}

/// What is in memory under `keys` now.
fn stored(state: &Shared, keys: &[Key], soft: bool) -> Found {
    let mut found = Found { swept: true, ..Found::default() };
    for slot in keys.iter().filter_map(|key| state.handles.memory.get(key)) {
        found.matched += slot.variants.len() as u64;
        found.freed_bytes += if soft { 0 } else { slot.weight() };
    }
    found
}

/// The query of `GET /v1/purges`.
#[derive(Debug, Deserialize)]
pub(super) struct Since {
    #[serde(default)]
    since: u64,
}

/// `GET /v1/purges`: calls, newest first, and where the ledger stands.
pub(super) async fn list(State(state): State<Shared>, Query(query): Query<Since>) -> Answer {
    let ledger = &state.handles.ledger;
    let answer = json!({
        "seq": ledger.seq(),
        "floor": ledger.floor(),
        "pending": ledger.len(),
        "sweeps": state.sweeper.sweeps(),
        "purges": state.sweeper.reports(query.since),
    });
    Ok(Json(answer).into_response())
}
