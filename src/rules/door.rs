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
fn target(parts: &Parts) -> Result<PathAndQuery, Fault> {
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
    let plain = |byte: &u8| matches!(byte, 0x21..=0x7e) && *byte != b'#';
    match target.as_str().as_bytes().iter().all(plain) {
        true => Ok(target.clone()),
        false => bad("the target has bytes that must be percent-encoded"),
    }
}

fn fields(fields: &HeaderMap) -> Result<(), Fault> {
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

/// RFC 9113 8.2.2.
fn connection_specific(fields: &HeaderMap) -> Result<(), Fault> {
    let named = [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE];
    let named = named.iter().any(|name| fields.contains_key(name))
        || fields.contains_key("keep-alive")
        || fields.contains_key("proxy-connection");
    let te = list::all(fields, &header::TE).all(|te| te.eq_ignore_ascii_case(b"trailers"));
    if named || !te {
        return bad("a connection-specific field in HTTP/2");
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
        Some(authority) => Some(target_authority(&parts.uri, authority, arrival)?),
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

fn target_authority(
    uri: &Uri,
    authority: &Authority,
    arrival: &Arrival<'_>,
) -> Result<(Host, Option<u16>), Fault> {
    match (uri.scheme_str(), arrival.scheme) {
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
