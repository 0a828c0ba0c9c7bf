//! The door: everything a request must satisfy before it means anything here, for
//! HTTP/1 and HTTP/2 alike.
//!
//! hyper parses liberally (no `Host`, two of them, `Content-Length` next to
//! `Transfer-Encoding`, `GET foo`, CONNECT). Whatever could be read in two ways is refused
//! here with a fault that closes the connection (RFC 9112 3, 6.3, 11.2; RFC 9113 8.2.2,
//! 8.3.1), so one message never has two readings between the client, us and the origin.
//! What only the raw bytes show (bare LF, a fragment in the target) is `front`'s guard.

use http::header::{self, HeaderMap};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{Method, Uri, Version};

use super::asked::{Asked, Host, Scheme};
use super::fault::Fault;
use super::list;

/// Longest target in bytes.
pub const TARGET_MAX: usize = 8 * 1024;
/// Longest field line in bytes, name and value: what common origins still take. A longer
/// one would come back as an error of the origin (RFC 9110 5.4, CPDoS).
pub const FIELD_MAX: usize = 8 * 1024;
/// Most field lines: each costs work here and at the origin, however short it is.
pub const FIELDS_MAX: usize = 100;
/// Longest method in bytes.
const METHOD_MAX: usize = 32;

/// How the request came in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Scheme of the listener.
    pub scheme: Scheme,
    /// HTTP/2 (or later) rather than HTTP/1.
    pub http2: bool,
    /// Our own identifier in `CDN-Loop` (RFC 8586).
    pub cdn_id: &'a str,
}

/// Checks a request and makes it canonical, or says what is wrong with it.
pub fn admit(parts: &Parts, arrival: &Arrival<'_>) -> Result<Asked, Fault> {
    method(&parts.method)?;
    let target = target(parts)?;
    fields(&parts.headers)?;
    match arrival.http2 {
        true => connection_specific(&parts.headers)?,
        false => framing(parts.version, &parts.headers)?,
    }
    let (host, port) = authority(parts, arrival)?;
    expectation(&parts.headers)?;
    own_loop(&parts.headers, arrival.cdn_id)?;
    Ok(Asked {
        method: parts.method.clone(),
        scheme: arrival.scheme,
        host,
        port: port.unwrap_or(arrival.scheme.default_port()),
        target,
    })
}

fn bad<T>(why: &'static str) -> Result<T, Fault> {
    Err(Fault::BadRequest(why))
}

fn method(method: &Method) -> Result<(), Fault> {
    if method.as_str().len() > METHOD_MAX {
        return bad("the method is too long");
    }
    // CONNECT would make a tunnel, TRACE reflect secrets; PURGE belongs to the admin API.
    if *method == Method::CONNECT || *method == Method::TRACE || method.as_str() == "PURGE" {
        return Err(Fault::MethodNotAllowed);
    }
    Ok(())
}

/// Origin-form, absolute-form, or `*` for OPTIONS (RFC 9112 3.2).
pub(super) fn target(parts: &Parts) -> Result<PathAndQuery, Fault> {
    let uri = &parts.uri;
    let length = uri.path().len() + uri.query().map_or(0, str::len);
    if length + uri.authority().map_or(0, |authority| authority.as_str().len()) > TARGET_MAX {
        return Err(Fault::UriTooLong);
    }
    let path = uri.path();
    if path == "*" {
        return match parts.method == Method::OPTIONS && uri.query().is_none() {
            true => Ok(PathAndQuery::from_static("*")),
            false => bad("the target * is for OPTIONS only"),
        };
    }
    let Some(target) = uri.path_and_query() else { return bad("the target has no path") };
    if uri.authority().is_some() && uri.scheme().is_none() {
        return bad("the target is neither a path nor an absolute URI");
    }
    // An absolute URI may have an empty path; hyper's parser gives `/` for it.
    if !path.starts_with('/') {
        return bad("the target does not begin with a slash");
    }
    let plain = |byte: u8| matches!(byte, 0x21..=0x7e) && !b"#\"<>".contains(&byte);
    let clean = path.bytes().all(|byte| plain(byte) && byte != b'\\');
    match clean && target.query().is_none_or(|query| query.bytes().all(plain)) {
        true => Ok(target.clone()),
        false => bad("the target has bytes that must be percent-encoded"),
    }
}

fn fields(fields: &HeaderMap) -> Result<(), Fault> {
    // The crumbs of a cookie in HTTP/2 are one field (RFC 9113 8.2.3).
    let crumbs = fields.get_all(header::COOKIE).iter().count();
    if fields.len() - crumbs > FIELDS_MAX {
        return Err(Fault::HeadTooLarge);
    }
    for (name, value) in fields {
        if name.as_str().len() + value.len() > FIELD_MAX {
            return Err(Fault::HeadTooLarge);
        }
        // The types rule this out already; a CTL in a value is worth two checks.
        if value.as_bytes().iter().any(|&byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
            return bad("a field value has control characters");
        }
    }
    Ok(())
}

/// HTTP/1 framing (RFC 9112 6): one reading or none.
fn framing(version: Version, fields: &HeaderMap) -> Result<(), Fault> {
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).into_iter();
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).into_iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return bad("the only transfer coding taken is chunked");
        }
        if lengths.next().is_some() {
            return bad("Content-Length next to Transfer-Encoding");
        }
        if version < Version::HTTP_11 {
            return bad("Transfer-Encoding in HTTP/1.0");
        }
        return Ok(());
    }
    if let Some(length) = lengths.next() {
        let digits = length.as_bytes();
        let number = length.to_str().ok().and_then(|text| text.parse::<u64>().ok());
        if lengths.next().is_some() || number.is_none() || !digits.iter().all(u8::is_ascii_digit) {
            return bad("Content-Length is not one number");
        }
    }
    Ok(())
}

/// RFC 9113 8.2.2; and a quote in a name, which the type of names lets pass.
fn connection_specific(fields: &HeaderMap) -> Result<(), Fault> {
    let named = [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE];
    let named = named.iter().any(|name| fields.contains_key(name))
        || fields.contains_key("keep-alive")
        || fields.contains_key("proxy-connection")
        || fields.keys().any(|name| name.as_str().contains('"'));
    let te = list::all(fields, &header::TE).all(|te| te.eq_ignore_ascii_case(b"trailers"));
    if named || !te {
        return bad("a field that HTTP/2 does not know");
    }
    framing(Version::HTTP_2, fields)
}

/// Host and port: from the target if it has them, else from the one `Host` (RFC 9112
/// 3.2.2, RFC 9113 8.3.1).
fn authority(parts: &Parts, arrival: &Arrival<'_>) -> Result<(Host, Option<u16>), Fault> {
    let mut lines = parts.headers.get_all(header::HOST).into_iter();
    let from_field = match lines.next() {
        Some(line) => Some(parse_authority(line.as_bytes())?),
        None => None,
    };
    if lines.next().is_some() {
        return bad("more than one Host");
    }
    let from_target = match parts.uri.authority() {
        Some(authority) => Some(target_authority(&parts.uri, authority, arrival.scheme)?),
        None => None,
    };
    match (from_target, from_field) {
        (Some(target), Some(field)) if arrival.http2 && !same(&target, &field, arrival) => {
            bad("Host and :authority differ")
        }
        (None, None) => bad("no Host"),
        // HTTP/1.1 asks for Host even next to an absolute target (RFC 9112 3.2).
        (Some(_), None) if !arrival.http2 => bad("no Host"),
        (Some(target), _) => Ok(target),
        (None, Some(field)) => Ok(field),
    }
}

fn same(one: &(Host, Option<u16>), two: &(Host, Option<u16>), arrival: &Arrival<'_>) -> bool {
    let port = |port: Option<u16>| port.unwrap_or(arrival.scheme.default_port());
    one.0 == two.0 && port(one.1) == port(two.1)
}

/// Host and port of an absolute target that came over `scheme`.
pub(super) fn target_authority(
    uri: &Uri,
    authority: &Authority,
    scheme: Scheme,
) -> Result<(Host, Option<u16>), Fault> {
    match (uri.scheme_str(), scheme) {
        (Some("https"), _) | (Some("http"), Scheme::Http) => {}
        (Some("http"), Scheme::Https) => return bad("an http target over TLS"),
        _ => return bad("the target has another scheme than http or https"),
    }
    parse_authority(authority.as_str().as_bytes())
}

/// `host [":" port]` with nothing around it: no user, no percent-encoding, no empty label.
/// A single dot at the end is dropped (it is the same name).
pub fn parse_authority(text: &[u8]) -> Result<(Host, Option<u16>), Fault> {
    let Ok(text) = std::str::from_utf8(text) else { return bad("Host is not ASCII") };
    if let Some(bracketed) = text.strip_prefix('[') {
        let Some((literal, rest)) = bracketed.split_once(']') else {
            return bad("Host is invalid");
        };
        let Ok(address) = literal.parse::<std::net::Ipv6Addr>() else {
            return bad("Host is invalid");
        };
        let port = match rest.strip_prefix(':') {
            Some(digits) => port(digits)?,
            None if rest.is_empty() => None,
            None => return bad("Host is invalid"),
        };
        return Ok((Host::from_valid(&format!("[{address}]")), port));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, digits)) => (name, port(digits)?),
        None => (text, None),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    match name.len() <= 253 && name.split('.').all(label) {
        true => Ok((Host::from_valid(name), port)),
        false => bad("Host is invalid"),
    }
}

/// A port; an empty one is the default (RFC 3986 3.2.3).
fn port(digits: &str) -> Result<Option<u16>, Fault> {
    if digits.is_empty() {
        return Ok(None);
    }
    match digits.parse::<u16>() {
        Ok(port) if port > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(port)),
        _ => bad("the port in Host is invalid"),
    }
}

/// RFC 9110 10.1.1.
fn expectation(fields: &HeaderMap) -> Result<(), Fault> {
    let mut all = list::all(fields, &header::EXPECT);
    match all.all(|word| word.eq_ignore_ascii_case(b"100-continue")) {
        true => Ok(()),
        false => Err(Fault::ExpectationFailed),
    }
}

/// RFC 8586 2: our own identifier means the request has been here before.
fn own_loop(fields: &HeaderMap, cdn_id: &str) -> Result<(), Fault> {
    for value in fields.get_all("cdn-loop") {
        for hop in list::elements(value.as_bytes()) {
            let id = hop.split(|&byte| byte == b';').next().unwrap_or(hop);
            if id.trim_ascii().eq_ignore_ascii_case(cdn_id.as_bytes()) {
                return Err(Fault::LoopDetected);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http::header::{HeaderName, HeaderValue};

    const PLAIN: Arrival<'static> = Arrival { scheme: Scheme::Http, http2: false, cdn_id: "brink" };
    const SECURE2: Arrival<'static> =
        Arrival { scheme: Scheme::Https, http2: true, cdn_id: "brink" };

    fn ask(
        arrival: &Arrival<'_>,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Result<String, Fault> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request = request.header(name, HeaderValue::from_str(value).unwrap());
        }
        let (parts, ()) = request.body(()).expect("hyper would take it").into_parts();
        admit(&parts, arrival)
            .map(|asked| format!("{}:{}{}", asked.host.as_str(), asked.port, asked.target))
    }

    fn is_bad(outcome: Result<String, Fault>) -> bool {
        matches!(outcome, Err(Fault::BadRequest(_)))
    }

    #[test]
    fn host_must_be_one_valid_name() {
        let host = |host: &str| ask(&PLAIN, "GET", "/x", &[("host", host)]);
        for (sent, wanted) in [
            ("A.example", "a.example:80/x"),
            ("a.example.", "a.example:80/x"),
            ("a:8080", "a:8080/x"),
            ("a:", "a:80/x"),
            ("[::1]:81", "[::1]:81/x"),
            ("192.0.2.1", "192.0.2.1:80/x"),
            ("a_b-c", "a_b-c:80/x"),
        ] {
            assert_eq!(host(sent).unwrap(), wanted);
        }
        for sent in [
            "", "a b", "a@b", "u:p@b", "a/b", "a..b", ".", "a:0", "a:99999", "a:+80", "a:80:80",
            "[::1", "[x]", "[::1]x", "a%41", "a,b", "a#b", "a\\b", "*.a",
        ] {
            assert!(is_bad(host(sent)), "{sent}");
        }
        assert!(is_bad(ask(&PLAIN, "GET", "/", &[])));
        assert!(is_bad(ask(&PLAIN, "GET", "/", &[("host", "a"), ("host", "a")])));
    }

    #[test]
    fn the_target_s_authority_wins_and_must_fit() {
        let target = |target: &str, host: &str| ask(&PLAIN, "GET", target, &[("host", host)]);
        assert_eq!(target("http://b:81/y?z", "a").unwrap(), "b:81/y?z");
        assert_eq!(target("http://b", "a").unwrap(), "b:80/");
        assert!(is_bad(target("http://b/y", "a b")));
        assert!(is_bad(ask(&PLAIN, "GET", "http://b/y", &[])));
        assert!(is_bad(target("ftp://b/y", "a")));
        assert!(is_bad(target("http://u@b/y", "a")));
        assert!(is_bad(target("foo", "a")));
        assert!(is_bad(target("*", "a")));
        assert_eq!(ask(&PLAIN, "OPTIONS", "*", &[("host", "a")]).unwrap(), "a:80*");
        let two = |host: &str| ask(&SECURE2, "GET", "https://b/y", &[("host", host)]);
        assert_eq!(two("b:443").unwrap(), "b:443/y");
        assert!(is_bad(two("a")));
        assert_eq!(ask(&SECURE2, "GET", "https://b/y", &[]).unwrap(), "b:443/y");
        assert!(is_bad(ask(&SECURE2, "GET", "http://b/y", &[])));
        let long = format!("/{}", "a".repeat(TARGET_MAX));
        assert_eq!(target(&long, "a"), Err(Fault::UriTooLong));
    }

    #[test]
    fn framing_has_one_reading() {
        let framed = |fields: &[(&str, &str)]| {
            let fields = [&[("host", "a")], fields].concat();
            ask(&PLAIN, "POST", "/", &fields)
        };
        assert!(framed(&[("content-length", "5")]).is_ok());
        assert!(framed(&[("transfer-encoding", "Chunked")]).is_ok());
        for fields in [
            &[("content-length", "5"), ("transfer-encoding", "chunked")][..],
            &[("content-length", "5"), ("content-length", "5")],
            &[("content-length", "5, 5")],
            &[("content-length", "+5")],
            &[("content-length", "")],
            &[("content-length", "99999999999999999999")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "identity")],
        ] {
            assert!(is_bad(framed(fields)), "{fields:?}");
        }
        for name in ["connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection"]
        {
            assert!(is_bad(ask(&SECURE2, "GET", "https://a/", &[(name, "x")])), "{name}");
        }
        assert!(is_bad(ask(&SECURE2, "GET", "https://a/", &[("te", "gzip")])));
        assert!(ask(&SECURE2, "GET", "https://a/", &[("te", "trailers")]).is_ok());
    }

    #[test]
    fn methods_expectations_and_loops_are_looked_at() {
        let get = |fields: &[(&str, &str)]| {
            let fields = [&[("host", "a")], fields].concat();
            ask(&PLAIN, "GET", "/", &fields)
        };
        for method in ["TRACE", "PURGE"] {
            let refused = ask(&PLAIN, method, "/", &[("host", "a")]);
            assert_eq!(refused, Err(Fault::MethodNotAllowed), "{method}");
        }
        let connect = ask(&PLAIN, "CONNECT", "a:443", &[("host", "a")]);
        assert_eq!(connect, Err(Fault::MethodNotAllowed));
        assert!(ask(&PLAIN, "M-SEARCH", "/", &[("host", "a")]).is_ok());
        assert!(get(&[("expect", "100-Continue")]).is_ok());
        assert_eq!(get(&[("expect", "foo")]), Err(Fault::ExpectationFailed));
        assert!(get(&[("cdn-loop", "other; v=1, brink2")]).is_ok());
        assert_eq!(get(&[("cdn-loop", "x, Brink; v=1")]), Err(Fault::LoopDetected));
        let long = "a".repeat(FIELD_MAX);
        assert_eq!(get(&[("x", &long)]), Err(Fault::HeadTooLarge));
    }
}
