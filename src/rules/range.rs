//! Range requests on stored representations (RFC 9110 14).
//!
//! Only `bytes`. At most 16 ranges; those that touch are coalesced, and a set in which two
//! overlap, or that asks for more than the representation, is answered with the whole: many
//! small or overlapping ranges are an attack (RFC 9110 14.2, 17.15). `Range` counts for GET
//! only.

use http::Method;
use http::header::{self, HeaderMap};
use smallvec::SmallVec;

use super::date;
use super::entry::Entry;
use super::list;

/// Ranges of one request that are looked at.
pub const RANGES_MAX: usize = 16;

/// One range as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spec {
    /// From an offset to an offset, both included.
    Closed(u64, u64),
    /// From an offset to the end.
    From(u64),
    /// The last so many bytes.
    Suffix(u64),
}

/// Bytes `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte.
    pub last: u64,
}

impl Span {
    /// Number of bytes.
    pub fn len(self) -> u64 {
        self.last - self.first + 1
    }

    /// Never: a span has at least one byte.
    pub fn is_empty(self) -> bool {
        false
    }
}

/// What to send of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it, with its own status.
    Whole,
    /// A 206 with one part.
    One(Span),
    /// A 206 multipart/byteranges, in the order asked.
    Many(Vec<Span>),
    /// A 416.
    Unsatisfiable,
}

/// Parses the value of `Range`; `None` if it is to be ignored: another unit, bad syntax,
/// too many ranges.
pub fn parse(value: &[u8]) -> Option<SmallVec<[Spec; 2]>> {
    let text = std::str::from_utf8(value).ok()?.trim_ascii();
    let (unit, set) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = SmallVec::new();
    for element in list::elements(set.as_bytes()) {
        let (first, last) = std::str::from_utf8(element).ok()?.split_once('-')?;
        let spec = match (first.is_empty(), last.is_empty()) {
            (true, true) => return None,
            (true, false) => Spec::Suffix(offset(last)?),
            (false, true) => Spec::From(offset(first)?),
            (false, false) => Spec::Closed(offset(first)?, offset(last)?),
        };
        if matches!(spec, Spec::Closed(first, last) if first > last) || specs.len() == RANGES_MAX {
            return None;
        }
        specs.push(spec);
    }
    (!specs.is_empty()).then_some(specs)
}

/// An offset in decimal digits that leaves room for `+ 1`.
pub fn offset(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|value| plain && *value < u64::MAX)
}

/// The ranges a request asks for, if `Range` is to be honoured at all: GET, one line,
/// readable, and `If-Range` not in the way as far as that shows without an entry.
pub fn asked(method: &Method, fields: &HeaderMap) -> Option<SmallVec<[Spec; 2]>> {
    if *method != Method::GET {
        return None;
    }
    let mut lines = fields.get_all(header::RANGE).into_iter();
    let first = lines.next()?;
    match lines.next() {
        Some(_) => None,
        None => parse(first.as_bytes()),
    }
}

/// What to send of `entry`'s whole representation of `total` bytes.
pub fn wanted(method: &Method, fields: &HeaderMap, entry: &Entry, total: u64) -> Wanted {
    match asked(method, fields) {
        Some(specs) if if_range_holds(fields, entry) => resolve(&specs, total),
        _ => Wanted::Whole,
    }
}

/// Whether `If-Range` is absent or true for `entry` (RFC 9110 13.1.5): a strong
/// comparison, and a date only if it is exactly a `Last-Modified` that is strong (8.8.2.2:
/// at least a second, here as usual a minute, before `Date`).
pub fn if_range_holds(fields: &HeaderMap, entry: &Entry) -> bool {
    let mut lines = fields.get_all(header::IF_RANGE).into_iter();
    let Some(condition) = lines.next().map(|value| value.as_bytes().trim_ascii()) else {
        return true;
    };
    if lines.next().is_some() {
        return false;
    }
    if condition.starts_with(b"\"") {
        return entry.head.find(&header::ETAG) == Some(condition);
    }
    let stored = |name| entry.head.find(name).and_then(|value| date::parse(value, u64::MAX / 2));
    match (date::parse(condition, u64::MAX / 2), stored(&header::LAST_MODIFIED)) {
        (Some(asked), Some(modified)) => {
            let dated = stored(&header::DATE).unwrap_or(0);
            asked == modified && dated >= modified.saturating_add(60)
        }
        _ => false,
    }
}

/// Ranges against a length (RFC 9110 14.1.2).
pub fn resolve(specs: &[Spec], total: u64) -> Wanted {
    let mut spans: Vec<Span> = specs.iter().filter_map(|spec| span_of(*spec, total)).collect();
    match spans.as_slice() {
        [] => return Wanted::Unsatisfiable,
        [one] if one.len() == total && specs.len() > 1 => return Wanted::Whole,
        [one] => return Wanted::One(*one),
        _ => {}
    }
    if overlap(&spans) {
        return Wanted::Whole;
    }
    coalesce(&mut spans);
    let bytes: u64 = spans.iter().map(|span| span.len()).sum();
    match spans.as_slice() {
        _ if bytes >= total => Wanted::Whole,
        [one] => Wanted::One(*one),
        _ => Wanted::Many(spans),
    }
}

fn span_of(spec: Spec, total: u64) -> Option<Span> {
    let end = total.checked_sub(1)?;
    match spec {
        Spec::Closed(first, last) => (first <= end).then(|| Span { first, last: last.min(end) }),
        Spec::From(first) => (first <= end).then_some(Span { first, last: end }),
        Spec::Suffix(0) => None,
        Spec::Suffix(length) => Some(Span { first: total.saturating_sub(length), last: end }),
    }
}

/// Whether two of `spans` (few) have a byte in common.
fn overlap(spans: &[Span]) -> bool {
    let mut seen = spans;
    while let [one, rest @ ..] = seen {
        if rest.iter().any(|other| one.first <= other.last && other.first <= one.last) {
            return true;
        }
        seen = rest;
    }
    false
}

/// Joins spans that touch; the rest keeps its order.
fn coalesce(spans: &mut Vec<Span>) {
    let mut out: Vec<Span> = Vec::with_capacity(spans.len());
    for &span in spans.iter() {
        let mut merged = span;
        out.retain(|kept| {
            let touch = kept.first <= merged.last.saturating_add(1)
                && merged.first <= kept.last.saturating_add(1);
            if touch {
                merged.first = merged.first.min(kept.first);
                merged.last = merged.last.max(kept.last);
            }
            !touch
        });
        out.push(merged);
    }
    *spans = out;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(range: &str, total: u64) -> Wanted {
        parse(range.as_bytes()).map_or(Wanted::Whole, |specs| resolve(&specs, total))
    }

    fn one(first: u64, last: u64) -> Wanted {
        Wanted::One(Span { first, last })
    }

    #[test]
    fn single_ranges_are_cut_to_the_representation() {
        for (range, wanted) in [
            ("bytes=0-1", one(0, 1)),
            ("Bytes=1-", one(1, 9)),
            ("bytes=-1", one(9, 9)),
            ("bytes=-99", one(0, 9)),
            ("bytes=5-99", one(5, 9)),
            ("bytes=0-9", one(0, 9)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=18446744073709551614-", Wanted::Unsatisfiable),
        ] {
            assert_eq!(answer(range, 10), wanted, "{range}");
        }
        assert_eq!(answer("bytes=0-0", 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn what_is_no_byte_range_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-1",
            "bytes=a-b",
            "bytes=1-2-3",
            "items=0-1",
            "bytes=0x1-2",
            "bytes=+1-2",
            "bytes= ",
            "bytes=18446744073709551615-",
            "bytes=99999999999999999999-",
            "bytes=0-18446744073709551616",
        ] {
            assert_eq!(answer(range, 10), Wanted::Whole, "{range}");
        }
        let many: Vec<String> = (0..17).map(|at| format!("{at}-{at}")).collect();
        assert_eq!(answer(&format!("bytes={}", many.join(",")), 1000), Wanted::Whole);
    }

    #[test]
    fn several_ranges_are_coalesced_and_greedy_sets_get_the_whole() {
        let many = |spans: &[(u64, u64)]| {
            Wanted::Many(spans.iter().map(|&(first, last)| Span { first, last }).collect())
        };
        assert_eq!(answer("bytes=0-1,5-6", 10), many(&[(0, 1), (5, 6)]));
        assert_eq!(answer("bytes=5-6, 0-1", 10), many(&[(5, 6), (0, 1)]));
        assert_eq!(answer("bytes=0-1,2-3", 10), one(0, 3));
        assert_eq!(answer("bytes=0-,0-,0-,0-", 10), Wanted::Whole);
        assert_eq!(answer("bytes=0-5,4-6", 10), Wanted::Whole);
        assert_eq!(answer("bytes=0-0,0-0", 10), Wanted::Whole);
        assert_eq!(answer("bytes=0-4,5-9", 10), Wanted::Whole);
        assert_eq!(answer("bytes=0-1,99-", 10), one(0, 1));
    }
}
