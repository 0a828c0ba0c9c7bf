//! A request head, read once and strictly: request line, fields, framing.
//!
//! One pass over the bytes where they lie: the line ends are found by a vectorised
//! search, names by a table, values by a branch-free scan. The request line is judged when
//! it is complete and the rest when the head's end has come: a broken field without that is
//! still only a partial head, so that the verdict never depends on where the network cut.

use memchr::memchr;

use super::field::{decimal, has_control, is_host, is_target, is_token, is_token_byte, trim};
use super::plain::{Fields, Plain};
use crate::front::options::Limits;
use crate::front::service::REFUSED;
use crate::rules::fault::Fault;
use crate::rules::straight::is_heeded;

/// Limits of one head and its body's framing.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of the head.
    pub head: usize,
    /// Bytes of the target.
    pub target: usize,
    /// Field lines.
    pub fields: usize,
    /// Bytes of chunk extensions, and of trailers.
    pub overhead: usize,
    /// Bytes of the body.
    pub body: u64,
}

impl From<&Limits> for HeadLimits {
    fn from(limits: &Limits) -> Self {
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        HeadLimits {
            head: size(limits.head_max.bytes()),
            target: size(limits.target_max.bytes()),
            fields: limits.fields_max,
            overhead: size(limits.chunk_overhead_max.bytes()),
            body: match limits.body_max.bytes() {
                0 => u64::MAX >> 1,
                n => n.min(u64::MAX >> 1),
            },
        }
    }
}

/// How the body is framed (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Length(u64),
    Chunked,
}

/// What a head says that matters for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head, its empty line included.
    pub(super) len: usize,
    pub(super) body: Body,
    pub(super) upgrade: bool,
}

/// See `read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    /// With what a plain request asks, if it is one.
    Complete(Head, Option<Plain<'a>>),
    Partial,
    Refuse(Fault),
}

/// Reads the head at the start of `bytes`.
pub(super) fn read<'a>(bytes: &'a [u8], limits: &HeadLimits) -> Outcome<'a> {
    // RFC 9112 2.2: one empty line before a request line is tolerated, not more.
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    match bytes.get(skipped) {
        // Judged at once: TLS on a plain port, or a second empty line.
        Some(first) if !is_token_byte(*first) && !(skipped == 0 && *first == b'\r') => {
            return Outcome::Refuse(Fault::BadRequest("no method at the start of a request"));
        }
        Some(_) => {}
        None => return Outcome::Partial,
    }
    match parse(bytes, skipped, limits) {
        Ok(Some((head, plain))) if head.len <= limits.head => Outcome::Complete(head, plain),
        Ok(Some(_)) => Outcome::Refuse(oversized(bytes, skipped, limits)),
        Ok(None) if bytes.len() > limits.head => Outcome::Refuse(oversized(bytes, skipped, limits)),
        Ok(None) => Outcome::Partial,
        // What is no request line never becomes one, and a client of HTTP/0.9 sends no more.
        Err(fault) if is_no_request(bytes, skipped, limits) => Outcome::Refuse(fault),
        Err(fault) => match end_of_head(bytes, skipped) {
            Some(end) if end <= limits.head => Outcome::Refuse(fault),
            None if bytes.len() <= limits.head => Outcome::Partial,
            _ => Outcome::Refuse(oversized(bytes, skipped, limits)),
        },
    }
}

/// Whether there is a whole first line that is no request line.
fn is_no_request(bytes: &[u8], skipped: usize, limits: &HeadLimits) -> bool {
    let within = first_line(bytes, 0).is_some_and(|end| end <= limits.head);
    within
        && match next_line(bytes, skipped) {
            Ok(Some((line, _))) => request_line(line, limits).is_err(),
            Ok(None) => false,
            Err(_) => true,
        }
}

/// Where the request line ends, if that is among the bytes from `seen` on.
pub(super) fn first_line(bytes: &[u8], seen: usize) -> Option<usize> {
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let from = seen.max(skipped);
    let end = from + memchr(b'\n', bytes.get(from..)?)? + 1;
    memchr(b'\n', bytes.get(skipped..from)?).is_none().then_some(end)
}

/// Where the head ends, well formed or not: after the first empty line.
pub(super) fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr(b'\n', bytes.get(at..)?)? + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

fn oversized(bytes: &[u8], skipped: usize, limits: &HeadLimits) -> Fault {
    let seen = bytes.get(skipped..bytes.len().min(limits.head)).unwrap_or_default();
    let line = seen.split(|b| *b == b'\n').next().unwrap_or_default();
    let target = line.split(|b| *b == b' ').nth(1).unwrap_or_default();
    if target.len() > limits.target { Fault::UriTooLong } else { Fault::HeadTooLarge }
}

/// What the fields have said so far.
#[derive(Debug, Default)]
struct Seen<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    /// Another coding besides chunked.
    coded: bool,
    upgrade: bool,
    fields: usize,
    /// A field that decides more than which stored variant fits.
    heeded: bool,
    user_agent: Option<&'a [u8]>,
    referer: Option<&'a [u8]>,
}

type Parsed<'a> = (Head, Option<Plain<'a>>);

fn parse<'a>(
    bytes: &'a [u8],
    skipped: usize,
    limits: &HeadLimits,
) -> Result<Option<Parsed<'a>>, Fault> {
    let Some((line, mut at)) = next_line(bytes, skipped)? else { return Ok(None) };
    let (http11, gets) = request_line(line, limits)?;
    let fields_at = at;
    let mut seen = Seen::default();
    loop {
        let Some((line, next)) = next_line(bytes, at)? else { return Ok(None) };
        at = next;
        if line.is_empty() {
            break;
        }
        seen.fields += 1;
        if seen.fields > limits.fields {
            return Err(Fault::HeadTooLarge);
        }
        field_line(line, http11, &mut seen)?;
    }
    if http11 && seen.host.is_none() {
        return Err(Fault::BadRequest("no Host"));
    }
    let body = match (seen.chunked, seen.length) {
        (true, Some(_)) => {
            return Err(Fault::BadRequest("Content-Length with Transfer-Encoding"));
        }
        (true, None) if seen.coded => return Err(Fault::CodingNotImplemented),
        (true, None) => Body::Chunked,
        (false, Some(n)) if n > limits.body => return Err(Fault::BodyTooLarge),
        (false, Some(0) | None) => Body::None,
        (false, Some(n)) => Body::Length(n),
    };
    let head = Head { len: at, body, upgrade: seen.upgrade && http11 };
    let target = gets.filter(|_| http11 && !seen.heeded && skipped == 0);
    let plain = target.zip(seen.host).map(|(target, host)| Plain {
        target,
        host,
        user_agent: seen.user_agent,
        referer: seen.referer,
        fields: Fields::Text(bytes.get(fields_at..at).unwrap_or_default()),
    });
    Ok(Some((head, plain)))
}

/// The line that starts at `at` without its CRLF, and where the next one starts.
fn next_line(bytes: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, Fault> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(end) = memchr(b'\n', rest) else { return Ok(None) };
    match rest.get(..end) {
        Some([line @ .., b'\r']) => Ok(Some((line, at + end + 1))),
        _ => Err(Fault::BadRequest("a line ends without CR")),
    }
}

/// `method SP request-target SP HTTP-version` (RFC 9112 3). Returns whether it is 1.1, and
/// the target of a GET in origin-form.
fn request_line<'a>(
    line: &'a [u8],
    limits: &HeadLimits,
) -> Result<(bool, Option<&'a [u8]>), Fault> {
    let mut parts = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::BadRequest("the request line is not method, target, version"));
    };
    if !is_token(method) || method.len() > METHOD_MAX || method == REFUSED.as_bytes() {
        return Err(Fault::BadRequest("bad method"));
    }
    let http11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        [b'H', b'T', b'T', b'P', b'/', b'0' | b'2'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Fault::VersionNotSupported);
        }
        _ => return Err(Fault::BadRequest("the version is neither HTTP/1.1 nor HTTP/1.0")),
    };
    if target.len() > limits.target {
        return Err(Fault::UriTooLong);
    }
    match target {
        // This node is no tunnel (RFC 9110 9.3.6), and PRI is HTTP/2's.
        _ if method == b"CONNECT" || method == b"PRI" => return Err(Fault::MethodNotAllowed),
        [b'/', ..] if is_target(target) => {}
        b"*" if method == b"OPTIONS" => {}
        _ if is_absolute(target) => {}
        _ => return Err(Fault::BadRequest("bad request target")),
    }
    Ok((http11, (method == b"GET" && target.starts_with(b"/")).then_some(target)))
}

/// `http://host[:port]/path` (RFC 9112 3.2.2), without user information.
fn is_absolute(target: &[u8]) -> bool {
    let Some(colon) = memchr(b':', target) else { return false };
    let (scheme, rest) = target.split_at(colon);
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return false;
    }
    let Some(rest) = rest.strip_prefix(b"://") else { return false };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    is_host(authority) && is_target(path)
}

fn field_line<'a>(line: &'a [u8], http11: bool, seen: &mut Seen<'a>) -> Result<(), Fault> {
    let Some(colon) = memchr(b':', line) else {
        return Err(Fault::BadRequest("a field line without colon"));
    };
    let (name, value) = line.split_at(colon);
    if !is_token(name) {
        // Also obs-fold, and a space before the colon (RFC 9112 5.1, 5.2).
        return Err(Fault::BadRequest("bad field name"));
    }
    if has_control(value) {
        return Err(Fault::BadRequest("a control character in a field value"));
    }
    framing_field(name, trim(line.get(colon + 1..).unwrap_or_default()), http11, seen)
}

/// The fields that decide host, framing and expectation.
fn framing_field<'a>(
    name: &[u8],
    value: &'a [u8],
    http11: bool,
    seen: &mut Seen<'a>,
) -> Result<(), Fault> {
    seen.heeded |= is_heeded(name, value);
    match name.len() {
        4 if name.eq_ignore_ascii_case(b"host") => {
            if seen.host.is_some() {
                return Err(Fault::BadRequest("more than one Host"));
            }
            if !is_host(value) {
                return Err(Fault::BadRequest("bad Host"));
            }
            seen.host = Some(value);
        }
        6 if name.eq_ignore_ascii_case(b"expect")
            && !value.eq_ignore_ascii_case(b"100-continue") =>
        {
            return Err(Fault::ExpectationFailed);
        }
        7 if name.eq_ignore_ascii_case(b"upgrade") => seen.upgrade = true,
        7 if name.eq_ignore_ascii_case(b"referer") => {
            seen.referer.get_or_insert(value);
        }
        10 if name.eq_ignore_ascii_case(b"user-agent") => {
            seen.user_agent.get_or_insert(value);
        }
        14 if name.eq_ignore_ascii_case(b"content-length") => {
            let Some(length) = decimal(value).filter(|n| *n <= u64::MAX >> 1) else {
                return Err(Fault::BadRequest("bad Content-Length"));
            };
            if seen.length.replace(length).is_some() {
                return Err(Fault::BadRequest("more than one Content-Length"));
            }
        }
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
            if !http11 {
                return Err(Fault::BadRequest("Transfer-Encoding in HTTP/1.0"));
            }
            if seen.chunked {
                return Err(Fault::BadRequest("more than one Transfer-Encoding"));
            }
            seen.chunked = true;
            seen.coded = !value.eq_ignore_ascii_case(b"chunked");
            if seen.coded && !is_known_coding(value) {
                return Err(Fault::BadRequest("Transfer-Encoding is not exactly chunked"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// A registered compression before a final `chunked` (RFC 9112 7.2): well formed, so the
/// sender may be told that it is not implemented. Everything else has no sure framing.
fn is_known_coding(value: &[u8]) -> bool {
    let known = [&b"gzip"[..], b"x-gzip", b"deflate", b"compress", b"x-compress"];
    let mut parts = value.split(|b| *b == b',').map(trim);
    let coding = parts.next().unwrap_or_default();
    known.iter().any(|name| coding.eq_ignore_ascii_case(name))
        && parts.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"))
        && parts.next().is_none()
}

/// Bytes of the longest registered method, and as much again.
const METHOD_MAX: usize = 32;
