//! The request that goes to the origin.
//!
//! Built anew from what the client sent: hop-by-hop fields and those `Connection` names
//! go, fields that an origin could reflect into a shared answer although they are not in
//! the key go too, and what the node itself asserts (`Via`, `CDN-Loop`, where the request
//! came from) is written by it alone. Conditions and ranges are ours when the cache asks
//! and the client's only when the request is passed.

use std::fmt::Write;
use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri, Version};

use super::asked::Asked;
use super::entry::{Entry, Extent};
use super::hop;
use super::list;
use super::site::Site;
use super::trailer;
use super::validate;

/// What the request is for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// The client's own exchange: nothing is stored.
    Pass,
    /// A WebSocket or other upgrade, passed with its `Upgrade` (see `wants_upgrade`).
    Upgrade,
    /// A whole representation for the cache.
    Fill,
    /// A range, kept as a part or in pieces: the client's own, or one of the node's.
    FillRange {
        /// What goes as `Range`.
        range: &'a HeaderValue,
        /// What goes as `If-Range`.
        if_range: Option<&'a HeaderValue>,
    },
    /// Validation of a stored response, or its replacement.
    Revalidate(&'a Entry),
    /// The rest of a stored beginning.
    Complete(&'a Entry),
}

/// Which fields tell the origin about the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announce {
    /// `X-Forwarded-For`, `-Proto`, `-Host`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// Both.
    Both,
    /// Neither.
    Nothing,
}

/// What the node says about itself and the client.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// The node's name: a token, for `Via`.
    pub node: &'a str,
    /// Our identifier in `CDN-Loop`.
    pub cdn_id: &'a str,
    /// The client's address.
    pub peer: IpAddr,
    /// The client is in a network whose own forwarding fields are believed.
    pub trusted: bool,
    /// Which fields are written.
    pub announce: Announce,
}

/// Makes the request for `purpose`. Its target is a path; its `Host` says the site's.
pub fn forward(
    parts: &Parts,
    asked: &Asked,
    site: &Site,
    purpose: Purpose<'_>,
    hop: &Hop<'_>,
) -> Parts {
    let (mut out, ()) = http::Request::new(()).into_parts();
    out.method = method(&parts.method, purpose);
    out.version = Version::HTTP_11;
    out.uri = path_only(&asked.target);
    out.headers = HeaderMap::with_capacity(parts.headers.len() + 6);
    let listed = hop::listed(&parts.headers);
    put_host(&mut out.headers, asked, site);
    for (name, value) in &parts.headers {
        if !listed.contains(name) && is_forwarded(name, purpose, hop.trusted) {
            out.headers.append(name.clone(), value.clone());
        }
    }
    join_cookies(&mut out.headers);
    if let Purpose::Upgrade = purpose {
        out.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        for value in parts.headers.get_all(header::UPGRADE) {
            out.headers.append(header::UPGRADE, value.clone());
        }
    }
    if let Purpose::Pass = purpose {
        put_trailers(&mut out.headers, &parts.headers);
    }
    if let (Some(hops), true) = (hops(&parts.headers), parts.method == Method::OPTIONS) {
        out.headers.insert(header::MAX_FORWARDS, HeaderValue::from(hops.saturating_sub(1)));
    }
    put_conditions(&mut out.headers, purpose);
    put_client(&mut out.headers, asked, hop);
    let protocol = if parts.version == Version::HTTP_2 { "2.0" } else { "1.1" };
    append(&mut out.headers, header::VIA, format!("{protocol} {}", hop.node));
    append(&mut out.headers, HeaderName::from_static("cdn-loop"), hop.cdn_id.to_owned());
    out
}

/// HTTP/2 may split Cookie into crumbs; HTTP/1 knows one line (RFC 9113 8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    if fields.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> =
        fields.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        fields.insert(header::COOKIE, whole);
    }
}

/// Whether the request asks to become a WebSocket (RFC 6455 4.1). Other upgrades, `h2c`
/// above all, are not passed on: the request is answered as if it had not asked.
pub fn wants_upgrade(method: &Method, fields: &HeaderMap) -> bool {
    let connection =
        list::all(fields, &header::CONNECTION).any(|word| word.eq_ignore_ascii_case(b"upgrade"));
    let mut protocols = list::all(fields, &header::UPGRADE);
    *method == Method::GET
        && connection
        && protocols.next().is_some_and(|word| word.eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none()
}

/// Whether an OPTIONS ends here although it is meant for an origin (RFC 9110 7.6.2).
pub fn is_last_hop(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS && hops(&parts.headers) == Some(0)
}

/// `Max-Forwards`, if it is one number.
fn hops(fields: &HeaderMap) -> Option<u64> {
    fields.get(header::MAX_FORWARDS)?.to_str().ok()?.trim().parse().ok()
}

/// A cache fills with GET; only what is passed, and a HEAD that freshens, stays itself: also
/// when it is asked again without conditions, because what it was about is no more. The answer
/// to a GET would have a body that this client must not get (RFC 9110 9.3.2).
fn method(sent: &Method, purpose: Purpose<'_>) -> Method {
    match purpose {
        Purpose::Fill if *sent == Method::HEAD => Method::HEAD,
        Purpose::Pass | Purpose::Upgrade | Purpose::Revalidate(_) => sent.clone(),
        Purpose::Fill | Purpose::FillRange { .. } | Purpose::Complete(_) => Method::GET,
    }
}

fn path_only(target: &PathAndQuery) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(target.clone());
    Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static("/"))
}

fn put_host(fields: &mut HeaderMap, asked: &Asked, site: &Site) {
    let text = match &site.host_header {
        Some(host) => host.clone(),
        None => authority(asked),
    };
    if let Ok(value) = HeaderValue::try_from(text) {
        fields.insert(header::HOST, value);
    }
}

/// `host[:port]`, without the scheme's default port.
fn authority(asked: &Asked) -> String {
    match asked.port == asked.scheme.default_port() {
        true => asked.host.as_str().to_owned(),
        false => format!("{}:{}", asked.host.as_str(), asked.port),
    }
}

fn is_forwarded(name: &HeaderName, purpose: Purpose<'_>, trusted: bool) -> bool {
    // `Expect` is met by the node itself, `Host` and the forwarding fields are written anew.
    if hop::is_hop(name) || *name == header::HOST || *name == header::EXPECT {
        return false;
    }
    if is_reflectable(name.as_str()) {
        return trusted && matches!(name.as_str(), "x-forwarded-for" | "forwarded");
    }
    let conditional = CONDITIONS.iter().any(|condition| condition == name);
    match purpose {
        Purpose::Pass | Purpose::Upgrade => true,
        Purpose::Fill
        | Purpose::FillRange { .. }
        | Purpose::Revalidate(_)
        | Purpose::Complete(_) => !conditional && !is_content(name) && *name != header::RANGE,
    }
}

/// Fields about content; a request of the cache has none.
fn is_content(name: &HeaderName) -> bool {
    *name == header::CONTENT_LENGTH
}

/// Fields that tell an origin another host, path, method or client than the request line
/// and are in no key: an origin that believes them poisons the cache. Underscores count
/// as hyphens, because CGI-like origins cannot tell them apart.
fn is_reflectable(name: &str) -> bool {
    let hyphenated;
    let name = match name.contains('_') {
        true => {
            hyphenated = name.replace('_', "-");
            hyphenated.as_str()
        }
        false => name,
    };
    REFLECTABLE_STARTS.iter().any(|start| name.starts_with(start))
        || (name.starts_with("x-") && name.ends_with("-override"))
        || REFLECTABLE.contains(&name)
}

/// Trailers of a passed exchange, both ways. What fills the cache asks for none: they are
/// not stored, and an answer must not depend on what its key does not hold.
fn put_trailers(fields: &mut HeaderMap, sent: &HeaderMap) {
    if let Some(announced) = trailer::announced(sent) {
        fields.insert(header::TRAILER, announced);
    }
    if trailer::are_wanted(sent) {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        // RFC 9110 10.1.4: TE is for the next hop only.
        fields.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Our own conditions and range.
fn put_conditions(fields: &mut HeaderMap, purpose: Purpose<'_>) {
    match purpose {
        Purpose::Pass | Purpose::Upgrade | Purpose::Fill => {}
        Purpose::FillRange { range, if_range } => {
            fields.insert(header::RANGE, range.clone());
            if let Some(validator) = if_range {
                fields.insert(header::IF_RANGE, validator.clone());
            }
        }
        Purpose::Revalidate(entry) => {
            let put = |fields: &mut HeaderMap, name: HeaderName, value: Option<&[u8]>| {
                if let Some(Ok(value)) = value.map(HeaderValue::from_bytes) {
                    fields.insert(name, value);
                }
            };
            let tag = entry.head.find(&header::ETAG);
            let tag = tag.filter(|tag| validate::opaque(tag.trim_ascii()).is_some());
            put(fields, header::IF_NONE_MATCH, tag);
            let modified = entry.head.find(&header::LAST_MODIFIED);
            put(fields, header::IF_MODIFIED_SINCE, modified);
        }
        Purpose::Complete(entry) => {
            let Extent::Part { last, .. } = entry.extent else { return };
            append(fields, header::RANGE, format!("bytes={}-", last.saturating_add(1)));
            let strong = entry.head.find(&header::ETAG).filter(|tag| tag.starts_with(b"\""));
            if let Some(Ok(tag)) = strong.map(HeaderValue::from_bytes) {
                fields.insert(header::IF_RANGE, tag);
            }
        }
    }
}

fn put_client(fields: &mut HeaderMap, asked: &Asked, hop: &Hop<'_>) {
    let host = authority(asked);
    let scheme = asked.scheme.as_str();
    if matches!(hop.announce, Announce::XForwarded | Announce::Both) {
        join(fields, HeaderName::from_static("x-forwarded-for"), hop.peer.to_string());
        append(fields, HeaderName::from_static("x-forwarded-proto"), scheme.to_owned());
        append(fields, HeaderName::from_static("x-forwarded-host"), host.clone());
    } else {
        fields.remove("x-forwarded-for");
    }
    if matches!(hop.announce, Announce::Forwarded | Announce::Both) {
        let mut element = String::new();
        let _ = match hop.peer {
            IpAddr::V4(peer) => write!(element, "for={peer}"),
            IpAddr::V6(peer) => write!(element, "for=\"[{peer}]\""),
        };
        let _ = write!(element, ";host=\"{host}\";proto={scheme}");
        join(fields, header::FORWARDED, element);
    } else {
        fields.remove(header::FORWARDED);
    }
}

/// Adds an element at the end of a list field, as one line.
fn join(fields: &mut HeaderMap, name: HeaderName, element: String) {
    let text = match list::joined(fields, &name) {
        Some(mut earlier) => {
            earlier.extend_from_slice(b", ");
            earlier.extend_from_slice(element.as_bytes());
            earlier
        }
        None => element.into_bytes(),
    };
    if let Ok(value) = HeaderValue::from_bytes(&text) {
        fields.insert(name, value);
    }
}

fn append(fields: &mut HeaderMap, name: HeaderName, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        fields.append(name, value);
    }
}

static CONDITIONS: [HeaderName; 5] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
];

/// Beginnings of names that `is_reflectable` refuses.
const REFLECTABLE_STARTS: [&str; 8] = [
    "x-forward",
    "x-original-",
    "x-rewrite-",
    "x-override-",
    "z-forwarded-",
    "x-proxy",
    "x-remote-",
    "x-azure-",
];

/// Whole names that it refuses: host, scheme, path, method, address or identity by another
/// name, as servers and frameworks read them.
#[rustfmt::skip]
const REFLECTABLE: [&str; 44] = [
    // Host and path.
    "forwarded", "x-host", "x-backend-host", "x-server-name", "via-host", "base-url",
    "http-url", "x-url", "x-uri", "x-request-uri", "request-uri", "x-http-destinationurl",
    "x-invoke-path", "x-invoke-query", "x-matched-path", "x-script-name",
    // Scheme.
    "x-scheme", "x-url-scheme", "front-end-https", "fastly-ssl", "x-ssl", "x-https",
    // Method.
    "x-http-method",
    // Address.
    "x-real-ip", "x-client-ip", "client-ip", "x-cluster-client-ip", "true-client-ip",
    "cf-connecting-ip", "fastly-client-ip", "x-originating-ip", "x-source-ip",
    "x-custom-ip-authorization", "x-appengine-user-ip", "x-envoy-external-address",
    "x-nf-client-connection-ip",
    // Who the client is, which only a server in front may say; and what to skip for it.
    "remote-user", "x-user-authenticated", "x-authenticated-user", "x-auth-request-user",
    "x-middleware-subrequest",
    // A proxy for the origin's own requests (httpoxy), and other vehicles.
    "proxy", "x-wap-profile", "x-accel-internal",
];
