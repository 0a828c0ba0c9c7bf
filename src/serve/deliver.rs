//! From an entry to the client: preconditions, ranges, head, body.
//!
//! The same steps for a body that is stored and for one that is still on its way in. In
//! the order of RFC 9110 13.2.2: preconditions first, then the range, then the method.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};

use super::body::Body;
use super::pieces::{PieceBody, Segment};
use super::visit::Visit;
use crate::rules::entry::{Entry, Extent};
use crate::rules::outcome::{Outcome, Source};
use crate::rules::partial;
use crate::rules::range::{self, Span, Wanted};
use crate::rules::respond::{self, Dress};
use crate::rules::validate::{self, Validators, Verdict};
use crate::store::spool::Reader;

/// Answers from a stored entry.
pub(super) fn stored(visit: &mut Visit, entry: &Arc<Entry>, outcome: Outcome) -> Response<Body> {
    deliver(visit, entry, Held::Stored, outcome)
}

/// Answers from an entry that has just come in whole.
pub(super) fn landed(visit: &mut Visit, entry: &Arc<Entry>, outcome: Outcome) -> Response<Body> {
    deliver(visit, entry, Held::Landed, outcome)
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

/// Answers from a manifest: `body` finds its pieces.
pub(super) fn pieces(
    visit: &mut Visit,
    manifest: &Arc<Entry>,
    body: PieceBody,
    outcome: Outcome,
) -> Response<Body> {
    deliver(visit, manifest, Held::Pieces(body), outcome)
}

/// Which bytes of `entry` the answer to this request will carry; none if it has no body.
pub(super) fn bytes_wanted(visit: &Visit, entry: &Entry) -> Vec<Span> {
    let (method, fields) = (&visit.parts.method, &visit.parts.headers);
    let full = !validate::is_conditional(fields)
        || validate::evaluate(method, fields, &Validators::of_head(&entry.head)) == Verdict::Full;
    let total = entry.content_len();
    if *method == Method::HEAD || !full || total == 0 {
        return Vec::new();
    }
    match range::wanted(method, fields, entry, total) {
        Wanted::Whole => vec![Span { first: 0, last: total - 1 }],
        Wanted::One(span) => vec![span],
        Wanted::Many(spans) => spans,
        Wanted::Unsatisfiable => Vec::new(),
    }
}

/// Whether a part on its way in holds the range that this client wants.
pub(super) fn suits(visit: &Visit, head: &Entry) -> bool {
    let (method, fields) = (&visit.parts.method, &visit.parts.headers);
    head.is_whole()
        || (range::if_range_holds(fields, head)
            && partial::cut(method, fields, head.extent).is_some())
}

/// Where the body is.
enum Held {
    Stored,
    /// The same, as news of the origin's.
    Landed,
    Pieces(PieceBody),
    Coming {
        reader: Reader,
        total: Option<u64>,
    },
}

impl Held {
    /// Length of what is held, if known.
    fn len(&self, entry: &Entry) -> Option<u64> {
        match self {
            Held::Stored | Held::Landed | Held::Pieces(_) => Some(entry.content_len()),
            Held::Coming { total, .. } => *total,
        }
    }

    /// The bytes `skip..skip + left` of what is held; all of it if `left` is `None`.
    fn body(self, entry: &Arc<Entry>, skip: u64, left: Option<u64>) -> Body {
        match self {
            Held::Stored | Held::Landed => {
                Body::stored(entry, skip, left.unwrap_or(entry.body_len()))
            }
            Held::Coming { reader, .. } => Body::spool(reader, skip, left),
            Held::Pieces(body) => {
                let left = left.unwrap_or(entry.content_len()).max(1);
                let span = Span { first: skip, last: skip.saturating_add(left - 1) };
                Body::pieces(body.of(vec![Segment::Bytes(span)]))
            }
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
    // What has just come from the origin is its own answer and carries its own age.
    let news = matches!(held, Held::Landed)
        || matches!(held, Held::Pieces(_)) && matches!(outcome.fwd_status, Some(200 | 206));
    let ((status, mut fields), body) = choose(visit, entry, held, &dress);
    if news && fields.get(header::AGE).is_some_and(|age| age == "0") {
        fields.remove(header::AGE);
    }
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
        Extent::Whole | Extent::Pieces { .. } => (0, held.len(entry)),
        Extent::Part { first, total, .. } => (first, total),
    };
    if let (Held::Coming { .. }, Extent::Part { first, .. }) = (&held, entry.extent) {
        // A part on its way in is the range that this client asked for, or a wider one.
        return match partial::cut(method, fields, entry.extent) {
            Some(span) if entry.extent.held() != Some((span.first, span.last)) => {
                let body = held.body(entry, span.first - first, Some(span.len()));
                (respond::partial(entry, span, total, dress), body)
            }
            _ => all(entry, held, dress),
        };
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
    if let Held::Pieces(body) = held {
        let mut segments = Vec::with_capacity(spans.len() * 2 + 1);
        for (span, opening) in spans.iter().zip(multipart.openings) {
            segments.push(Segment::Text(Bytes::from(opening)));
            segments.push(Segment::Bytes(*span));
        }
        segments.push(Segment::Text(Bytes::from(multipart.closing)));
        return (multipart.head, Body::pieces(body.of(segments)));
    }
    let mut parts: Vec<Bytes> = Vec::with_capacity(spans.len() * 2 + 1);
    for (span, opening) in spans.iter().zip(multipart.openings) {
        parts.push(Bytes::from(opening));
        let skip = span.first.saturating_sub(first);
        parts.extend(partial::slice(&entry.body, skip, span.len()));
    }
    parts.push(Bytes::from(multipart.closing));
    (multipart.head, Body::parts(parts))
}

/// Serves a stored entry without asking anybody.
pub(super) fn hit(visit: &mut Visit, entry: &Arc<Entry>, source: Source) -> Response<Body> {
    let ttl = entry.freshness.ttl_ms(visit.now).div_euclid(1000);
    let outcome = Outcome { hit: true, ttl: Some(ttl), source, ..Outcome::default() };
    stored(visit, entry, outcome)
}
