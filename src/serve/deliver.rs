//! From an entry to the client: preconditions, ranges, head, body.
//!
//! The same steps for a body that is stored and for one that is still on its way in. In
//! the order of RFC 9110 13.2.2: preconditions first, then the range, then the method.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};

use super::body::Body;
use super::exchange::Visit;
use crate::rules::entry::{Entry, Extent};
use crate::rules::outcome::Outcome;
use crate::rules::range::{self, Span, Wanted};
use crate::rules::respond::{self, Dress};
use crate::rules::validate::{self, Validators, Verdict};
use crate::store::spool::Reader;

/// Answers from a stored entry.
pub(super) fn stored(visit: &mut Visit, entry: &Arc<Entry>, outcome: Outcome) -> Response<Body> {
    deliver(visit, entry, Held::Stored, outcome)
}

/// Answers from an entry whose body is on its way in: `total` is its length if the origin
/// has announced it.
pub(super) fn streaming(
    visit: &mut Visit,
    head: &Arc<Entry>,
    (reader, total): (Reader, Option<u64>),
    outcome: Outcome,
) -> Response<Body> {
    deliver(visit, head, Held::Coming { reader, total }, outcome)
}

/// Where the body is.
enum Held {
    Stored,
    Coming { reader: Reader, total: Option<u64> },
}

impl Held {
    /// Length of what is held, if known.
    fn len(&self, entry: &Entry) -> Option<u64> {
        match self {
            Held::Stored => Some(entry.body_len()),
            Held::Coming { total, .. } => *total,
        }
    }

    /// The bytes `skip..skip + left` of what is held; all of it if `left` is `None`.
    fn body(self, entry: &Arc<Entry>, skip: u64, left: Option<u64>) -> Body {
        match self {
            Held::Stored => Body::stored(entry, skip, left.unwrap_or(entry.body_len())),
            Held::Coming { reader, .. } => Body::spool(reader, skip, left),
        }
    }
}

fn deliver(visit: &mut Visit, entry: &Arc<Entry>, held: Held, outcome: Outcome) -> Response<Body> {
    // A hit is answered at the time it came; after a wait it is later.
    let now = if outcome.hit { visit.now } else { visit.shared.clock.now() };
    let mut meter = visit.meter();
    meter.object(visit.hash, entry, held.len(entry));
    let dress = Dress {
        node: &visit.routing.node,
        via: &visit.routing.via,
        policy: visit.place.policy(),
        now,
        outcome: &outcome,
    };
    let ((status, fields), body) = choose(visit, entry, held, &dress);
    let is_head = visit.parts.method == Method::HEAD;
    let body = if is_head { Body::empty() } else { body };
    meter.answered(status.as_u16(), outcome);
    let mut response = Response::new(body.metered(meter));
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

type Chosen = ((StatusCode, HeaderMap), Body);

fn choose(visit: &Visit, entry: &Arc<Entry>, held: Held, dress: &Dress<'_>) -> Chosen {
    let (method, fields) = (&visit.parts.method, &visit.parts.headers);
    if entry.head.status.is_success() && validate::is_conditional(fields) {
        match validate::evaluate(method, fields, &Validators::of_head(&entry.head)) {
            Verdict::Full => {}
            Verdict::NotModified => return (respond::not_modified(entry, dress), Body::empty()),
            Verdict::PreconditionFailed => {
                let (_, mut fields) = respond::not_modified(entry, dress);
                fields.insert(header::CONTENT_LENGTH, HeaderValue::from(0u64));
                return ((StatusCode::PRECONDITION_FAILED, fields), Body::empty());
            }
        }
    }
    let (first, total) = match entry.extent {
        Extent::Whole => (0, held.len(entry)),
        Extent::Part { first, total, .. } => (first, total),
    };
    // A part on its way in is the very range that this client asked for.
    if matches!((&held, entry.extent), (Held::Coming { .. }, Extent::Part { .. })) {
        return all(entry, held, dress);
    }
    let rangeable = matches!(entry.head.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    if !(rangeable && fields.contains_key(header::RANGE)) {
        return all(entry, held, dress);
    }
    let Some(total) = total else { return all(entry, held, dress) };
    match range::wanted(method, fields, entry, total) {
        Wanted::Whole => all(entry, held, dress),
        Wanted::Unsatisfiable => (respond::unsatisfiable(entry, total, dress), Body::empty()),
        Wanted::One(span) => match within(span, first, held.len(entry)) {
            Some(skip) => {
                let body = held.body(entry, skip, Some(span.len()));
                (respond::partial(entry, span, Some(total), dress), body)
            }
            None => all(entry, held, dress),
        },
        Wanted::Many(spans) => many(entry, &spans, (first, total), held, dress),
    }
}

/// Offset of `span` in what is held, if all of it is held.
fn within(span: Span, first: u64, held: Option<u64>) -> Option<u64> {
    let skip = span.first.checked_sub(first)?;
    (skip + span.len() <= held?).then_some(skip)
}

/// All that is held: the whole, or a stored part as it is.
fn all(entry: &Arc<Entry>, held: Held, dress: &Dress<'_>) -> Chosen {
    let (status, mut fields) = respond::full(entry, dress);
    if let Held::Coming { total, .. } = &held {
        as_received(entry, *total, &mut fields);
    }
    let left = held.len(entry);
    let body = held.body(entry, 0, left);
    ((status, fields), body)
}

/// An answer on its way in goes out as the origin gave it: its own range, its length only
/// if it was announced, an `Age` only if it is not the origin's own fresh answer.
fn as_received(entry: &Entry, total: Option<u64>, fields: &mut HeaderMap) {
    match total {
        Some(total) => fields.insert(header::CONTENT_LENGTH, HeaderValue::from(total)),
        None => fields.remove(header::CONTENT_LENGTH),
    };
    let said = entry.head.find(&header::CONTENT_RANGE);
    if let Some(said) = said.and_then(|said| HeaderValue::from_bytes(said).ok()) {
        fields.insert(header::CONTENT_RANGE, said);
    }
    if fields.get(header::AGE).is_some_and(|age| age == "0") {
        fields.remove(header::AGE);
    }
}

/// Several ranges of a stored whole. While the body is still coming in they cannot be cut
/// out in any order, so the whole is sent, which RFC 9110 14.2 allows.
fn many(
    entry: &Arc<Entry>,
    spans: &[Span],
    (first, total): (u64, u64),
    held: Held,
    dress: &Dress<'_>,
) -> Chosen {
    let inside = spans.iter().all(|span| within(*span, first, held.len(entry)).is_some());
    if !inside || matches!(held, Held::Coming { .. }) {
        return all(entry, held, dress);
    }
    let boundary = format!("{:032x}", rand::random::<u128>());
    let multipart = respond::multipart(entry, spans, total, &boundary, dress);
    let mut parts: Vec<Bytes> = Vec::with_capacity(spans.len() * 2 + 1);
    for (span, opening) in spans.iter().zip(multipart.openings) {
        parts.push(Bytes::from(opening));
        let skip = span.first.saturating_sub(first);
        parts.extend(crate::rules::partial::slice(&entry.body, skip, span.len()));
    }
    parts.push(Bytes::from(multipart.closing));
    (multipart.head, Body::parts(parts))
}
