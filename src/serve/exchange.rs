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
//! The hit path never awaits: what comes after a miss is a boxed future of its own, so
//! that the state a hit carries stays small.

use std::sync::Arc;

use http::{Request, Response, request};
use http_body::Body as _;
use hyper::body::Incoming;

use super::Shared;
use super::body::Body;
use super::log::Meter;
use super::routing::{Place, Routing};
use super::{answer, deliver, miss, pass};
use crate::front::Connection;
use crate::rules::asked::{Asked, Scheme};
use crate::rules::door;
use crate::rules::entry::{Entry, Slot};
use crate::rules::fault::Fault;
use crate::rules::forward;
use crate::rules::key::{Key, key_of};
use crate::rules::normalise::normalise;
use crate::rules::outcome::{Fwd, Outcome, Source};
use crate::rules::plan::{Plan, Question, plan};

/// What the steps of an exchange share.
pub(super) struct Visit {
    pub shared: Arc<Shared>,
    pub routing: Arc<Routing>,
    pub conn: Arc<Connection>,
    pub place: Place,
    pub asked: Asked,
    /// Request head, normalised by the site's policy.
    pub parts: request::Parts,
    pub meter: Meter,
}

/// Answers one request.
pub(super) async fn exchange(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    conn: Arc<Connection>,
) -> Response<Body> {
    let mut meter = Meter::start(shared, &conn);
    let (mut parts, body) = request.into_parts();
    let routing = shared.routing.load_full();
    let (asked, place) = match receive(&routing, &conn, &parts, &mut meter) {
        Ok(received) => received,
        Err(fault) => return answer::fault(&routing.node, fault, meter),
    };
    meter.heard(&asked, &parts);
    meter.routed(&place.site);
    if let (Some(port), Scheme::Http) = (place.site.redirect_https, asked.scheme) {
        return answer::redirect_https(&routing.node, &asked, port, meter);
    }
    let policy = place.policy();
    normalise(&mut parts.headers, policy);
    let key = key_of(shared.seed, &asked, &policy.query);
    let visit = Visit { shared: shared.clone(), routing, conn, place, asked, parts, meter };
    if forward::wants_upgrade(&visit.parts.method, &visit.parts.headers) {
        return Box::pin(pass::pass(visit, key, body, Fwd::Bypass)).await;
    }
    let (slot, source) = match shared.lookup(&key) {
        Some(slot) => (Some(slot), Source::Memory),
        None if shared.on_disk(&key) => (shared.lookup_disk(&key).await, Source::Disk),
        None => (None, Source::Memory),
    };
    decide(visit, key, slot, source, body).await
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
    let early = conn.tls.as_ref().is_some_and(|tls| tls.early_data);
    if early && !asked.is_safe() {
        return Err(Fault::TooEarly);
    }
    let place = routing.place(&asked).ok_or(Fault::Misdirected)?;
    Ok((asked, place))
}

async fn decide(
    visit: Visit,
    key: Key,
    slot: Option<Slot>,
    source: Source,
    body: Incoming,
) -> Response<Body> {
    let now = visit.shared.clock.now();
    let question = Question {
        method: &visit.parts.method,
        headers: &visit.parts.headers,
        has_body: !body.is_end_stream(),
        policy: visit.place.policy(),
        now,
    };
    match plan(&question, slot.as_ref()) {
        Plan::Hit(entry) => hit(visit, &entry, source),
        Plan::StaleHit(entry) => {
            miss::refresh(&visit, &key, &entry);
            hit(visit, &entry, source)
        }
        Plan::Pass(fwd) => Box::pin(pass::pass(visit, key, body, fwd)).await,
        Plan::Refuse(fault) => {
            let Visit { routing, meter, .. } = visit;
            answer::fault(&routing.node, fault, meter)
        }
        wanting => Box::pin(miss::miss(visit, key, wanting, source)).await,
    }
}

/// Serves a stored entry without asking anybody.
pub(super) fn hit(visit: Visit, entry: &Arc<Entry>, source: Source) -> Response<Body> {
    let ttl = entry.freshness.ttl_ms(visit.shared.clock.now()).div_euclid(1000);
    let outcome = Outcome { hit: true, ttl: Some(ttl), source, ..Outcome::default() };
    deliver::stored(visit, entry, outcome)
}
