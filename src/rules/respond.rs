//! The head a client gets: from what is stored, from a part of it, or from an answer that
//! only passes through.
//!
//! Every answer tells the truth about itself: `Age` is made anew (RFC 9111 5.1), `Date`
//! stays the origin's, `Via` names this node (RFC 9110 7.6.3) and `Cache-Status` gets our
//! member behind those of caches nearer to the origin (RFC 9211 2). `Content-Length` is
//! left to the connection, which knows the body, except for HEAD, which has none.

use std::fmt::Write;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::entry::Entry;
use super::hop;
use super::outcome::Outcome;
use super::range::Span;
use super::site::Policy;
use super::storable::is_tag_field;
use crate::base::Now;

/// The field of RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How this node signs: its name and the values made of it once.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The name, a token.
    pub node: Box<str>,
    via: HeaderValue,
}

impl Signature {
    /// For a node of that name; what is not a token character is left out.
    pub fn new(node: &str) -> Self {
        let node: String = node.chars().filter(|c| is_token(*c)).collect();
        let node = if node.is_empty() { "brink".to_owned() } else { node };
        let via = HeaderValue::try_from(format!("1.1 {node}"))
            .unwrap_or(HeaderValue::from_static("1.1 brink"));
        Signature { node: node.into(), via }
    }

    /// Adds `Via` and `Cache-Status`.
    pub fn sign(&self, fields: &mut HeaderMap, outcome: &Outcome) {
        fields.append(header::VIA, self.via.clone());
        let mut text = Line(SmallVec::new());
        outcome.write_cache_status(&self.node, &mut text);
        if let Ok(value) = HeaderValue::from_bytes(&text.0) {
            fields.append(CACHE_STATUS, value);
        }
    }
}

/// A short line on the stack.
struct Line(SmallVec<[u8; 128]>);

impl Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// Fields of a full answer from `entry`.
pub fn full(entry: &Entry, outcome: &Outcome, signature: &Signature, now: Now) -> HeaderMap {
    let mut fields = entry.head.to_map(4);
    finish(&mut fields, entry, outcome, signature, now);
    fields
}

/// Fields of a 304: those that let the client refresh what it has (RFC 9110 15.4.5).
pub fn not_modified(
    entry: &Entry,
    outcome: &Outcome,
    signature: &Signature,
    now: Now,
) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(12);
    for (name, value) in entry.head.iter().filter(|(name, _)| refreshes(name)) {
        fields.append(name, value);
    }
    finish(&mut fields, entry, outcome, signature, now);
    fields
}

/// Fields of a 206 with one part (RFC 9110 15.3.7.1).
pub fn part(
    entry: &Entry,
    span: Span,
    total: Option<u64>,
    (outcome, signature, now): (&Outcome, &Signature, Now),
) -> HeaderMap {
    let mut fields = full(entry, outcome, signature, now);
    fields.insert(header::CONTENT_RANGE, content_range(Some(span), total));
    fields
}

/// Fields of a 206 with several parts, and the bytes that precede each part and end the
/// last (RFC 9110 15.3.7.2). `boundary` must not occur in the body: make it random.
pub fn parts(
    entry: &Entry,
    spans: &[Span],
    (total, boundary): (u64, &str),
    (outcome, signature, now): (&Outcome, &Signature, Now),
) -> (HeaderMap, Vec<Vec<u8>>, Vec<u8>) {
    let mut fields = full(entry, outcome, signature, now);
    let kind = fields.remove(header::CONTENT_TYPE);
    let multipart = format!("multipart/byteranges; boundary={boundary}");
    if let Ok(value) = HeaderValue::try_from(multipart) {
        fields.insert(header::CONTENT_TYPE, value);
    }
    let head_of = |span: &Span| {
        let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
        if let Some(kind) = &kind {
            head.extend_from_slice(b"Content-Type: ");
            head.extend_from_slice(kind.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"Content-Range: ");
        head.extend_from_slice(content_range(Some(*span), Some(total)).as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        head
    };
    let heads = spans.iter().map(head_of).collect();
    (fields, heads, format!("\r\n--{boundary}--\r\n").into_bytes())
}

/// Fields of a 416: how long the representation is (RFC 9110 15.5.17).
pub fn unsatisfiable(total: u64, outcome: &Outcome, signature: &Signature) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(6);
    fields.insert(header::CONTENT_RANGE, content_range(None, Some(total)));
    signature.sign(&mut fields, outcome);
    fields
}

/// Fields of an answer that passes through: the origin's, less what is for this hop only
/// (RFC 9110 7.6.1) and the site's tags.
pub fn relay(
    fields: &HeaderMap,
    policy: &Policy,
    outcome: &Outcome,
    signature: &Signature,
) -> HeaderMap {
    let listed = hop::listed(fields);
    let mut out = HeaderMap::with_capacity(fields.len() + 2);
    for (name, value) in fields {
        if !(hop::is_hop(name) || listed.contains(name) || is_tag_field(name, policy)) {
            out.append(name.clone(), value.clone());
        }
    }
    signature.sign(&mut out, outcome);
    out
}

/// Fields of a 101: the same, but with what makes the switch.
pub fn switched(
    fields: &HeaderMap,
    policy: &Policy,
    outcome: &Outcome,
    signature: &Signature,
) -> HeaderMap {
    let mut out = relay(fields, policy, outcome, signature);
    if let Some(protocol) = fields.get(header::UPGRADE) {
        out.insert(header::UPGRADE, protocol.clone());
        out.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    out
}

fn finish(
    fields: &mut HeaderMap,
    entry: &Entry,
    outcome: &Outcome,
    signature: &Signature,
    now: Now,
) {
    fields.insert(header::AGE, HeaderValue::from(entry.freshness.age_ms(now) / 1000));
    signature.sign(fields, outcome);
}

fn refreshes(name: &HeaderName) -> bool {
    const REFRESHING: [HeaderName; 8] = [
        header::CACHE_CONTROL,
        header::CONTENT_LOCATION,
        header::DATE,
        header::ETAG,
        header::EXPIRES,
        header::LAST_MODIFIED,
        header::VARY,
        header::VIA,
    ];
    REFRESHING.contains(name) || name.as_str() == "cdn-cache-control" || *name == CACHE_STATUS
}

fn content_range(span: Option<Span>, total: Option<u64>) -> HeaderValue {
    let total = total.map_or("*".to_owned(), |total| total.to_string());
    let text = match span {
        Some(span) => format!("bytes {}-{}/{total}", span.first, span.last),
        None => format!("bytes */{total}"),
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("bytes */*"))
}
