//! What the cache must know of a plain request: the same nouns as behind the door, without
//! its many looks into a header map.
//!
//! For HTTP/1 the guard has refused everything ambiguous and calls no request plain that carries a
//! framing, a condition, a range, a directive or a loop. What is left of the door's work is
//! the target and the host, by the door's own rules.

use bytes::Bytes;
use http::Method;
use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;

use super::asked::{Asked, Scheme};
use super::door;
use super::entry::Slot;
use super::normalise::normalise;
use super::site::Policy;

/// The request as `door::admit` would make it; `None` if the door should have a look.
pub fn asked(target: &[u8], host: &[u8], scheme: Scheme) -> Option<Asked> {
    let plain = |byte: &u8| matches!(byte, 0x21..=0x7e) && *byte != b'#';
    let fits = target.first() == Some(&b'/')
        && target.len() + host.len() <= door::TARGET_MAX
        && target.iter().all(plain);
    if !fits {
        return None;
    }
    let (host, port) = door::parse_authority(host).ok()?;
    let target = PathAndQuery::from_maybe_shared(Bytes::copy_from_slice(target)).ok()?;
    let port = port.unwrap_or(scheme.default_port());
    Some(Asked { method: Method::GET, scheme, host, port, target })
}

/// The same for an HTTP/2 request whose stream has ended with its head: what the door would
/// make of it if it is a plain GET, by one look at each field. `None` if the door should have
/// a look (RFC 9113 8.2.2, 8.3.1).
pub fn asked_http2(parts: &Parts, scheme: Scheme) -> Option<Asked> {
    let authority = parts.uri.authority()?;
    if parts.method != Method::GET || parts.headers.len() > door::FIELDS_MAX {
        return None;
    }
    for (name, value) in &parts.headers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        let foreign = matches!(name, b"host" | b"connection" | b"keep-alive")
            || name.len() + value.len() > door::FIELD_MAX
            || name.contains(&b'"')
            || value.iter().fold(false, |bad, &b| bad | (b < 0x20 && b != b'\t') | (b == 0x7f));
        if foreign || is_heeded(name, value) {
            return None;
        }
    }
    let (host, port) = door::target_authority(&parts.uri, authority, scheme).ok()?;
    let target = door::target(parts).ok()?;
    let port = port.unwrap_or(scheme.default_port());
    Some(Asked { method: Method::GET, scheme, host, port, target })
}

/// The fields that choose among the variants of `slot`, normalised as the whole head would
/// be; `values` calls back with each line of a field by its lower-case name. `None` if one of
/// them cannot be a field value.
pub fn selecting(
    slot: &Slot,
    policy: &Policy,
    values: impl Fn(&str, &mut dyn FnMut(&[u8])),
) -> Option<HeaderMap> {
    let mut sound = true;
    let mut fields = HeaderMap::new();
    let named = slot.variants.iter().filter_map(|entry| entry.vary.as_deref());
    for (name, _) in named.flat_map(|vary| &vary.fields) {
        if fields.contains_key(name) {
            continue;
        }
        values(name.as_str(), &mut |line| match HeaderValue::from_bytes(line) {
            Ok(value) => drop(fields.append(name, value)),
            Err(_) => sound = false,
        });
    }
    if !fields.is_empty() {
        normalise(&mut fields, policy);
    }
    sound.then_some(fields)
}

/// Whether a field is one that must be heeded beyond choosing a variant: framing,
/// connection options, conditions, ranges, cache directives, loops.
pub fn is_heeded(name: &[u8], value: &[u8]) -> bool {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    match name.len() {
        2 => is(b"te"),
        5 => is(b"range"),
        6 => is(b"pragma") || is(b"expect"),
        7 => is(b"upgrade") || is(b"trailer"),
        8 => is(b"if-match") || is(b"if-range") || is(b"cdn-loop"),
        10 => is(b"connection") && !value.eq_ignore_ascii_case(b"keep-alive"),
        13 => is(b"cache-control") || is(b"if-none-match"),
        14 => is(b"content-length") || is(b"http2-settings"),
        16 => is(b"proxy-connection"),
        17 => is(b"if-modified-since") || is(b"transfer-encoding"),
        19 => is(b"if-unmodified-since"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::door::{Arrival, admit};
    use super::*;
    use http::Request;

    fn parts(method: &str, target: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn shown(asked: &Asked) -> String {
        format!("{asked:?}")
    }

    #[test]
    fn a_plain_request_of_http_2_is_what_the_door_makes_of_it() {
        let long = format!("https://a/{}", "b".repeat(door::TARGET_MAX - 2));
        for target in ["https://A.example.:443/x?y", "https://[::1]:8/", "https://a/%20", &long] {
            for fields in [&[][..], &[("accept", "b"), ("cookie", "c=d"), ("x", "")]] {
                let parts = parts("GET", target, fields);
                let arrival = Arrival { scheme: Scheme::Https, http2: true, cdn_id: "brink" };
                let admitted = admit(&parts, &arrival).unwrap();
                let asked = asked_http2(&parts, Scheme::Https).expect(target);
                assert_eq!(shown(&asked), shown(&admitted));
            }
        }
    }

    #[test]
    fn what_the_door_must_see_is_not_plain() {
        let refused = |method: &str, target: &str, fields: &[(&str, &str)]| {
            assert!(asked_http2(&parts(method, target, fields), Scheme::Https).is_none());
        };
        refused("HEAD", "https://a/", &[]);
        refused("GET", "http://a/", &[]);
        refused("GET", "/no-authority", &[]);
        refused("GET", "https://u@a/", &[]);
        refused("GET", "https://a/\"", &[]);
        refused("GET", &format!("https://a/{}", "b".repeat(door::TARGET_MAX)), &[]);
        let long = "v".repeat(door::FIELD_MAX);
        for field in [
            ("host", "a"),
            ("connection", "keep-alive"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("proxy-connection", "close"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("content-length", "0"),
            ("expect", "100-continue"),
            ("range", "bytes=0-1"),
            ("if-none-match", "*"),
            ("if-range", "x"),
            ("cache-control", "no-cache"),
            ("pragma", "no-cache"),
            ("cdn-loop", "b"),
            ("x", &long),
        ] {
            refused("GET", "https://a/", &[field]);
        }
        refused("GET", "https://a/", &[("x", "y"); door::FIELDS_MAX + 1]);
    }
}
