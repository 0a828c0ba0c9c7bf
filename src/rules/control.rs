//! Cache-Control of requests and responses (RFC 9111 5.2).
//!
//! Names are compared without case, quoted strings are honoured, several lines are one
//! list. Where a directive is said twice or cannot be read, the strictest reading wins:
//! the smaller lifetime, and zero for a number that is none (RFC 9111 4.2.1 encourages
//! to treat that as stale). Unknown directives are ignored (5.2.3). The targeted form of
//! RFC 9213 is in `targeted`.

use http::header::{self, HeaderMap, HeaderName};

use super::list;

/// Seconds above this count as this (RFC 9111 1.2.2).
pub const DELTA_MAX: u32 = 1 << 31;

/// What a request asks of caches (RFC 9111 5.2.1). Spans in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestControl {
    /// Do not answer from the cache without validation.
    pub no_cache: bool,
    /// Do not store anything of this exchange.
    pub no_store: bool,
    /// Answer from the cache or with 504.
    pub only_if_cached: bool,
    /// Oldest age accepted.
    pub max_age: Option<u32>,
    /// Staleness accepted.
    pub max_stale: Option<u32>,
    /// Freshness that must remain.
    pub min_fresh: Option<u32>,
}

impl RequestControl {
    /// Reads `Cache-Control`, or `Pragma` where there is none (RFC 9111 5.4).
    pub fn of(fields: &HeaderMap) -> Self {
        let mut control = RequestControl::default();
        if !fields.contains_key(header::CACHE_CONTROL) {
            control.no_cache = list::all(fields, &header::PRAGMA)
                .any(|element| element.eq_ignore_ascii_case(b"no-cache"));
            return control;
        }
        for element in list::all(fields, &header::CACHE_CONTROL) {
            let (name, value) = directive(element);
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
            if is("no-cache") {
                control.no_cache = true;
            } else if is("no-store") {
                control.no_store = true;
            } else if is("only-if-cached") {
                control.only_if_cached = true;
            } else if is("max-age") {
                control.max_age = smaller(control.max_age, value);
            } else if is("max-stale") {
                // Without a value any staleness is accepted (RFC 9111 5.2.1.2).
                let span = if value.is_empty() { DELTA_MAX } else { delta(value).unwrap_or(0) };
                control.max_stale = Some(control.max_stale.map_or(span, |old| old.min(span)));
            } else if is("min-fresh") {
                let span = delta(value).unwrap_or(DELTA_MAX);
                control.min_fresh = Some(control.min_fresh.map_or(span, |old| old.max(span)));
            }
        }
        control
    }
}

/// What a response says to this cache (RFC 9111 5.2.2, RFC 5861, RFC 8246). Seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseControl {
    /// `max-age`.
    pub max_age: Option<u32>,
    /// `s-maxage`.
    pub s_maxage: Option<u32>,
    /// `no-cache` without field names.
    pub no_cache: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `private` without field names.
    pub private: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `immutable`.
    pub immutable: bool,
    /// `stale-while-revalidate`.
    pub while_revalidate: Option<u32>,
    /// `stale-if-error`.
    pub if_error: Option<u32>,
    /// Fields named by `no-cache="..."` or `private="..."`: they are not stored, which
    /// is one of the two ways to obey (RFC 9111 5.2.2.4, 5.2.2.7).
    pub withheld: Vec<HeaderName>,
}

impl ResponseControl {
    /// Reads `Cache-Control`.
    pub fn of(fields: &HeaderMap) -> Self {
        let mut control = ResponseControl::default();
        for element in list::all(fields, &header::CACHE_CONTROL) {
            let (name, value) = directive(element);
            control.apply(name, value);
        }
        control
    }

    fn apply(&mut self, name: &[u8], value: &[u8]) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        if is("max-age") {
            self.max_age = smaller(self.max_age, value);
        } else if is("s-maxage") {
            self.s_maxage = smaller(self.s_maxage, value);
        } else if is("stale-while-revalidate") {
            self.while_revalidate = smaller(self.while_revalidate, value);
        } else if is("stale-if-error") {
            self.if_error = smaller(self.if_error, value);
        } else if is("no-cache") {
            self.no_cache |= !self.withhold(value);
        } else if is("private") {
            self.private |= !self.withhold(value);
        } else {
            self.flag(name);
        }
    }

    /// Sets the directive `name` if it is one without a value.
    pub(super) fn flag(&mut self, name: &[u8]) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        self.no_store |= is("no-store");
        self.public |= is("public");
        self.must_revalidate |= is("must-revalidate");
        self.proxy_revalidate |= is("proxy-revalidate");
        self.must_understand |= is("must-understand");
        self.immutable |= is("immutable");
    }

    /// Notes the field names in `value`. `false` if it names none that can be read: the
    /// directive then stands for the whole response.
    pub(super) fn withhold(&mut self, value: &[u8]) -> bool {
        let unquoted = list::unquote(value);
        let names = unquoted.as_deref().unwrap_or(value);
        let parsed: Result<Vec<HeaderName>, _> =
            list::elements(names).map(HeaderName::from_bytes).collect();
        match parsed {
            Ok(names) if !names.is_empty() => {
                self.withheld.extend(names);
                true
            }
            _ => false,
        }
    }
}

/// Name and value of one directive; the value is empty if there is none. Space around
/// the `=` is not part of the grammar and so stays part of name or value.
fn directive(element: &[u8]) -> (&[u8], &[u8]) {
    match element.iter().position(|&byte| byte == b'=') {
        Some(at) => {
            let (name, rest) = element.split_at_checked(at).unwrap_or((element, &[]));
            (name, rest.get(1..).unwrap_or(&[]))
        }
        None => (element, &[]),
    }
}

/// The strictest of an earlier lifetime and this one; an unreadable one is zero.
fn smaller(earlier: Option<u32>, value: &[u8]) -> Option<u32> {
    let this = delta(value).unwrap_or(0);
    Some(earlier.map_or(this, |earlier| earlier.min(this)))
}

/// delta-seconds (RFC 9111 1.2.2), also in quotes (5.2), clamped.
pub fn delta(value: &[u8]) -> Option<u32> {
    let digits =
        value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0')).min(DELTA_MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn lines(lines: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            map.append(header::CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
        }
        map
    }

    #[test]
    fn lifetimes_are_read_strictly_and_the_strictest_wins() {
        for (text, wanted) in [
            (&["max-age=60"][..], Some(60)),
            (&["MaX-aGe=60, foo"], Some(60)),
            (&["max-age=\"60\""], Some(60)),
            (&["max-age=0060"], Some(60)),
            (&["max-age=99999999999"], Some(DELTA_MAX)),
            (&["max-age=1800, max-age=1"], Some(1)),
            (&["max-age=1", "max-age=1800"], Some(1)),
            (&["max-age"], Some(0)),
            (&["max-age='60'"], Some(0)),
            (&["max-age=-60"], Some(0)),
            (&["max-age=60.0"], Some(0)),
            (&["max-age=60a"], Some(0)),
            (&["max-age= 60"], Some(0)),
            (&["max-age =60"], None),
            (&["ext=\"a, max-age=9999\", max-age=1"], Some(1)),
            (&["max-age=1, ext=\"max-age=9999\""], Some(1)),
        ] {
            assert_eq!(ResponseControl::of(&lines(text)).max_age, wanted, "{text:?}");
        }
    }

    #[test]
    fn directives_are_found_in_any_case_and_next_to_bad_bytes() {
        let mut map = lines(&["No-STORE"]);
        assert!(ResponseControl::of(&map).no_store);
        map.append(header::CACHE_CONTROL, HeaderValue::from_bytes(b"Private, x=\"\xe9\"").unwrap());
        let control = ResponseControl::of(&map);
        assert!(control.private && control.no_store && !control.no_cache);
    }

    #[test]
    fn field_names_qualify_no_cache_and_private() {
        let control = ResponseControl::of(&lines(&["no-cache=\"a, Set-Cookie\", private=b"]));
        assert!(!control.no_cache && !control.private);
        assert_eq!(control.withheld, ["a", "set-cookie", "b"]);
        for whole in ["no-cache=\"\"", "no-cache=\"a b\"", "no-cache"] {
            assert!(ResponseControl::of(&lines(&[whole])).no_cache, "{whole}");
        }
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        let mut map = HeaderMap::new();
        map.insert(header::PRAGMA, HeaderValue::from_static("x, No-Cache"));
        assert!(RequestControl::of(&map).no_cache);
        map.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=5, max-stale"));
        let control = RequestControl::of(&map);
        assert_eq!(
            (control.no_cache, control.max_age, control.max_stale),
            (false, Some(5), Some(DELTA_MAX))
        );
    }
}
