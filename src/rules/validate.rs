//! Conditional requests of clients against a response head (RFC 9110 13).

use http::Method;
use http::header::{self, HeaderMap, HeaderName};

use super::date;

/// The verdict on the preconditions of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// None, or all true: the full answer.
    Full,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

/// The validators of a response.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validators<'a> {
    /// `ETag` as stored.
    pub etag: Option<&'a [u8]>,
    /// `Last-Modified` as stored.
    pub last_modified: Option<&'a [u8]>,
    /// `Date` as stored; the date of receipt was put there if the origin sent none.
    pub date: Option<&'a [u8]>,
}

impl<'a> Validators<'a> {
    /// Those of a stored head.
    pub fn of_head(head: &'a super::head::Head) -> Self {
        Validators {
            etag: head.find(&header::ETAG),
            last_modified: head.find(&header::LAST_MODIFIED),
            date: head.find(&header::DATE),
        }
    }

    /// Those of an answer's fields.
    pub fn of_fields(fields: &'a HeaderMap) -> Self {
        let find = |name| fields.get(name).map(|value| value.as_bytes());
        Validators {
            etag: find(header::ETAG),
            last_modified: find(header::LAST_MODIFIED),
            date: find(header::DATE),
        }
    }
}

/// Whether the request has any precondition; a cheap test before `evaluate`.
pub fn is_conditional(fields: &HeaderMap) -> bool {
    CONDITIONS.iter().any(|name| fields.contains_key(name))
}

/// Evaluates the preconditions in the order of RFC 9110 13.2.2. They count only for
/// answers that are 2xx (13.2.1); the caller asks for those only.
pub fn evaluate(method: &Method, fields: &HeaderMap, stored: &Validators<'_>) -> Verdict {
    let dated = |name| condition_date(fields, name);
    let modified = stored.last_modified.and_then(|value| date::parse(value, NOW_FOR_CENTURY));
    if fields.contains_key(header::IF_MATCH) {
        if !any_match(fields, &header::IF_MATCH, stored.etag, strong_match) {
            return Verdict::PreconditionFailed;
        }
    } else if let Some(limit) = dated(&header::IF_UNMODIFIED_SINCE)
        && modified.is_some_and(|modified| modified > limit)
    {
        return Verdict::PreconditionFailed;
    }
    let safe = *method == Method::GET || *method == Method::HEAD;
    if fields.contains_key(header::IF_NONE_MATCH) {
        return match any_match(fields, &header::IF_NONE_MATCH, stored.etag, weak_match) {
            false => Verdict::Full,
            true if safe => Verdict::NotModified,
            true => Verdict::PreconditionFailed,
        };
    }
    // RFC 9111 4.3.2: without Last-Modified, the stored Date stands in for it.
    let modified =
        modified.or_else(|| stored.date.and_then(|value| date::parse(value, NOW_FOR_CENTURY)));
    match (dated(&header::IF_MODIFIED_SINCE), modified) {
        (Some(since), Some(modified)) if safe && modified <= since => Verdict::NotModified,
        _ => Verdict::Full,
    }
}

/// Weak comparison (RFC 9110 8.8.3.2): the opaque parts are the same.
pub fn weak_match(one: &[u8], two: &[u8]) -> bool {
    match (opaque(one.trim_ascii()), opaque(two.trim_ascii())) {
        (Some(one), Some(two)) => one == two,
        _ => false,
    }
}

/// Strong comparison (RFC 9110 8.8.3.2): the same, and neither is weak.
pub fn strong_match(one: &[u8], two: &[u8]) -> bool {
    one.starts_with(b"\"") && two.starts_with(b"\"") && weak_match(one, two)
}

/// The opaque part of a valid entity tag, quotes included.
pub fn opaque(tag: &[u8]) -> Option<&[u8]> {
    let rest = tag.strip_prefix(b"W/").unwrap_or(tag);
    let inner = rest.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let valid = inner.iter().all(|&byte| byte == 0x21 || (byte >= 0x23 && byte != 0x7f));
    valid.then_some(rest)
}

fn any_match(
    fields: &HeaderMap,
    name: &HeaderName,
    stored: Option<&[u8]>,
    matches: fn(&[u8], &[u8]) -> bool,
) -> bool {
    let lines = || fields.get_all(name).into_iter();
    // `*` stands alone and is true for any current representation.
    if lines().count() == 1 && lines().all(|line| line.as_bytes().trim_ascii() == b"*") {
        return true;
    }
    let Some(stored) = stored else { return false };
    // A backslash quotes nothing inside an entity tag, so `list` would split wrongly.
    lines().any(|line| tags(line.as_bytes()).any(|tag| matches(tag, stored)))
}

/// The entity tags of one line. What is no tag ends the line: the rest cannot be trusted.
fn tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        while let Some(after) = rest.strip_prefix(b",").or_else(|| rest.strip_prefix(b" ")) {
            rest = after;
        }
        let start = if rest.starts_with(b"W/\"") { 3 } else { 1 };
        if !rest.starts_with(b"\"") && start == 1 {
            return None;
        }
        let close = rest.get(start..)?.iter().position(|&byte| byte == b'"')?;
        let (tag, after) = rest.split_at_checked(start + close + 1)?;
        rest = after;
        Some(tag)
    })
}

/// A date condition that is alone and valid; otherwise it is ignored (RFC 9110 13.1.3).
fn condition_date(fields: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut lines = fields.get_all(name).into_iter().map(|value| value.as_bytes());
    let first = lines.next()?;
    match lines.next() {
        Some(_) => None,
        None => date::parse(first, NOW_FOR_CENTURY),
    }
}

/// 2026: only the century of two-digit years depends on it.
const NOW_FOR_CENTURY: u64 = 1_770_000_000;

static CONDITIONS: [HeaderName; 4] = [
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
];

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    fn verdict(method: Method, conditions: &[(&str, &str)], etag: &str, modified: &str) -> Verdict {
        let mut fields = HeaderMap::new();
        for (name, value) in conditions {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            fields.append(name, HeaderValue::from_str(value).unwrap());
        }
        let stored = Validators {
            etag: Some(etag.as_bytes()).filter(|tag| !tag.is_empty()),
            last_modified: Some(modified.as_bytes()).filter(|date| !date.is_empty()),
            date: Some(NEW.as_bytes()),
        };
        evaluate(&method, &fields, &stored)
    }

    #[test]
    fn conditions_are_evaluated_in_their_order() {
        use Verdict::{Full, NotModified, PreconditionFailed};
        for (conditions, wanted) in [
            (&[("if-none-match", "\"a\"")][..], NotModified),
            (&[("if-none-match", "W/\"a\"")], NotModified),
            (&[("if-none-match", "\"b\", \"a\" ,\"c\"")], NotModified),
            (&[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"b\"")], Full),
            (&[("if-none-match", "a")], Full),
            (&[("if-none-match", "\"x,y\"")], Full),
            (&[("if-none-match", "\"b\""), ("if-modified-since", NEW)], Full),
            (&[("if-none-match", "\"a\""), ("if-modified-since", "x")], NotModified),
            (&[("if-modified-since", OLD)], NotModified),
            (&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")], NotModified),
            (&[("if-modified-since", "Sat, 05 Nov 1994 08:49:37 GMT")], Full),
            (&[("if-modified-since", "soon")], Full),
            (&[("if-match", "\"a\"")], Full),
            (&[("if-match", "W/\"a\"")], PreconditionFailed),
            (&[("if-match", "*")], Full),
            (&[("if-match", "\"b\""), ("if-none-match", "\"a\"")], PreconditionFailed),
            (&[("if-unmodified-since", "Sat, 05 Nov 1994 08:49:37 GMT")], PreconditionFailed),
            (&[("if-unmodified-since", OLD)], Full),
        ] {
            assert_eq!(verdict(Method::GET, conditions, "\"a\"", OLD), wanted, "{conditions:?}");
        }
        let put = verdict(Method::PUT, &[("if-none-match", "*")], "\"a\"", OLD);
        assert_eq!(put, PreconditionFailed);
    }

    #[test]
    fn without_last_modified_the_date_stands_in() {
        let since = |when| verdict(Method::GET, &[("if-modified-since", when)], "", "");
        assert_eq!(since(NEW), Verdict::NotModified);
        assert_eq!(since(OLD), Verdict::Full);
        let no_tag = verdict(Method::GET, &[("if-none-match", "\"a\"")], "", "");
        assert_eq!(no_tag, Verdict::Full);
    }

    #[test]
    fn tags_compare_as_opaque_bytes() {
        assert!(weak_match(b"W/\"a\\\"", b"\"a\\\""));
        assert!(!strong_match(b"W/\"a\"", b"W/\"a\""));
        assert!(weak_match(b"\"\xfc\"", b"\"\xfc\""));
        for bad in [&b"a"[..], b"w/\"a\"", b"\"a", b"\"a b\"", b""] {
            assert!(!weak_match(bad, bad), "{bad:?}");
        }
    }
}
