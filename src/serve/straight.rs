//! Plain requests for what is in memory, answered where they were read (`front::straight`).
//!
//! The same decisions by the same rules as in `exchange`, on what the guard has read:
//! place, key, purges, plan, head. Whatever is not simply a hit leaves no trace, not even a
//! hit in the memory tier's books, and takes the long way. That both ways give the same
//! answer is a scenario.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::Method;

use super::Shared;
use super::log::Object;
use crate::base::Now;
use crate::base::clock::instant;
use crate::front::{Connection, Plain, Ready};
use crate::rules::asked::{Asked, Scheme};
use crate::rules::entry::{Entry, Slot};
use crate::rules::ledger::Verdict;
use crate::rules::outcome::{Outcome, Source};
use crate::rules::plan::{Plan, Question, plan};
use crate::rules::respond::Dress;
use crate::rules::site::{Policy, Site};
use crate::rules::{key, respond_text, straight};
use crate::telemetry::Exchange;

/// A hit whose head is written, and what will be told about it.
pub struct Standing {
    hash: u128,
    entry: Arc<Entry>,
    site: Arc<Site>,
    asked: Asked,
    outcome: Outcome,
    started: Instant,
    now: Now,
}

impl Ready for Standing {
    fn body(&self) -> &[Bytes] {
        &self.entry.body
    }
}

/// The answer, if it is a hit in memory.
pub(super) fn ready(
    shared: &Shared,
    plain: &Plain<'_>,
    conn: &Connection,
    head: &mut Vec<u8>,
) -> Option<Standing> {
    let started = instant();
    let now = shared.clock.at(started);
    let routing = shared.routing.load();
    let scheme = if conn.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let asked = straight::asked(plain.target, plain.host, scheme)?;
    if conn.tls.as_ref().is_some_and(|tls| !tls.covers(asked.host.as_str())) {
        return None;
    }
    let place = routing.place(&asked)?;
    if place.site.redirect_https.is_some() && scheme == Scheme::Http {
        return None;
    }
    let policy = place.policy();
    let key = key::key_of(shared.seed, &asked, &policy.query);
    let slot = shared.memory.look(&key)?;
    if slot.variants.iter().any(|entry| shared.ledger.verdict(entry) == Verdict::Gone) {
        return None;
    }
    let entry = fresh(plain, &slot, policy, now)?;
    let ttl = entry.freshness.ttl_ms(now).div_euclid(1000);
    let source = Source::Memory;
    let outcome = Outcome { hit: true, ttl: Some(ttl), source, ..Outcome::default() };
    let dress = Dress { node: &routing.node, via: &routing.via, policy, now, outcome: &outcome };
    head.reserve(HEAD_ROOM);
    if !respond_text::full(&entry, &dress, head) {
        return None;
    }
    shared.memory.count_hit(&key);
    let hash = key.hash();
    Some(Standing { hash, entry, site: place.site, asked, outcome, started, now })
}

/// The entry that answers as it is.
fn fresh(plain: &Plain<'_>, slot: &Slot, policy: &Policy, now: Now) -> Option<Arc<Entry>> {
    let lines = |name: &str, line: &mut dyn FnMut(&[u8])| plain.values(name).for_each(line);
    let headers = straight::selecting(slot, policy, lines)?;
    let method = &Method::GET;
    let question = Question { method, headers: &headers, has_body: false, policy, now };
    match plan(&question, Some(slot)) {
        Plan::Hit(entry) if !entry.in_pieces() => Some(entry),
        _ => None,
    }
}

/// Tells about an answer that has left, or broke off.
pub(super) fn sent(
    shared: &Shared,
    standing: &Standing,
    plain: &Plain<'_>,
    conn: &Connection,
    (bytes, complete): (u64, bool),
) {
    let duration = instant().duration_since(standing.started);
    let asked = &standing.asked;
    let object = Object::of(standing.hash, &standing.entry, Some(standing.entry.body_len()));
    object.note(shared, bytes, standing.now);
    shared.telemetry.finished(&Exchange {
        now: standing.now.after(duration),
        peer: conn.peer,
        site: &standing.site.name,
        method: asked.method.as_str(),
        scheme: asked.scheme,
        host: asked.host.as_str(),
        target: asked.target.as_str(),
        http2: false,
        status: standing.entry.head.status.as_u16(),
        bytes,
        complete,
        duration,
        ttfb: duration,
        outcome: &standing.outcome,
        user_agent: plain.user_agent,
        referer: plain.referer,
        request_id: None,
    });
}

/// Room for a head and a short body behind it; made when it is known to be needed.
const HEAD_ROOM: usize = 2 << 10;
