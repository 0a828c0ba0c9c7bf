//! Requests in which the cache has no part, and answers that are for one client alone.
//!
//! The body streams through in both directions; if either side fails the other sees an
//! abort, never a clean end. What an unsafe method changed is dropped from the cache
//! before its answer goes out (RFC 9111 4.4).

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, response};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::body::{self, Body};
use super::order::Relayed;
use super::visit::{Sent, Visit};
use super::{answer, interim, upgrade};
use crate::base::Now;
use crate::front::BrokenBody;
use crate::origin::{OriginBody, OriginFault, Outgoing};
use crate::rules::control::ResponseControl;
use crate::rules::fault::Fault;
use crate::rules::forward::{self, Purpose};
use crate::rules::invalidate::invalidated;
use crate::rules::key::Key;
use crate::rules::outcome::{Fwd, Outcome};
use crate::rules::respond::{self, Dress};
use crate::rules::settle::AnswerHead;
use crate::rules::trailer;
use crate::telemetry::Event;

/// Why the client's body failed, if it did: too slow, too large, badly framed or cut.
type Broken = Arc<OnceLock<Fault>>;

/// Passes the request on, with its body.
pub(super) async fn pass(visit: Visit, key: Key, body: Sent, fwd: Fwd) -> Response<Body> {
    let Some(body) = body.filter(|body| !body.is_end_stream()) else {
        return send(visit, key, (Outgoing::empty(), None), fwd, None).await;
    };
    let broken: Broken = Arc::default();
    let note = broken.clone();
    let body = body.map_frame(body::swept).map_err(move |error| {
        // Set once: a body fails once.
        let _ = note.set(BrokenBody::fault_of(&error));
        error
    });
    send(visit, key, (Outgoing::stream(body), Some(broken)), fwd, None).await
}

/// Asks for this client alone, because the flight it followed had nothing for it.
pub(super) async fn alone(
    visit: Visit,
    key: Key,
    fwd: Fwd,
    detail: Option<&'static str>,
) -> Response<Body> {
    Box::pin(send(visit, key, (Outgoing::empty(), None), fwd, detail)).await
}

async fn send(
    mut visit: Visit,
    key: Key,
    (body, broken): (Outgoing, Option<Broken>),
    fwd: Fwd,
    detail: Option<&'static str>,
) -> Response<Body> {
    let hop = visit.routing.hop(visit.conn.peer);
    let upgrades = forward::wants_upgrade(&visit.parts.method, &visit.parts.headers);
    let purpose = if upgrades { Purpose::Upgrade } else { Purpose::Pass };
    let site = &visit.place.site;
    let forwarded = forward::forward(&visit.parts, &visit.asked, site, purpose, &hop);
    let mut outcome = Outcome { fwd: Some(fwd), detail, ..Outcome::default() };
    let Some(group) = visit.routing.origin(&visit.place.site.origin).cloned() else {
        let fault = Fault::BadGateway("the site's origin is not configured");
        let meter = visit.meter();
        return answer::origin_fault(&visit.routing.node, fault, outcome, meter);
    };
    let requested_at = visit.shared.clock.now();
    let context = visit.routing.send_context(&key, visit.conn.peer, visit.conn.local);
    let body = interim::pass_on(body, &visit.parts, &visit.conn);
    let request = Request::from_parts(forwarded, body);
    let answered = group.send(request, &context).await;
    visit.shared.asked(&visit.place.site.origin, &answered);
    let answer = match answered {
        Ok(answer) => answer,
        Err(fault) => {
            let meter = visit.meter();
            let client = broken.filter(|_| fault == OriginFault::ClientBody);
            let client = client.and_then(|broken| broken.get().copied());
            let fault = client.unwrap_or_else(|| fault.fault());
            return answer::origin_fault(&visit.routing.node, fault, outcome, meter);
        }
    };
    let received_at = visit.shared.clock.now();
    let extra = Extra { stick: answer.stick, closes: answer.early && !visit.conn.http2 };
    let (head, body) = answer.response.into_parts();
    outcome.fwd_status = Some(head.status.as_u16());
    invalidate(&visit, &head);
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return upgrade::switch(visit, head, outcome);
    }
    finish(visit, (head, body), (requested_at, received_at), outcome, extra)
}

/// What this node adds to an answer that it passes on.
struct Extra {
    /// The cookie that keeps the client with its server.
    stick: Option<String>,
    /// The connection closes after it, because the rest of the request is not taken
    /// (RFC 9112 9.6: who closes says so).
    closes: bool,
}

/// What an unsafe method changed is dropped before its answer goes out (RFC 9111 4.4).
fn invalidate(visit: &Visit, head: &response::Parts) {
    let query = &visit.place.policy().query;
    let seed = visit.shared.seed;
    for key in invalidated(seed, &visit.asked, query, head.status, &head.headers) {
        visit.shared.invalidate(&key);
    }
}

/// Hands an answer that may not be shared to the client whose request brought it.
pub(super) fn relay(visit: Visit, relayed: Relayed, fwd: Fwd) -> Response<Body> {
    let Relayed { head, body, requested_at, received_at, why, stick } = relayed;
    let outcome = Outcome {
        fwd: Some(fwd),
        fwd_status: Some(head.status.as_u16()),
        detail: Some(why.reason),
        ..Outcome::default()
    };
    visit.shared.telemetry.counters.note(Event::Uncacheable, &[why.reason], 1);
    let extra = Extra { stick, closes: false };
    finish(visit, (head, body), (requested_at, received_at), outcome, extra)
}

/// Whether an answer that is not stored here would not be stored by caches between here
/// and the client either: only there may a cookie be added to it.
fn is_private(visit: &Visit, fields: &HeaderMap) -> bool {
    if !visit.asked.is_safe() {
        return true;
    }
    let control = ResponseControl::of(fields);
    let lasts = control.public || control.max_age.is_some() || control.s_maxage.is_some();
    control.private || control.no_store || control.no_cache || !lasts
}

fn finish(
    mut visit: Visit,
    (head, body): (response::Parts, OriginBody),
    (requested_at, received_at): (Now, Now),
    outcome: Outcome,
    extra: Extra,
) -> Response<Body> {
    let answer =
        AnswerHead { status: head.status, headers: &head.headers, requested_at, received_at };
    let routing = visit.routing.clone();
    let dress = Dress {
        node: &routing.node,
        via: &routing.via,
        policy: visit.place.policy(),
        now: received_at,
        outcome: &outcome,
    };
    let mut fields = respond::relay(&answer, &dress);
    let wanted = trailer::are_wanted(&visit.parts.headers);
    if let Some(announced) = trailer::announced(&head.headers).filter(|_| wanted) {
        fields.insert(header::TRAILER, announced);
    }
    if let Some(cookie) = extra.stick.filter(|_| is_private(&visit, &fields)) {
        let secure = if visit.conn.tls.is_some() { "; Secure" } else { "" };
        if let Ok(cookie) = HeaderValue::try_from(format!("{cookie}{secure}")) {
            fields.append(header::SET_COOKIE, cookie);
        }
    }
    if extra.closes {
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let mut meter = visit.meter();
    meter.answered(head.status.as_u16(), outcome);
    let mut response = Response::new(Body::relay(body).metered(meter));
    *response.status_mut() = head.status;
    *response.headers_mut() = fields;
    response
}
