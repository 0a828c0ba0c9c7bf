//! `GET /v1/explain`: why a URL is or is not a hit, without asking the origin.
//!
//! It walks the way a request walks: site and rule, key, what is stored in which tier,
//! which variant matches, what `rules::plan` says now; then adds what only an observer
//! knows: the last purge that hit the URL, when it gave way to others, why its last answer
//! was not stored, and in plain words what would make it a hit.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::{Value, json};

use super::advice::{Known, advice};
use super::answer::{Answer, Refusal, ok};
use super::handles::{Handles, Located};
use super::objects::{Object, asked_for};
use super::words;
use crate::base::Now;
use crate::rules::asked::Asked;
use crate::rules::entry::{Entry, Slot};
use crate::rules::ledger::Verdict;
use crate::rules::normalise::normalise;
use crate::rules::pieces;
use crate::rules::plan::{Plan, Question, plan};
use crate::rules::purge::{Purge, Subject};
use crate::rules::site::{Policy, QueryKey};

type Shared = Arc<super::State>;

/// Pieces of one object that are looked for: 64 GiB of it.
const PIECES_MAX: u64 = 65_536;

/// Request fields one may ask with.
const HEADERS_MAX: usize = 32;

/// `GET /v1/explain?url=...&header=Name: value&header=...`.
pub(super) async fn explain(State(state): State<Shared>, RawQuery(query): RawQuery) -> Answer {
    let (url, headers) = question(query.as_deref().unwrap_or(""))?;
    let asked = asked_for(&url)?;
    let handles = &state.handles;
    let Some(located) = (handles.locate)(&asked) else {
        return ok(json!({
            "url": url,
            "site": null,
            "now": {"verdict": "refuse", "why": "no site serves this host: the answer is 421"},
            "advice": [format!("add {:?} to the hosts of a site", asked.host.as_str())],
        }));
    };
    let stored = stored(handles, &located).await;
    ok(tell(handles, &asked, headers, &located, &stored))
}

/// What the tiers hold under one key, less what is purged.
struct Stored {
    /// What a request would find: memory's, else the disk's.
    slot: Option<Slot>,
    tier: &'static str,
    /// Every tier that holds any of it.
    tiers: Vec<&'static str>,
    /// Hits since it came into memory.
    hits: Option<u32>,
}

async fn stored(handles: &Handles, located: &Located) -> Stored {
    let live = |mut slot: Slot| {
        slot.variants.retain(|entry| handles.ledger.verdict(entry) != Verdict::Gone);
        (!slot.variants.is_empty()).then_some(slot)
    };
    let mut stored = Stored { slot: None, tier: "none", tiers: Vec::new(), hits: None };
    if let Some((slot, hits)) = handles.memory.peek(&located.key)
        && let Some(slot) = live(slot)
    {
        (stored.slot, stored.tier, stored.hits) = (Some(slot), "memory", Some(hits));
        stored.tiers.push("memory");
    }
    if let Some(disk) = handles.disk.as_ref().filter(|disk| disk.contains(&located.key))
        && let Some(slot) = disk.look(&located.key).await.and_then(live)
    {
        stored.tiers.push("disk");
        if stored.slot.is_none() {
            (stored.slot, stored.tier) = (Some(slot), "disk");
        }
    }
    stored
}

fn tell(
    handles: &Handles,
    asked: &Asked,
    mut headers: HeaderMap,
    located: &Located,
    stored: &Stored,
) -> Value {
    let now = handles.clock.now();
    let policy = located.policy();
    normalise(&mut headers, policy);
    let question =
        Question { method: &asked.method, headers: &headers, has_body: false, policy, now };
    let verdict = plan(&question, stored.slot.as_ref());
    let chosen = chosen(&verdict);
    let entries = stored.slot.iter().flat_map(|slot| slot.variants.iter());
    let variants: Vec<Value> = entries
        .map(|entry| {
            let selected = chosen.is_some_and(|chosen| Arc::ptr_eq(chosen, entry));
            json!({"selected": selected, "object": Object::of(entry, stored.tier, now)})
        })
        .collect();
    let not_stored = handles.telemetry.reasons.find(asked.host.as_str(), asked.target.as_str());
    let evicted = handles.telemetry.evictions.find(located.key.hash());
    let purged = last_purge(handles, located, stored.slot.as_ref());
    let advice = advice(&Known {
        verdict: &verdict,
        stored: !variants.is_empty(),
        not_stored: not_stored.as_ref().map(|last| last.reason),
        evicted,
        purged: purged.as_deref(),
        policy,
        now,
    });
    json!({
        "url": Subject::of(located.key.text(), &[]).map(|subject| subject.url()),
        "site": located.site.name,
        "rule": located.rule().map(|rule| rule.name.as_str()),
        "origin": located.site.origin,
        "key": key(located, asked, policy),
        "request": lines(&headers),
        "tier": stored.tier,
        "tiers": stored.tiers,
        "hits": stored.hits,
        "variants": variants,
        "now": Judgement::of(&verdict, now),
        "pieces": chosen.and_then(|entry| held_pieces(handles, located, entry)),
        "freshness": chosen.map(|entry| freshness(entry, now)),
        "last_purge": purged.as_deref().map(|purge| json!({
            "seq": purge.seq,
            "kind": purge.what.kind(),
            "what": purge.what.to_string(),
            "soft": purge.soft,
            "at_ms": purge.wall_ms,
        })),
        "last_eviction": evicted,
        "last_not_stored": not_stored,
        "advice": advice,
    })
}

/// Of an object in pieces: how many there are, and how many each tier seems to hold.
fn held_pieces(handles: &Handles, located: &Located, entry: &Entry) -> Option<Value> {
    let (grid, version) = pieces::of(entry)?;
    let (mut memory, mut disk) = (0u64, 0u64);
    for n in 0..grid.count().min(PIECES_MAX) {
        let key = pieces::key(located.seed, located.key.text(), version, n);
        memory += u64::from(handles.memory.contains(&key));
        disk += u64::from(handles.disk.as_ref().is_some_and(|disk| disk.contains(&key)));
    }
    Some(json!({"total": grid.count(), "memory": memory, "disk": disk}))
}

fn key(located: &Located, asked: &Asked, policy: &Policy) -> Value {
    let query = match &policy.query {
        QueryKey::All => "all of the query, byte for byte".to_owned(),
        QueryKey::None => "none of the query".to_owned(),
        QueryKey::Only(names) => format!("of the query only {}", names.join(", ")),
        QueryKey::Except(names) => format!("the query without {}", names.join(", ")),
        QueryKey::Sorted => "the query, sorted by name".to_owned(),
    };
    json!({
        "text": String::from_utf8_lossy(located.key.text()),
        "hash": format!("{:032x}", located.key.hash()),
        "scheme": asked.scheme.as_str(),
        "host": asked.host.as_str(),
        "port": asked.port,
        "path": asked.target.path(),
        "query": asked.target.query(),
        "query_rule": query,
    })
}

/// What the node would do now.
#[derive(Debug, Serialize)]
struct Judgement {
    verdict: &'static str,
    fwd: Option<&'static str>,
    why: String,
}

impl Judgement {
    fn of(verdict: &Plan, now: Now) -> Self {
        let word = |verdict, fwd, why: &str| Judgement { verdict, fwd, why: why.to_owned() };
        match verdict {
            Plan::Hit(entry) => Judgement {
                verdict: "hit",
                fwd: None,
                why: format!("fresh for another {} s", entry.freshness.ttl_ms(now) / 1000),
            },
            Plan::StaleHit(entry) => Judgement {
                verdict: "stale-hit",
                fwd: None,
                why: format!(
                    "stale for {} s, served while one refresh runs",
                    entry.freshness.staleness_ms(now) / 1000
                ),
            },
            Plan::Revalidate { entry, fwd } => {
                let why = if entry.is_soft_purged() {
                    "soft-purged: the origin is asked whether it changed"
                } else if entry.freshness.always_validate {
                    "the origin wants to be asked every time (no-cache)"
                } else if entry.freshness.is_fresh(now) {
                    "the request itself asks for it"
                } else {
                    "stored but stale: the origin is asked whether it changed"
                };
                word("revalidate", Some(fwd.word()), why)
            }
            Plan::Complete { .. } => word("complete", Some("partial"), "a part is stored"),
            Plan::Miss(fwd) | Plan::MissRange(fwd) => {
                word("miss", Some(fwd.word()), words::fwd(*fwd))
            }
            Plan::Pass(fwd) => word("pass", Some(fwd.word()), words::fwd(*fwd)),
            Plan::Refuse(fault) => word("refuse", None, fault.reason()),
        }
    }
}

fn chosen(verdict: &Plan) -> Option<&Arc<Entry>> {
    match verdict {
        Plan::Hit(entry)
        | Plan::StaleHit(entry)
        | Plan::Revalidate { entry, .. }
        | Plan::Complete { entry } => Some(entry),
        Plan::Miss(_) | Plan::MissRange(_) | Plan::Pass(_) | Plan::Refuse(_) => None,
    }
}

/// The freshness sum of RFC 9111 4.2, in seconds.
fn freshness(entry: &Entry, now: Now) -> Value {
    let freshness = &entry.freshness;
    let (age, lifetime) = (freshness.age_ms(now) / 1000, freshness.lifetime_ms / 1000);
    let from = super::objects::lifetime_from(freshness.source);
    json!({
        "lifetime_s": lifetime,
        "age_s": age,
        "initial_age_s": freshness.initial_age_ms / 1000,
        "ttl_s": freshness.ttl_ms(now).div_euclid(1000),
        "from": from,
        "stale_while_revalidate_s": freshness.while_revalidate_ms / 1000,
        "stale_if_error_s": freshness.if_error_ms / 1000,
        "always_validate": freshness.always_validate,
        "never_stale": freshness.never_stale,
        "immutable": freshness.immutable,
        "sum": format!("{lifetime} s ({from}) - {age} s of age"),
    })
}

fn last_purge(handles: &Handles, located: &Located, slot: Option<&Slot>) -> Option<Arc<Purge>> {
    let tags = slot.and_then(|slot| slot.variants.first()).map_or(&[][..], |entry| &entry.tags);
    let subject = Subject::of(located.key.text(), tags)?;
    handles.ledger.last_match(&subject)
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect()
}

/// Takes `url=` and any number of `header=` out of a query.
fn question(query: &str) -> Result<(String, HeaderMap), Refusal> {
    let (mut url, mut headers) = (None, HeaderMap::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "url" => url = Some(value.into_owned()),
            "header" if headers.len() < HEADERS_MAX => {
                let bad = || Refusal::bad(format!("header {value:?}: expected \"Name: value\""));
                let (name, text) = value.split_once(':').ok_or_else(bad)?;
                let name: HeaderName = name.trim().parse().map_err(|_| bad())?;
                headers.append(name, text.trim().parse().map_err(|_| bad())?);
            }
            other => return Err(Refusal::bad(format!("unknown or one too many: {other:?}"))),
        }
    }
    Ok((url.ok_or_else(|| Refusal::bad("expected ?url=https://host/path"))?, headers))
}
