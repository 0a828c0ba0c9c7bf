//! The plain request: a GET that says nothing but what is wanted and who asks.
//!
//! Nearly all requests that find a stored answer are like this, and for them the way
//! through hyper (a parsed head, a header map, an answer's map, its encoding, the
//! dispatcher's states) costs as much again as all the work of the cache. The guard has
//! read the head already, so it hands on what it saw, and the connection may answer at
//! once (`front::straight`). Whatever could change an answer that is stored and fresh, apart
//! from choosing its variant, makes a request not plain: it goes through hyper
//! (`rules::straight::is_heeded`).

use bytes::Bytes;
use http::request::{self, Parts};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};

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
    pub(super) fields: Fields<'a>,
}

/// The field lines, as the protocol has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields<'a> {
    /// All lines and the empty one.
    Text(&'a [u8]),
    Map(&'a HeaderMap),
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
        let text = self.text();
        head.headers = HeaderMap::with_capacity(memchr::memchr_iter(b'\n', text).count());
        for line in text.split(|byte| *byte == b'\n') {
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
        let map = match self.fields {
            Fields::Text(_) => None,
            Fields::Map(map) => Some(map),
        };
        let lines = self.text().split(|byte| *byte == b'\n').filter_map(move |line| {
            let (found, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            found.eq_ignore_ascii_case(name.as_bytes()).then(|| super::field::trim(trim_cr(value)))
        });
        lines.chain(
            map.into_iter().flat_map(move |map| map.get_all(name)).map(HeaderValue::as_bytes),
        )
    }

    /// What an HTTP/2 request says; whether it is plain is for the handler to see.
    pub(in crate::front) fn of(parts: &'a Parts) -> Self {
        let first = |name| parts.headers.get(name).map(HeaderValue::as_bytes);
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let host = parts.uri.authority().map_or("", |authority| authority.as_str());
        Plain {
            target: target.as_bytes(),
            host: host.as_bytes(),
            user_agent: first(header::USER_AGENT),
            referer: first(header::REFERER),
            fields: Fields::Map(&parts.headers),
        }
    }

    /// The field lines of HTTP/1, and the empty one.
    fn text(&self) -> &'a [u8] {
        match self.fields {
            Fields::Text(text) => text,
            Fields::Map(_) => &[],
        }
    }

    /// All field lines of a request of HTTP/1, name and value, in order.
    pub fn lines(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.text().split(|byte| *byte == b'\n').filter_map(|line| {
            let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            Some((name, super::field::trim(trim_cr(value.get(1..)?))))
        })
    }
}

fn trim_cr(value: &[u8]) -> &[u8] {
    value.strip_suffix(b"\r").unwrap_or(value)
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
        let lines: Vec<(&[u8], &[u8])> = asked.lines().collect();
        assert_eq!(
            (lines.len(), lines[0], lines[2]),
            (7, (&b"Host"[..], &b"x"[..]), (&b"accept"[..], &b"b"[..]))
        );
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
