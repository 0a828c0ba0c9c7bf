//! `GET /v1/objects`: what is stored, by tag, prefix, host or URL, in pages.
//!
//! Pages are in order of key text and a cursor is the last key shown, so a page is right
//! whatever happened since the one before. Each page is one pass over the memory tier off
//! the event loop; an index for this alone would cost every hit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Query, State};
use axum::http::{Method, Uri};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Answer, Refusal, ok};
use crate::base::Now;
use crate::rules::asked::{Asked, Host, Scheme};
use crate::rules::entry::{Entry, Slot};
use crate::rules::freshness::LifetimeSource;
use crate::rules::ledger::{Ledger, Verdict};
use crate::rules::purge::{Subject, What};
use crate::store::Keep;

type Shared = Arc<super::State>;

/// Objects on a page at most.
const PAGE_MAX: usize = 1000;

/// The query.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    tag: Option<String>,
    prefix: Option<String>,
    host: Option<String>,
    url: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

/// One stored answer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Object {
    pub(super) url: String,
    pub(super) tier: &'static str,
    pub(super) status: u16,
    /// Body bytes.
    pub(super) bytes: u64,
    /// Everything it costs, in bytes.
    pub(super) weight: u64,
    pub(super) age_s: u64,
    /// Remaining freshness, negative when stale.
    pub(super) ttl_s: i64,
    pub(super) lifetime_s: u64,
    /// What gave the lifetime.
    pub(super) lifetime_from: String,
    pub(super) fresh: bool,
    pub(super) soft_purged: bool,
    pub(super) tags: Vec<String>,
    /// Request fields it varies on with their values then.
    pub(super) vary: Vec<(String, Option<String>)>,
    /// Ledger number when its request was sent.
    pub(super) seq: u64,
    pub(super) checked_seq: u64,
}

impl Object {
    pub(super) fn of(entry: &Entry, tier: &'static str, now: Now) -> Self {
        let url = Subject::of(&entry.key, &[]).map(|subject| subject.url());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let vary = entry.vary.iter().flat_map(|vary| vary.fields.iter());
        Object {
            url: url.unwrap_or_else(|| text(&entry.key)),
            tier,
            status: entry.head.status.as_u16(),
            bytes: entry.body_len(),
            weight: entry.weight(),
            age_s: entry.freshness.age_ms(now) / 1000,
            ttl_s: entry.freshness.ttl_ms(now).div_euclid(1000),
            lifetime_s: entry.freshness.lifetime_ms / 1000,
            lifetime_from: lifetime_from(entry.freshness.source),
            fresh: entry.freshness.is_fresh(now) && !entry.is_soft_purged(),
            soft_purged: entry.is_soft_purged(),
            tags: entry.tags.iter().map(|tag| tag.to_string()).collect(),
            vary: vary
                .map(|(name, value)| (name.as_str().to_owned(), value.as_deref().map(text)))
                .collect(),
            seq: entry.seq,
            checked_seq: entry.checked_seq.load(Ordering::Acquire),
        }
    }
}

/// In words, where a lifetime comes from.
pub(super) fn lifetime_from(source: LifetimeSource) -> String {
    match source {
        LifetimeSource::Targeted(0) => "the first targeted field (CDN-Cache-Control)".to_owned(),
        LifetimeSource::Targeted(at) => format!("targeted field number {}", at + 1),
        LifetimeSource::SMaxAge => "Cache-Control: s-maxage".to_owned(),
        LifetimeSource::MaxAge => "Cache-Control: max-age".to_owned(),
        LifetimeSource::Expires => "Expires".to_owned(),
        LifetimeSource::Heuristic => "Last-Modified (heuristic)".to_owned(),
        LifetimeSource::Rule => "the site's rule".to_owned(),
        LifetimeSource::None => "nothing: the origin states none".to_owned(),
    }
}

/// A URL as a GET that a client could have sent.
pub(super) fn asked_for(url: &str) -> Result<Asked, Refusal> {
    let bad = |why: &str| Refusal::bad(format!("{url:?} is not a URL: {why}"));
    let uri: Uri = url.parse().map_err(|_| bad("expected https://host/path"))?;
    let scheme = match uri.scheme_str() {
        Some("https") => Scheme::Https,
        Some("http") => Scheme::Http,
        _ => return Err(bad("expected http:// or https://")),
    };
    let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(bad("expected a host without user name"));
    }
    let target = match uri.path_and_query() {
        Some(target) => target.clone(),
        None => http::uri::PathAndQuery::from_static("/"),
    };
    Ok(Asked {
        method: Method::GET,
        scheme,
        host: Host::from_valid(authority.host()),
        port: authority.port_u16().unwrap_or(scheme.default_port()),
        target,
    })
}

/// `GET /v1/objects`.
pub(super) async fn list(State(state): State<Shared>, Query(wanted): Query<Wanted>) -> Answer {
    let limit = wanted.limit.unwrap_or(100).clamp(1, PAGE_MAX);
    let filter = filter(&state, &wanted)?;
    let after = wanted.after.unwrap_or_default().into_bytes();
    let handles = state.handles.clone();
    let page = tokio::task::spawn_blocking(move || {
        let now = handles.clock.now();
        let mut page: BTreeMap<Box<[u8]>, Vec<Object>> = BTreeMap::new();
        handles.memory.for_each(&mut |slot: &Slot| {
            let Some(first) = slot.variants.first() else { return Keep::Whole };
            let full = page.len() >= limit
                && page.last_key_value().is_some_and(|(last, _)| **last <= *first.key);
            if *first.key > *after && !full {
                let own: Vec<Object> = chosen(slot, filter.as_ref(), &handles.ledger)
                    .map(|entry| Object::of(entry, "memory", now))
                    .collect();
                if !own.is_empty() {
                    page.insert(first.key.clone(), own);
                    if page.len() > limit {
                        page.pop_last();
                    }
                }
            }
            Keep::Whole
        });
        page
    });
    let page = page.await.map_err(|error| {
        Refusal::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    })?;
    let last = page.last_key_value().map(|(key, _)| String::from_utf8_lossy(key).into_owned());
    let next = if page.len() >= limit { last } else { None };
    ok(json!({"objects": page.into_values().flatten().collect::<Vec<_>>(), "next": next}))
}

fn chosen<'a>(
    slot: &'a Slot,
    filter: Option<&'a What>,
    ledger: &'a Ledger,
) -> impl Iterator<Item = &'a Entry> {
    slot.variants.iter().map(|entry| &**entry).filter(move |entry| {
        let subject = Subject::of(&entry.key, &entry.tags);
        let wanted = match (filter, subject) {
            (Some(filter), Some(subject)) => filter.matches(&subject),
            (filter, _) => filter.is_none(),
        };
        wanted && ledger.verdict(entry) != Verdict::Gone
    })
}

fn filter(state: &super::State, wanted: &Wanted) -> Result<Option<What>, Refusal> {
    let given = [&wanted.tag, &wanted.prefix, &wanted.host, &wanted.url];
    if given.iter().filter(|filter| filter.is_some()).count() > 1 {
        return Err(Refusal::bad("give one of tag, prefix, host and url"));
    }
    let what = if let Some(tag) = &wanted.tag {
        What::tag(tag)
    } else if let Some(prefix) = &wanted.prefix {
        What::prefix(prefix, false)
    } else if let Some(host) = &wanted.host {
        What::host(host)
    } else if let Some(url) = &wanted.url {
        let located = (state.handles.locate)(&asked_for(url)?);
        let located = located.ok_or_else(|| Refusal::not_found(format!("no site serves {url}")))?;
        Ok(What::Url(located.key.text().into()))
    } else {
        return Ok(None);
    };
    what.map(Some).map_err(|error| Refusal::bad(error.to_string()))
}
