//! The journey of one request; the only branch points are here.
//!
//! ```text
//! Received > Routed > Keyed > LookedUp > PLAN --Hit-----------------> Delivering
//!                                         |----StaleHit--> Delivering (+ refresh)
//!                                         |----Revalidate, Miss --> Joining --Lead---> fetch
//!                                         |                         '--Follow--> Waiting
//!                                         |----Pass--> pass (no flight, no store)
//!                                         '----Refuse--> answer
//! ```
//! The hit path is no future at all: what has to wait for somebody is boxed, so that the
//! future of every exchange, which is moved about, stays small.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response, request};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::Shared;
use super::body::Body;
use super::log::Meter;
use super::routing::{Place, Routing};
use super::visit::{Sent, Visit, decide};
use super::{answer, deliver, miss, pass, pieces, purge};
use crate::front::{Answering, Connection, Upload};
use crate::rules::asked::{Asked, Scheme};
use crate::rules::door;
use crate::rules::entry::Slot;
use crate::rules::fault::Fault;
use crate::rules::forward;
use crate::rules::key::{Key, key_of};
use crate::rules::normalise::normalise;
use crate::rules::outcome::{Fwd, Source};
use crate::rules::plan::Plan;

/// What the first look at a request comes to.
enum First {
    Answer(Response<Body>),
    /// Somebody has to be waited for.
    Later(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl First {
    fn later(answer: impl Future<Output = Response<Body>> + Send + 'static) -> Self {
        First::Later(Box::pin(answer))
    }

    async fn answer(self) -> Response<Body> {
        match self {
            First::Answer(response) => response,
            First::Later(later) => later.await,
        }
    }
}

/// Answers one request.
pub(super) async fn exchange(
    shared: &Arc<Shared>,
    request: Request<Upload>,
    conn: Arc<Connection>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    first(shared, parts, Some(body), conn).answer().await
}

/// Answers one request without a body.
pub(super) fn plain(
    shared: &Arc<Shared>,
    parts: request::Parts,
    conn: Arc<Connection>,
) -> Answering<Body> {
    match first(shared, parts, None, conn) {
        First::Answer(response) => Box::pin(ready(response)),
        First::Later(later) => later,
    }
}

fn first(
    shared: &Arc<Shared>,
    mut parts: request::Parts,
    body: Sent,
    conn: Arc<Connection>,
) -> First {
    let mut meter = Meter::start(shared, &conn);
    // What is known to have no body has none from here on.
    let body = body.filter(|body| !body.is_end_stream());
    let routing = shared.routing.load_full();
    let (asked, place) = match receive(&routing, &conn, &parts, &mut meter) {
        Ok(received) => received,
        Err(Fault::MethodNotAllowed) if parts.method.as_str() == "PURGE" => {
            let shared = shared.clone();
            return First::later(async move {
                purge::purge(&shared, &routing, &conn, parts, meter).await
            });
        }
        Err(fault) => return First::Answer(answer::fault(&routing.node, fault, meter)),
    };
    meter.routed(&place.site);
    if let (Some(port), Scheme::Http) = (place.site.redirect_https, asked.scheme) {
        return First::Answer(answer::redirect_https(&routing.node, &asked, port, meter));
    }
    if forward::is_last_hop(&parts) {
        return First::Answer(answer::options(&routing.node, meter));
    }
    let policy = place.policy();
    normalise(&mut parts.headers, policy);
    let key = key_of(shared.seed, &asked, &policy.query);
    let (shared, now) = (shared.clone(), meter.now());
    let (meter, parts) = (Some(meter), Arc::new(parts));
    let hash = key.hash();
    let visit = Visit { shared, routing, conn, place, asked, hash, parts, now, meter };
    if forward::wants_upgrade(&visit.parts.method, &visit.parts.headers) {
        return First::later(pass::pass(visit, key, body, Fwd::Bypass));
    }
    // Said to be empty, but not ended: HTTP/1 would be told that it is whole before the client
    // has shown that it is (RFC 9113 8.1.1).
    match body {
        Some(body) if visit.conn.http2 && body.size_hint().upper() == Some(0) => {
            First::later(unproven(visit, key, body))
        }
        body => look_up(visit, key, body),
    }
}

/// A request whose body is said to be empty.
async fn unproven(mut visit: Visit, key: Key, mut body: Upload) -> Response<Body> {
    if !ends_empty(&mut body).await {
        return visit.fail(Fault::BadRequest("the body is longer than Content-Length"));
    }
    look_up(visit, key, Some(body)).answer().await
}

fn look_up(visit: Visit, key: Key, body: Sent) -> First {
    let slot = visit.shared.lookup(&key);
    if slot.is_none() && visit.shared.on_disk(&key) {
        return First::later(async move {
            let slot = visit.shared.lookup_disk(&key).await;
            act(visit, key, body, slot, Source::Disk).answer().await
        });
    }
    act(visit, key, body, slot, Source::Memory)
}

fn act(mut visit: Visit, key: Key, body: Sent, slot: Option<Slot>, source: Source) -> First {
    let has_body = body.as_ref().is_some_and(|body| !body.is_end_stream());
    match decide(&visit, has_body, slot.as_ref()) {
        Plan::Hit(entry) if entry.in_pieces() => {
            First::later(pieces::hit(visit, key, entry, source))
        }
        Plan::StaleHit(entry) if entry.in_pieces() => {
            miss::refresh(&visit, &key, &entry);
            First::later(pieces::hit(visit, key, entry, source))
        }
        Plan::Hit(entry) => First::Answer(deliver::hit(&mut visit, &entry, source)),
        Plan::StaleHit(entry) => {
            miss::refresh(&visit, &key, &entry);
            First::Answer(deliver::hit(&mut visit, &entry, source))
        }
        Plan::Pass(fwd) => First::later(pass::pass(visit, key, body, fwd)),
        Plan::Refuse(fault) => First::Answer(visit.fail(fault)),
        wanting => First::later(miss::miss(visit, key, wanting, source)),
    }
}

/// Waits for the end of a body that has no bytes; `false` if it has, or is broken off.
async fn ends_empty(body: &mut Upload) -> bool {
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return false;
        }
    }
    true
}

/// Whether the request may be a replay of TLS early data, here or at a hop before us
/// (RFC 8470 5.1).
fn is_early(conn: &Connection, parts: &request::Parts) -> bool {
    conn.tls.as_ref().is_some_and(|tls| tls.early_data)
        || parts.headers.get("early-data").is_some_and(|value| value == "1")
}

/// The first two steps: is it one unambiguous request, and whose?
fn receive(
    routing: &Routing,
    conn: &Connection,
    parts: &request::Parts,
    meter: &mut Meter,
) -> Result<(Asked, Place), Fault> {
    let scheme = if conn.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let asked = door::admit(parts, &routing.arrival(scheme, conn.http2))?;
    meter.heard(&asked, parts);
    let outside = conn.tls.as_ref().is_some_and(|tls| !tls.covers(asked.host.as_str()));
    if outside {
        return Err(Fault::Misdirected);
    }
    if !asked.is_safe() && is_early(conn, parts) {
        return Err(Fault::TooEarly);
    }
    let place = routing.place(&asked).ok_or(Fault::Misdirected)?;
    Ok((asked, place))
}
