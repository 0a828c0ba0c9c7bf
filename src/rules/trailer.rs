//! Fields after the content (RFC 9110 6.5), for exchanges that pass through.
//!
//! Stored answers carry none: merging a trailer into a head needs knowledge of each field's
//! meaning (RFC 9110 6.5.1), and a cache may drop them. What passes keeps its trailers, as
//! far as the next hop wants them: a client says so with `TE: trailers`, HTTP/1.1 writes
//! only those that `Trailer` announces in the head. Fields that frame, route, authenticate
//! or describe content never travel in a trailer, announced or not.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::hop;
use super::list;

/// Whether the message's sender takes trailers in the answer (RFC 9110 10.1.4).
pub fn are_wanted(request: &HeaderMap) -> bool {
    list::all(request, &header::TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// What `Trailer` announces of what may travel; `None` if nothing is left.
pub fn announced(head: &HeaderMap) -> Option<HeaderValue> {
    let mut names = Vec::new();
    for name in list::all(head, &header::TRAILER) {
        if HeaderName::from_bytes(name).is_ok_and(|name| may_trail(&name)) {
            if !names.is_empty() {
                names.extend_from_slice(b", ");
            }
            names.extend_from_slice(name);
        }
    }
    if names.is_empty() { None } else { HeaderValue::from_bytes(&names).ok() }
}

/// Removes from `trailers` what may not travel there.
pub fn sweep(trailers: &mut HeaderMap) {
    let refused = |name: &&HeaderName| !may_trail(name);
    let refused: Vec<HeaderName> = trailers.keys().filter(refused).cloned().collect();
    for name in refused {
        trailers.remove(name);
    }
}

/// RFC 9110 6.5.1: not what is needed before the content, nor what the next hop could
/// merge into the head and act upon.
fn may_trail(name: &HeaderName) -> bool {
    !(hop::is_hop(name)
        || hop::is_protected(name)
        || name.as_str().starts_with("content-")
        || name.as_str().starts_with("x-forwarded")
        || BEFORE.iter().any(|before| before == name))
}

static BEFORE: [HeaderName; 8] = [
    header::EXPECT,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::LOCATION,
    header::WWW_AUTHENTICATE,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &'static str, value: &'static str) -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        fields
    }

    #[test]
    fn only_fields_that_mean_the_same_after_the_content_are_announced() {
        let mixed = head("trailer", "X-Sum, Content-Length, Host, a b, Server-Timing");
        assert_eq!(announced(&mixed).unwrap(), "X-Sum, Server-Timing");
        assert_eq!(announced(&head("trailer", "Transfer-Encoding, Cookie")), None);
        assert_eq!(announced(&head("x", "y")), None);
    }

    #[test]
    fn a_trailer_loses_what_could_be_taken_for_a_head() {
        let mut trailers = head("x-sum", "1");
        trailers.extend(head("host", "evil.test"));
        trailers.extend(head("content-type", "text/html"));
        trailers.extend(head("x-forwarded-for", "1.2.3.4"));
        sweep(&mut trailers);
        assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-sum"]);
    }

    #[test]
    fn te_says_whether_trailers_are_taken() {
        assert!(are_wanted(&head("te", "Trailers")));
        assert!(are_wanted(&head("te", "deflate;q=0.5, trailers")));
        assert!(!are_wanted(&head("te", "gzip")));
        assert!(!are_wanted(&HeaderMap::new()));
    }
}
