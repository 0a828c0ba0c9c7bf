//! Plain requests for what is in memory, answered where they were read (`front::straight`).
//!
//! The same decisions by the same rules as in `exchange`, on what HTTP/1's guard or h2 has read:
//! place, key, purges, plan, head. Whatever is not simply a hit leaves no trace, not even a
//! hit in the memory tier's books, and takes the long way. That both ways give the same
//! answer is a scenario.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};

use super::Shared;
use super::log::Object;
use super::pieces::PieceBody;
use super::straight_pieces::{self, Seen};
use crate::base::Now;
use crate::base::clock::instant;
use crate::front::{Connection, Plain, Ready};
use crate::rules::asked::{Asked, Scheme};
use crate::rules::entry::{Entry, Slot};
use crate::rules::fault::Fault;
use crate::rules::ledger::Verdict;
use crate::rules::outcome::{Outcome, Source};
use crate::rules::plan::{Plan, Question, plan};
use crate::rules::respond::Dress;
use crate::rules::site::{Policy, Site};
use crate::rules::{key, respond_map, respond_text, straight};
use crate::telemetry::Exchange;

/// A hit whose head is written, and what will be told about it.
pub struct Standing {
    hash: u128,
    entry: Arc<Entry>,
    site: Arc<Site>,
    asked: Asked,
    outcome: Outcome,
    /// The body of an object in pieces.
    pieces: Option<Box<PieceBody>>,
    started: Instant,
    now: Now,
}

impl Ready for Standing {
    fn body(&self) -> &[Bytes] {
        &self.entry.body
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        match &mut self.pieces {
            Some(pieces) => pieces.poll_next(cx),
            None => Poll::Ready(None),
        }
    }
}

/// The answer, if it is a hit in memory.
pub(super) fn ready(
    shared: &Arc<Shared>,
    plain: &Plain<'_>,
    conn: &Arc<Connection>,
    head: &mut Vec<u8>,
) -> Option<Standing> {
    let asked = |scheme| straight::asked(plain.target, plain.host, scheme);
    let values = |name: &str, line: &mut dyn FnMut(&[u8])| plain.values(name).for_each(line);
    let write = |entry: &Entry, dress: &Dress<'_>| {
        head.reserve(HEAD_ROOM);
        respond_text::full(entry, dress, head).then_some(())
    };
    let open = |seen: Seen<'_>, entry: &Arc<Entry>| {
        straight_pieces::open(shared, plain, conn, seen, entry)
    };
    Some(stand((shared, conn), asked, values, open, write)?.0)
}

/// The same for a request of HTTP/2.
pub(super) fn ready_http2(
    shared: &Shared,
    parts: &Parts,
    conn: &Connection,
) -> Option<(Response<()>, Standing)> {
    let asked = |scheme| straight::asked_http2(parts, scheme);
    let values = |name: &str, line: &mut dyn FnMut(&[u8])| {
        parts.headers.get_all(name).iter().for_each(|value| line(value.as_bytes()));
    };
    // Pieces come by way of an exchange: their sending waits, and is a task in any case.
    let open = |_: Seen<'_>, _: &Arc<Entry>| None;
    let (standing, head) = stand((shared, conn), asked, values, open, respond_map::full)?;
    Some((head, standing))
}

/// Finds the entry and has its head written, unless there is more to it than that.
fn stand<T>(
    (shared, conn): (&Shared, &Connection),
    asked: impl FnOnce(Scheme) -> Option<Asked>,
    values: impl Fn(&str, &mut dyn FnMut(&[u8])),
    open: impl FnOnce(Seen<'_>, &Arc<Entry>) -> Option<(PieceBody, Source)>,
    write: impl FnOnce(&Entry, &Dress<'_>) -> Option<T>,
) -> Option<(Standing, T)> {
    let started = instant();
    let now = shared.clock.at(started);
    let routing = shared.routing.load();
    let scheme = if conn.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let asked = asked(scheme)?;
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
    let entry = fresh(values, &slot, policy, now)?;
    let ttl = entry.freshness.ttl_ms(now).div_euclid(1000);
    let mut source = Source::Memory;
    let mut pieces = None;
    if entry.in_pieces() {
        let seen = Seen { routing: &routing, place: &place, asked: &asked, key: &key };
        let (body, first) = open(seen, &entry)?;
        (pieces, source) = (Some(Box::new(body)), first);
    }
    let outcome = Outcome { hit: true, ttl: Some(ttl), source, ..Outcome::default() };
    let dress = Dress { node: &routing.node, via: &routing.via, policy, now, outcome: &outcome };
    let written = write(&entry, &dress)?;
    shared.memory.count_hit(&key);
    let hash = key.hash();
    let site = place.site;
    let standing = Standing { hash, entry, site, asked, outcome, pieces, started, now };
    Some((standing, written))
}

/// The entry that answers as it is.
fn fresh(
    values: impl Fn(&str, &mut dyn FnMut(&[u8])),
    slot: &Slot,
    policy: &Policy,
    now: Now,
) -> Option<Arc<Entry>> {
    let headers = straight::selecting(slot, policy, values)?;
    let method = &Method::GET;
    let question = Question { method, headers: &headers, has_body: false, policy, now };
    match plan(&question, Some(slot)) {
        Plan::Hit(entry) => Some(entry),
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
        http2: conn.http2,
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
