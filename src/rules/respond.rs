//! The head that goes to the client: from a stored response, or from the origin's answer
//! that is passed on.
//!
//! Stored heads are already clean; what is added is `Age` (RFC 9111 5.1), `Via` (RFC 9110
//! 7.6.3), `Cache-Status` (RFC 9211) and the length. `Date` and `Expires` stay as the
//! origin wrote them. `CDN-Cache-Control` stays too: another CDN may stand between us and
//! the client (RFC 9213 3.1). Purge tags are stripped.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::entry::Entry;
use super::hop;
use super::lifetime::AnswerHead;
use super::outcome::Outcome;
use super::range::Span;
use super::site::Policy;
use super::storable;
use crate::base::Now;

/// What every head needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Dress<'a> {
    /// The node's name: a token, for `Via` and `Cache-Status`.
    pub node: &'a str,
    /// `1.1 node`, made once.
    pub via: &'a HeaderValue,
    /// What applies to the request.
    pub policy: &'a Policy,
    /// The time.
    pub now: Now,
    /// The story so far.
    pub outcome: &'a Outcome,
}

/// A whole stored response (or a stored part as it is): status and fields.
pub fn full(entry: &Entry, dress: &Dress<'_>) -> (StatusCode, HeaderMap) {
    let mut fields = stored(entry, dress);
    if has_content(entry.head.status) {
        put_number(&mut fields, header::CONTENT_LENGTH, entry.content_len());
    }
    (entry.head.status, fields)
}

/// A 304 from a stored response: what RFC 9110 15.4.5 asks for, and our own fields.
pub fn not_modified(entry: &Entry, dress: &Dress<'_>) -> (StatusCode, HeaderMap) {
    let mut fields = stored(entry, dress);
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_RANGE,
        header::LAST_MODIFIED,
    ] {
        // Representation metadata only without a strong validator (15.4.5).
        if name != header::LAST_MODIFIED || fields.contains_key(header::ETAG) {
            fields.remove(name);
        }
    }
    (StatusCode::NOT_MODIFIED, fields)
}

/// A 206 with one range of a representation of `total` bytes.
pub fn partial(
    entry: &Entry,
    span: Span,
    total: Option<u64>,
    dress: &Dress<'_>,
) -> (StatusCode, HeaderMap) {
    let mut fields = stored(entry, dress);
    // A part that goes out as it came keeps the range as the origin wrote it.
    let as_it_came = entry.extent.held() == Some((span.first, span.last));
    if !(as_it_came && fields.contains_key(header::CONTENT_RANGE)) {
        put_content_range(&mut fields, span, total);
    }
    put_number(&mut fields, header::CONTENT_LENGTH, span.len());
    (StatusCode::PARTIAL_CONTENT, fields)
}

/// A 206 with several ranges: the head, and the text before each part and at the end.
pub struct Multipart {
    /// Status and fields.
    pub head: (StatusCode, HeaderMap),
    /// What precedes each part's bytes, in the order of the spans.
    pub openings: Vec<String>,
    /// What follows the last part.
    pub closing: String,
}

/// Prepares a multipart/byteranges answer (RFC 9110 14.6). `boundary` is a token that the
/// caller draws at random, so that no body can imitate it.
pub fn multipart(
    entry: &Entry,
    spans: &[Span],
    total: u64,
    boundary: &str,
    dress: &Dress<'_>,
) -> Multipart {
    let mut fields = stored(entry, dress);
    let kind = fields.remove(header::CONTENT_TYPE);
    let kind = kind.as_ref().and_then(|value| value.to_str().ok());
    let kind = kind.map(|kind| format!("Content-Type: {kind}\r\n")).unwrap_or_default();
    let opening = |(place, span): (usize, &Span)| {
        let break_before = if place == 0 { "" } else { "\r\n" };
        let Span { first, last } = span;
        let range = format!("Content-Range: bytes {first}-{last}/{total}");
        format!("{break_before}--{boundary}\r\n{kind}{range}\r\n\r\n")
    };
    let openings: Vec<String> = spans.iter().enumerate().map(opening).collect();
    let closing = format!("\r\n--{boundary}--\r\n");
    let frame: usize = openings.iter().map(String::len).sum::<usize>() + closing.len();
    let content: u64 = spans.iter().map(|span| span.len()).sum();
    fields.remove(header::CONTENT_RANGE);
    if let Ok(value) = HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}")) {
        fields.insert(header::CONTENT_TYPE, value);
    }
    put_number(&mut fields, header::CONTENT_LENGTH, content + frame as u64);
    Multipart { head: (StatusCode::PARTIAL_CONTENT, fields), openings, closing }
}

/// A 416 for a representation of `total` bytes (RFC 9110 15.5.17).
pub fn unsatisfiable(entry: &Entry, total: u64, dress: &Dress<'_>) -> (StatusCode, HeaderMap) {
    let all = stored(entry, dress);
    let mut fields = HeaderMap::with_capacity(8);
    for name in [header::DATE, header::ETAG, header::VARY, header::VIA, header::AGE] {
        for value in all.get_all(&name) {
            fields.append(name.clone(), value.clone());
        }
    }
    put_status(&mut fields, dress);
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{total}")) {
        fields.insert(header::CONTENT_RANGE, value);
    }
    put_number(&mut fields, header::CONTENT_LENGTH, 0);
    (StatusCode::RANGE_NOT_SATISFIABLE, fields)
}

/// The fields of an origin's answer that goes on to the client, whether or not it is
/// being stored. `Content-Length` stays: the body's framing is the caller's matter.
pub fn relay(answer: &AnswerHead<'_>, dress: &Dress<'_>) -> HeaderMap {
    let listed = hop::listed(answer.headers);
    let mut fields = HeaderMap::with_capacity(answer.headers.len() + 4);
    for (name, value) in answer.headers {
        let dropped = hop::is_hop(name)
            || listed.contains(name)
            || storable::is_tag_field(name, dress.policy);
        if !dropped {
            fields.append(name.clone(), value.clone());
        }
    }
    if !fields.contains_key(header::DATE) {
        let now = super::date::format(answer.received_at.wall_secs());
        if let Ok(now) = HeaderValue::try_from(now) {
            fields.insert(header::DATE, now);
        }
    }
    // An `Age` of the origin stays as it is; a slow origin's answer has aged on its way.
    let age = answer.initial_age_ms() / 1000;
    if age > 0 && !fields.contains_key(header::AGE) {
        put_number(&mut fields, header::AGE, age);
    }
    fields.append(header::VIA, dress.via.clone());
    put_status(&mut fields, dress);
    fields
}

/// `Cache-Status`, appended after those of caches nearer to the origin (RFC 9211 2).
pub fn put_status(fields: &mut HeaderMap, dress: &Dress<'_>) {
    let mut text = String::with_capacity(64);
    dress.outcome.write_cache_status(dress.node, &mut text);
    if let Ok(value) = HeaderValue::try_from(text) {
        fields.append(HeaderName::from_static("cache-status"), value);
    }
}

/// Fields common to every answer from a stored response.
fn stored(entry: &Entry, dress: &Dress<'_>) -> HeaderMap {
    let mut fields = entry.head.to_map(8);
    let age = entry.freshness.age_ms(dress.now) / 1000;
    put_number(&mut fields, header::AGE, age.min(u64::from(super::control::DELTA_MAX)));
    fields.append(header::VIA, dress.via.clone());
    put_status(&mut fields, dress);
    if entry.is_whole() && entry.head.status == StatusCode::OK {
        fields.entry(header::ACCEPT_RANGES).or_insert(HeaderValue::from_static("bytes"));
    }
    fields
}

fn put_content_range(fields: &mut HeaderMap, span: Span, total: Option<u64>) {
    let Span { first, last } = span;
    let text = match total {
        Some(total) => format!("bytes {first}-{last}/{total}"),
        None => format!("bytes {first}-{last}/*"),
    };
    if let Ok(value) = HeaderValue::try_from(text) {
        fields.insert(header::CONTENT_RANGE, value);
    }
}

fn put_number(fields: &mut HeaderMap, name: HeaderName, number: u64) {
    fields.insert(name, HeaderValue::from(number));
}

/// Whether an answer with `status` to GET has content (RFC 9110 6.4.1).
pub(super) fn has_content(status: StatusCode) -> bool {
    !(status.is_informational() || matches!(status.as_u16(), 204 | 304))
}
