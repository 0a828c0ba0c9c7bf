//! Which keys an unsafe request makes unusable (RFC 9111 4.4).
//!
//! The target itself, and what `Location` and `Content-Location` of the answer name if
//! they have the same scheme, host and port: an answer of one site must not empty the
//! cache of another. Only non-error answers (2xx, 3xx) invalidate.

use http::header::{self, HeaderMap};
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use smallvec::SmallVec;

use super::asked::Asked;
use super::key::{Key, KeySeed, key_of};
use super::site::QueryKey;

/// The keys to remove after `asked` was answered with `status` and `fields`; none for
/// safe methods and errors.
pub fn invalidated(
    seed: KeySeed,
    asked: &Asked,
    query: &QueryKey,
    status: StatusCode,
    fields: &HeaderMap,
) -> SmallVec<[Key; 3]> {
    let mut keys = SmallVec::new();
    if asked.is_safe() || !(status.is_success() || status.is_redirection()) {
        return keys;
    }
    keys.push(key_of(seed, asked, query));
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let target = fields.get(name).and_then(|value| value.to_str().ok());
        if let Some(target) = target.and_then(|text| resolve(asked, text)) {
            let key = key_of(seed, &Asked { target, ..asked.clone() }, query);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}

/// `reference` against the target of the request, if it stays with the same authority.
fn resolve(asked: &Asked, reference: &str) -> Option<PathAndQuery> {
    let reference = reference.split('#').next()?;
    if reference.starts_with("//") {
        let uri: Uri = format!("{}:{reference}", asked.scheme.as_str()).parse().ok()?;
        return same_authority(asked, &uri);
    }
    if reference.starts_with('/') {
        return reference.parse().ok();
    }
    if reference.contains("://") {
        return same_authority(asked, &reference.parse().ok()?);
    }
    if reference.is_empty() || reference.starts_with('?') {
        return format!("{}{reference}", asked.target.path()).parse().ok();
    }
    // RFC 3986 5.2.3: relative to the last slash; dot segments stay as they are, because
    // the key holds bytes and not meanings.
    let (directory, _) = asked.target.path().rsplit_once('/')?;
    format!("{directory}/{reference}").parse().ok()
}

fn same_authority(asked: &Asked, uri: &Uri) -> Option<PathAndQuery> {
    let port = uri.port_u16().unwrap_or(asked.scheme.default_port());
    let same = uri.scheme_str()?.eq_ignore_ascii_case(asked.scheme.as_str())
        && uri.host()?.eq_ignore_ascii_case(asked.host.as_str())
        && port == asked.port;
    if !same {
        return None;
    }
    Some(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::asked::{Host, Scheme};
    use http::{HeaderValue, Method};

    fn keys(method: Method, status: u16, location: &str) -> Vec<String> {
        let asked = Asked {
            method,
            scheme: Scheme::Http,
            host: Host::from_valid("a"),
            port: 8080,
            target: PathAndQuery::from_static("/dir/x?q"),
        };
        let mut fields = HeaderMap::new();
        fields.insert(header::LOCATION, HeaderValue::from_str(location).unwrap());
        let status = StatusCode::from_u16(status).unwrap();
        invalidated(KeySeed(1), &asked, &QueryKey::All, status, &fields)
            .iter()
            .map(|key| String::from_utf8_lossy(key.text()).into_owned())
            .collect()
    }

    #[test]
    fn unsafe_methods_invalidate_their_target_unless_they_fail() {
        assert_eq!(keys(Method::POST, 200, "/dir/x?q"), ["http://a:8080/dir/x?q"]);
        let search = Method::from_bytes(b"M-SEARCH").unwrap();
        assert_eq!(keys(search, 302, "http://b/").len(), 1);
        assert!(keys(Method::POST, 500, "/y").is_empty());
        assert!(keys(Method::PUT, 404, "/y").is_empty());
        assert!(keys(Method::GET, 200, "/y").is_empty());
    }

    #[test]
    fn locations_of_the_same_authority_go_too() {
        for (location, wanted) in [
            ("/y", Some("http://a:8080/y")),
            ("y?z#f", Some("http://a:8080/dir/y?z")),
            ("?z", Some("http://a:8080/dir/x?z")),
            ("http://A:8080/y", Some("http://a:8080/y")),
            ("//a:8080", Some("http://a:8080/")),
            ("http://a/y", None),
            ("https://a:8080/y", None),
            ("http://b:8080/y", None),
        ] {
            let got = keys(Method::DELETE, 204, location);
            assert_eq!(got.get(1).map(String::as_str), wanted, "{location}");
        }
    }
}
