//! Connections that turn into something else (RFC 9110 7.8): WebSocket and its like.
//!
//! Only after the origin's own 101 do bytes flow, in both directions, as they are.

use std::sync::Arc;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Response, StatusCode, response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::answer;
use super::body::Body;
use super::visit::Visit;
use crate::rules::fault::Fault;
use crate::rules::list;
use crate::rules::outcome::Outcome;
use crate::rules::respond::{self, Dress};
use crate::rules::settle::AnswerHead;

/// Answers 101 and joins both connections once the client's side has switched.
pub(super) fn switch(
    mut visit: Visit,
    mut head: response::Parts,
    outcome: Outcome,
) -> Response<Body> {
    // What is passed is nobody else's, so the head is held here alone.
    let client = Arc::get_mut(&mut visit.parts);
    let client = client.and_then(|parts| parts.extensions.remove::<OnUpgrade>());
    let origin = head.extensions.remove::<OnUpgrade>();
    // RFC 9110 7.8: only to what was asked for; h2c in its place would be a way around us.
    let mut named = list::all(&head.headers, &UPGRADE);
    let fits = named.next().is_some_and(|word| word.eq_ignore_ascii_case(b"websocket"));
    let fits = fits && named.next().is_none();
    let (Some(client), Some(origin), true) = (client, origin, fits) else {
        let fault = Fault::BadGateway("the origin switched protocols without being asked");
        let meter = visit.meter();
        return answer::origin_fault(&visit.routing.node, fault, outcome, meter);
    };
    tokio::spawn(async move {
        if let (Ok(client), Ok(origin)) = tokio::join!(client, origin) {
            let (mut client, mut origin) = (TokioIo::new(client), TokioIo::new(origin));
            // Either side may end the conversation at any time; there is nobody to tell.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut origin).await;
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let now = visit.shared.clock.now();
    let routing = visit.routing.clone();
    let dress = Dress {
        node: &routing.node,
        via: &routing.via,
        policy: visit.place.policy(),
        now,
        outcome: &outcome,
    };
    let answer = AnswerHead {
        status: head.status,
        headers: &head.headers,
        requested_at: now,
        received_at: now,
    };
    let fields = response.headers_mut();
    *fields = respond::relay(&answer, &dress);
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = head.headers.get(UPGRADE) {
        fields.insert(UPGRADE, protocol.clone());
    }
    let mut meter = visit.meter();
    meter.answered(StatusCode::SWITCHING_PROTOCOLS.as_u16(), outcome);
    *response.body_mut() = Body::empty().metered(meter);
    response
}
