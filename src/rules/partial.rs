//! Stored parts: reading a 206 (RFC 9110 14.4, 15.3.7) and joining two (RFC 9111 3.4).

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::entry::{Entry, Extent};
use super::range::{self, Span, Spec};

/// `Content-Range` of a single part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte.
    pub last: u64,
    /// Length of the whole, if said.
    pub total: Option<u64>,
}

impl ContentRange {
    /// Parses `bytes 0-4/10` or `bytes 0-4/*`; what RFC 9110 14.4 calls invalid, other
    /// units and unsatisfied ranges are `None`.
    pub fn parse(value: &[u8]) -> Option<ContentRange> {
        let text = std::str::from_utf8(value).ok()?.trim_ascii();
        let (unit, rest) = text.split_once(' ')?;
        let (span, total) = rest.trim_start_matches(' ').split_once('/')?;
        let (first, last) = span.split_once('-')?;
        let total = match total {
            "*" => None,
            digits => Some(range::offset(digits)?),
        };
        let (first, last) = (range::offset(first)?, range::offset(last)?);
        let valid = first <= last && total.is_none_or(|total| last < total);
        (unit.eq_ignore_ascii_case("bytes") && valid).then_some(ContentRange { first, last, total })
    }

    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Never: a content range has at least one byte.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// What a 206 with `fields` and content of `length` bytes holds, if that is consistent:
/// a single part whose length, where the head says it, is that of its `Content-Range`.
pub fn part_of(
    asked: Option<&HeaderValue>,
    fields: &HeaderMap,
    length: Option<u64>,
) -> Option<Extent> {
    let mut lines = fields.get_all(header::CONTENT_RANGE).into_iter();
    let said = ContentRange::parse(lines.next()?.as_bytes())?;
    if lines.next().is_some() {
        return None;
    }
    match length {
        Some(length) if length != said.len() => short_suffix(asked?, said, length),
        _ => Some(Extent::Part { first: said.first, last: said.last, total: said.total }),
    }
}

/// One well-known slip: asked for the last n bytes, the origin sends exactly n, ending at
/// the end, under a range that claims one offset too many (the public conformance suite's
/// own origin does it). The bytes and their first offset are taken at their word; without
/// a strong validator, which `join` asks for, such a part is never joined to another.
fn short_suffix(asked: &HeaderValue, said: ContentRange, length: u64) -> Option<Extent> {
    let specs = range::parse(asked.as_bytes())?;
    let slip = matches!(specs.as_slice(), [Spec::Suffix(wanted)] if *wanted == length)
        && said.total == Some(said.last + 1)
        && said.len() == length + 1;
    let end = said.first.checked_add(length)?;
    (slip && length > 0).then(|| Extent::Part {
        first: said.first,
        last: end - 1,
        total: Some(end),
    })
}

/// The bytes of the stored beginning that a 206 with `fields` completes, and the length of
/// the whole; only with the same strong validator on both (RFC 9111 3.4).
pub fn prefix(stored: &Entry, fields: &HeaderMap) -> Option<(SmallVec<[Bytes; 1]>, u64)> {
    let Extent::Part { first: 0, last, total } = stored.extent else { return None };
    let said = ContentRange::parse(fields.get(header::CONTENT_RANGE)?.as_bytes())?;
    let whole = said.total?;
    let fits = total.is_none_or(|total| total == whole)
        && said.first <= last.checked_add(1)?
        && said.last + 1 == whole
        && stored.body_len() == last + 1
        && same_strong_validator(stored, fields);
    fits.then(|| (slice(&stored.body, 0, said.first), whole))
}

/// A new part joined with an older one of the same representation, if they touch or
/// overlap; `Whole` if together they have every byte (RFC 9111 3.4).
pub fn combine(old: &Entry, new: &Entry) -> Option<Entry> {
    let (extent, body) = joined(old, new)?;
    let head = new.head.joined(match extent {
        Extent::Whole | Extent::Pieces { .. } => StatusCode::OK,
        Extent::Part { .. } => StatusCode::PARTIAL_CONTENT,
    });
    Some(Entry {
        key: new.key.clone(),
        head,
        body,
        extent,
        freshness: new.freshness,
        vary: new.vary.clone(),
        tags: new.tags.clone(),
        // The older sequence number: a purge between the two still applies to both.
        seq: new.seq.min(old.seq),
        checked_seq: AtomicU64::new(old.seen_seq().min(new.seen_seq())),
        soft_purged: AtomicBool::new(old.is_soft_purged() || new.is_soft_purged()),
    })
}

fn joined(old: &Entry, new: &Entry) -> Option<(Extent, SmallVec<[Bytes; 1]>)> {
    let Extent::Part { first, last, total } = old.extent else { return None };
    let Extent::Part { first: new_first, last: new_last, total: new_total } = new.extent else {
        return None;
    };
    let tag = new.head.find(&header::ETAG)?;
    let strong = tag.starts_with(b"\"") && old.head.find(&header::ETAG) == Some(tag);
    let touch = new_first <= last.checked_add(1)?
        && first <= new_last.checked_add(1)?
        && total == new_total;
    let sound = old.body_len() == last - first + 1 && new.body_len() == new_last - new_first + 1;
    if !(strong && touch && sound) {
        return None;
    }
    // The newer bytes stay; the older give what lies before and after them.
    let mut body = slice(&old.body, 0, new_first.saturating_sub(first));
    body.extend(new.body.iter().cloned());
    if last > new_last {
        body.extend(slice(&old.body, new_last + 1 - first, last - new_last));
    }
    let (first, last) = (first.min(new_first), last.max(new_last));
    let extent = match total {
        Some(total) if first == 0 && last + 1 == total => Extent::Whole,
        _ => Extent::Part { first, last, total },
    };
    Some((extent, body))
}

/// Whether a strong `ETag` of the answer is that of the entry.
pub fn same_strong_validator(stored: &Entry, fields: &HeaderMap) -> bool {
    let (Some(old), Some(new)) = (stored.head.find(&header::ETAG), fields.get(header::ETAG)) else {
        return false;
    };
    old == new.as_bytes() && old.starts_with(b"\"") && old.len() >= 2
}

/// The range that a request wants of a part that it was widened to, if it is all there; a
/// suffix is never widened and is the part as it came.
pub fn cut(method: &Method, fields: &HeaderMap, part: Extent) -> Option<Span> {
    let Extent::Part { first, last, total } = part else { return None };
    let specs = range::asked(method, fields)?;
    let [spec] = specs.as_slice() else { return None };
    let end = total.and_then(|total| total.checked_sub(1));
    let span = match *spec {
        Spec::Closed(low, high) => Span { first: low, last: end.map_or(high, |e| high.min(e)) },
        Spec::From(low) if end == Some(last) => Span { first: low, last },
        Spec::From(_) => return None,
        Spec::Suffix(_) => Span { first, last },
    };
    let inside = first <= span.first && span.first <= span.last && span.last <= last;
    inside.then_some(span)
}

/// `length` bytes of `pieces` from `skip` on, shared.
pub fn slice(pieces: &[Bytes], skip: u64, length: u64) -> SmallVec<[Bytes; 1]> {
    let mut out = SmallVec::new();
    let (mut skip, mut left) = (skip, length);
    for piece in pieces {
        let size = piece.len() as u64;
        if left == 0 {
            break;
        }
        if skip >= size {
            skip -= size;
            continue;
        }
        let take = left.min(size - skip);
        // Both ends are within this piece, so they fit in usize.
        out.push(piece.slice(skip as usize..(skip + take) as usize));
        left -= take;
        skip = 0;
    }
    out
}
