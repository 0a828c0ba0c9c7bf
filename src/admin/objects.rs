//! `GET /v1/objects`: what is stored, by tag, prefix, host or URL, in pages.
//!
//! Pages are in order of key text and a cursor is the last key shown, so a page is right
//! whatever happened since the one before. Each page is one pass over the tiers off the
//! event loop; an index for this alone would cost every hit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{Method, Uri};
use serde::{Deserialize, Serialize};
use serde_json::json;
use smallvec::SmallVec;

use super::answer::{Answer, Query, Refusal, ok};
use super::handles::Handles;
use crate::base::Now;
use crate::rules::asked::{Asked, Host, Scheme};
use crate::rules::entry::{Entry, Slot};
use crate::rules::freshness::LifetimeSource;
use crate::rules::key::Key;
use crate::rules::ledger::Verdict;
use crate::rules::pieces;
use crate::rules::purge::{Subject, What};
use crate::store::Keep;

type Shared = Arc<super::State>;

/// Objects on a page at most.
const PAGE_MAX: usize = 1000;
/// Records on disk up to this many bytes are read for what only they know (age, status).
const READ_MAX: u64 = 256 << 10;

/// The query.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    tag: Option<String>,
    prefix: Option<String>,
    host: Option<String>,
    url: Option<String>,
    tier: Option<Tier>,
    limit: Option<usize>,
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tier {
    Memory,
    Disk,
}

/// One stored answer.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Object {
    pub(super) url: String,
    /// The fastest tier that has it.
    pub(super) tier: &'static str,
    /// Whether the disk tier has it (too).
    pub(super) on_disk: bool,
    /// Zero, as everything below but `bytes`, `weight` and `tags`, for a record on disk
    /// that is too long to be read for a list.
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
    /// What the index of the disk tier knows of a record.
    fn record(key: &[u8], bytes: u64, tags: &[Box<str>]) -> Self {
        let url = Subject::of(key, &[]).map(|subject| subject.url());
        Object {
            url: url.unwrap_or_else(|| String::from_utf8_lossy(key).into_owned()),
            tier: "disk",
            on_disk: true,
            bytes,
            weight: bytes,
            tags: tags.iter().map(|tag| tag.to_string()).collect(),
            ..Object::default()
        }
    }

    pub(super) fn of(entry: &Entry, tier: &'static str, now: Now) -> Self {
        let url = Subject::of(&entry.key, &[]).map(|subject| subject.url());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let vary = entry.vary.iter().flat_map(|vary| vary.fields.iter());
        Object {
            url: url.unwrap_or_else(|| text(&entry.key)),
            tier,
            on_disk: tier == "disk",
            status: entry.head.status.as_u16(),
            bytes: entry.content_len(),
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
    let tier = wanted.tier;
    let handles = state.handles.clone();
    let page = tokio::task::spawn_blocking(move || {
        let mut page = Page { after, limit, keys: BTreeMap::new() };
        if tier != Some(Tier::Disk) {
            page.look_in_memory(&handles, filter.as_ref());
        }
        if tier != Some(Tier::Memory) {
            page.look_on_disk(&handles, filter.as_ref());
        }
        page
    });
    let page = page.await.map_err(|error| {
        Refusal::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    })?;
    let last = page.keys.last_key_value().map(|(key, _)| String::from_utf8_lossy(key).into_owned());
    let next = if page.keys.len() >= limit { last } else { None };
    let now = state.handles.clock.now();
    let mut objects = Vec::new();
    for (key, held) in page.keys {
        held.tell(&state.handles, &key, now, &mut objects).await;
    }
    ok(json!({"objects": objects, "next": next}))
}

/// The keys of a page with what the tiers have of them.
struct Page {
    after: Vec<u8>,
    limit: usize,
    keys: BTreeMap<Box<[u8]>, Held>,
}

#[derive(Default)]
struct Held {
    memory: Vec<Arc<Entry>>,
    /// Bytes on disk and tags of each record.
    disk: Vec<(u64, Vec<Box<str>>)>,
}

impl Page {
    fn wants(&self, key: &[u8]) -> bool {
        let full = self.keys.len() >= self.limit
            && self.keys.last_key_value().is_some_and(|(last, _)| **last < *key);
        *key > *self.after && !full && !pieces::is_piece(key)
    }

    fn held(&mut self, key: &[u8], add: impl FnOnce(&mut Held)) {
        add(self.keys.entry(key.into()).or_default());
        if self.keys.len() > self.limit {
            self.keys.pop_last();
        }
    }

    fn look_in_memory(&mut self, handles: &Handles, filter: Option<&What>) {
        handles.memory.for_each(&mut |slot: &Slot| {
            let Some(first) = slot.variants.first() else { return Keep::Whole };
            if self.wants(&first.key) {
                let fits = |entry: &&Arc<Entry>| {
                    matches(filter, &entry.key, &entry.tags)
                        && handles.ledger.verdict(entry) != Verdict::Gone
                };
                let own: Vec<_> = slot.variants.iter().filter(fits).cloned().collect();
                if !own.is_empty() {
                    self.held(&first.key, |held| held.memory = own);
                }
            }
            Keep::Whole
        });
    }

    fn look_on_disk(&mut self, handles: &Handles, filter: Option<&What>) {
        let Some(disk) = &handles.disk else { return };
        disk.walk(&mut |facts, bytes| {
            let live = |key: &[u8], tags: &[Box<str>], since| {
                handles.ledger.verdict_of(key, tags, since) != Verdict::Gone
            };
            if self.wants(facts.key)
                && matches(filter, facts.key, &facts.tags)
                && live(facts.key, &facts.tags, facts.since)
            {
                self.held(facts.key, |held| held.disk.push((bytes, facts.tags.clone())));
            }
            true
        });
    }
}

impl Held {
    /// Memory's objects, then those of the disk that are no copies of them.
    async fn tell(self, handles: &Handles, key: &[u8], now: Now, out: &mut Vec<Object>) {
        let same = |one: &Entry, other: &Entry| one.vary == other.vary;
        let short = self.disk.iter().all(|(bytes, _)| *bytes <= READ_MAX);
        let mut copies = Vec::new();
        if let (Some(disk), false, true) = (&handles.disk, self.disk.is_empty(), short) {
            let key = Key::new(disk.seed(), SmallVec::from_slice(key));
            copies = disk.look(&key).await.map_or(Vec::new(), |slot| slot.variants.to_vec());
        }
        for entry in &self.memory {
            let mut object = Object::of(entry, "memory", now);
            object.on_disk = copies.iter().any(|copy| same(copy, entry));
            out.push(object);
        }
        if copies.is_empty() && self.memory.is_empty() {
            let records = self.disk.iter();
            out.extend(records.map(|(bytes, tags)| Object::record(key, *bytes, tags)));
        }
        for copy in copies.iter().filter(|copy| !self.memory.iter().any(|own| same(own, copy))) {
            if handles.ledger.verdict(copy) != Verdict::Gone {
                out.push(Object { on_disk: true, ..Object::of(copy, "disk", now) });
            }
        }
    }
}

fn matches(filter: Option<&What>, key: &[u8], tags: &[Box<str>]) -> bool {
    match (filter, Subject::of(key, tags)) {
        (Some(filter), Some(subject)) => filter.matches(&subject),
        (filter, _) => filter.is_none(),
    }
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
