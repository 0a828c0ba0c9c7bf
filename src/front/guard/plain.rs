//! The plain request: a GET that says nothing but what is wanted and who asks.
//!
//! Nearly all requests that find a stored answer are like this, and for them the way
//! through hyper (a parsed head, a header map, an answer's map, its encoding, the
//! dispatcher's states) costs as much again as all the work of the cache. The guard has
//! read the head already, so it hands on what it saw, and the connection may answer at
//! once (`front::straight`). Whatever could change an answer that is stored and fresh, apart
//! from choosing its variant, makes a request not plain: it goes through hyper.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, request};

/// What a plain request says, as slices of its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain<'a> {
    /// Path and query, beginning with a slash.
    pub target: &'a [u8],
    /// The one `Host`.
    pub host: &'a [u8],
    /// The first `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// The first `Referer`.
    pub referer: Option<&'a [u8]>,
    /// All field lines and the empty line.
    pub(super) fields: &'a [u8],
}

impl<'a> Plain<'a> {
    /// The head that hyper would make of it. `read` are the bytes it was found in, and `whole`
    /// a copy of them, which the head's values share.
    pub(in crate::front) fn head(&self, read: &[u8], whole: &Bytes) -> Option<request::Parts> {
        let start = read.as_ptr().addr();
        let share = |part: &[u8]| {
            let at = part.as_ptr().addr().checked_sub(start)?;
            let end = at.checked_add(part.len()).filter(|end| *end <= whole.len())?;
            Some(whole.slice(at..end))
        };
        let mut head = Request::new(()).into_parts().0;
        head.uri = Uri::from_maybe_shared(share(self.target)?).ok()?;
        let count = memchr::memchr_iter(b'\n', self.fields).count();
        head.headers = HeaderMap::with_capacity(count);
        for line in self.fields.split(|byte| *byte == b'\n') {
            let line = trim_cr(line);
            if line.is_empty() {
                continue;
            }
            let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            let value = share(super::field::trim(value.strip_prefix(b":")?))?;
            let name = HeaderName::from_bytes(name).ok()?;
            head.headers.try_append(name, HeaderValue::from_maybe_shared(value).ok()?).ok()?;
        }
        Some(head)
    }

    /// The values of every line of the field called `name` (lower case), in order.
    pub fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.fields.split(|byte| *byte == b'\n').filter_map(move |line| {
            let (found, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            found.eq_ignore_ascii_case(name.as_bytes()).then(|| super::field::trim(trim_cr(value)))
        })
    }
}

fn trim_cr(value: &[u8]) -> &[u8] {
    value.strip_suffix(b"\r").unwrap_or(value)
}

/// Whether a field is one that must be heeded beyond choosing a variant: framing,
/// connection options, conditions, ranges, cache directives, loops.
pub(super) fn is_heeded(name: &[u8], value: &[u8]) -> bool {
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
    use crate::front::guard::{Guard, Plain};
    use crate::front::options::Limits;

    fn plain(head: &str) -> Option<Plain<'_>> {
        Guard::new((&Limits::default()).into()).read(head.as_bytes()).1
    }

    #[test]
    fn a_plain_request_is_handed_on_with_what_it_says() {
        let head = "GET /a?b HTTP/1.1\r\nHost: x\r\nAccept: a\r\naccept:  b \r\nReferer: r\r\n\
                    User-Agent: u\r\nUser-Agent: v\r\nConnection: Keep-Alive\r\n\r\n";
        let asked = plain(head).unwrap();
        assert_eq!((asked.target, asked.host), (&b"/a?b"[..], &b"x"[..]));
        assert_eq!((asked.user_agent, asked.referer), (Some(&b"u"[..]), Some(&b"r"[..])));
        assert_eq!(asked.values("accept").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(asked.values("cookie").count(), 0);
    }

    #[test]
    fn whatever_needs_more_than_the_stored_answer_is_not_plain() {
        for (line, field) in [
            ("GET / HTTP/1.0", "X: y"),
            ("HEAD / HTTP/1.1", "X: y"),
            ("POST / HTTP/1.1", "Content-Length: 0"),
            ("GET http://x/ HTTP/1.1", "X: y"),
            ("GET / HTTP/1.1", "Content-Length: 0"),
            ("GET / HTTP/1.1", "Transfer-Encoding: chunked"),
            ("GET / HTTP/1.1", "Connection: close"),
            ("GET / HTTP/1.1", "Connection: keep-alive, x"),
            ("GET / HTTP/1.1", "Range: bytes=0-1"),
            ("GET / HTTP/1.1", "If-None-Match: *"),
            ("GET / HTTP/1.1", "If-Modified-Since: x"),
            ("GET / HTTP/1.1", "IF-UNMODIFIED-SINCE: x"),
            ("GET / HTTP/1.1", "If-Match: *"),
            ("GET / HTTP/1.1", "If-Range: x"),
            ("GET / HTTP/1.1", "Cache-Control: no-cache"),
            ("GET / HTTP/1.1", "Pragma: no-cache"),
            ("GET / HTTP/1.1", "CDN-Loop: a"),
            ("GET / HTTP/1.1", "Expect: 100-continue"),
            ("GET / HTTP/1.1", "Upgrade: websocket"),
            ("GET / HTTP/1.1", "TE: trailers"),
        ] {
            assert_eq!(plain(&format!("{line}\r\nHost: x\r\n{field}\r\n\r\n")), None, "{field}");
        }
        let one = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        assert!(plain(one).is_some());
        assert_eq!(plain(&one.repeat(2)), None, "two at once");
        assert_eq!(plain(&format!("\r\n{one}")), None);
        assert_eq!(plain(one.strip_suffix('\n').unwrap()), None, "not complete");
    }
}
