//! What can be purged, and exactly which stored answers that means.
//!
//! A [`Purge`] is checked once when it is made; afterwards matching cannot fail. Tags are
//! equal or not (purging `a` leaves `ab` alone), prefixes are taken literally or by path
//! segment as asked, hosts and URLs are compared in the form of the cache key, patterns
//! are compiled once and run in linear time. The binary form at the end is what the
//! ledger file keeps.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use thiserror::Error;

use super::asked::Scheme;
use super::pieces;

/// Longest tag in bytes.
pub const TAG_MAX: usize = 1024;
/// Longest URL, prefix or host in bytes.
pub const URL_MAX: usize = 8 * 1024;
/// Longest pattern in bytes.
pub const PATTERN_MAX: usize = 1024;
/// Items in one call.
pub const ITEMS_MAX: usize = 256;

/// Why something cannot be purged; each says what was got and what was expected.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PurgeError {
    /// An item is empty.
    #[error("an empty {0} matches nothing; to purge all of it use \"everything\"")]
    Empty(&'static str),
    /// An item is longer than its limit.
    #[error("{what} of {got} bytes; at most {max} are allowed")]
    TooLong {
        /// Which kind of item.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// A tag has a byte that cannot come in a header field.
    #[error("tag {0:?} has a control character; no stored tag can have one")]
    BadTag(String),
    /// Not a URL or host in the form that is expected.
    #[error("{0:?} is not {1}")]
    BadForm(String, &'static str),
    /// A pattern does not compile.
    #[error("pattern does not compile: {0}")]
    BadPattern(String),
    /// Too many items.
    #[error("{got} items in one call; at most {max} are allowed")]
    TooMany {
        /// How many.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// Bytes that are not an encoded purge.
    #[error("not a purge record: {0}")]
    BadRecord(&'static str),
}

/// One purge with its place in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// Sequence number; hits what was asked for at a smaller one.
    pub seq: u64,
    /// When it was made, milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// Mark stale instead of dropping.
    pub soft: bool,
    /// What it hits.
    pub what: What,
}

/// The kinds of purges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// All variants stored under one key text (see `rules::key`).
    Url(Box<[u8]>),
    /// Everything below a prefix.
    Prefix(Prefix),
    /// Everything with a tag (surrogate key).
    Tag(Box<str>),
    /// Everything of a host.
    Host(HostPort),
    /// Everything.
    Everything,
    /// Every URL a pattern matches.
    Pattern(Pattern),
}

/// A host, on one port or on all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Lower case.
    pub host: Box<str>,
    /// `None`: every port.
    pub port: Option<u16>,
}

/// A prefix of the URLs of one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// `None`: both.
    pub scheme: Option<Scheme>,
    /// Whose URLs.
    pub at: HostPort,
    /// Start of path and query; begins with `/`.
    pub path: Box<str>,
    /// `/a` then matches `/a`, `/a/b` and `/a?q` but not `/ab`.
    pub by_segment: bool,
}

/// A compiled pattern over whole URLs (default port left out).
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As given.
    pub source: Box<str>,
    /// `*` and `?` instead of a regular expression.
    pub glob: bool,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.glob == other.glob
    }
}

impl Eq for Pattern {}

/// A stored answer as purges see it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The whole key text.
    pub key: &'a [u8],
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host without port.
    pub host: &'a [u8],
    /// Port, always explicit in a key.
    pub port: u16,
    /// Path and query.
    pub target: &'a [u8],
    /// Its tags, sorted.
    pub tags: &'a [Box<str>],
}

impl<'a> Subject<'a> {
    /// Takes a key text apart; `None` if it is not one.
    pub fn of(key: &'a [u8], tags: &'a [Box<str>]) -> Option<Self> {
        // A piece is hit by whatever hits its object.
        let key = pieces::object_of(key);
        let (scheme, rest) = match key.strip_prefix(b"https://") {
            Some(rest) => (Scheme::Https, rest),
            None => (Scheme::Http, key.strip_prefix(b"http://")?),
        };
        let slash = memchr::memchr(b'/', rest).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(slash);
        let colon = memchr::memrchr(b':', authority)?;
        let (host, port) = authority.split_at(colon);
        let port = std::str::from_utf8(port.get(1..)?).ok()?.parse().ok()?;
        Some(Subject { key, scheme, host, port, target, tags })
    }

    /// The URL as people write it: without the default port.
    pub fn url(&self) -> String {
        let (host, target) =
            (String::from_utf8_lossy(self.host), String::from_utf8_lossy(self.target));
        let scheme = self.scheme.as_str();
        if self.port == self.scheme.default_port() {
            format!("{scheme}://{host}{target}")
        } else {
            format!("{scheme}://{host}:{}{target}", self.port)
        }
    }
}

impl What {
    /// A tag.
    pub fn tag(tag: &str) -> Result<What, PurgeError> {
        length("tag", tag, TAG_MAX)?;
        if tag.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(PurgeError::BadTag(tag.to_owned()));
        }
        Ok(What::Tag(tag.into()))
    }

    /// A host, with a port if only that one is meant.
    pub fn host(text: &str) -> Result<What, PurgeError> {
        length("host", text, URL_MAX)?;
        host_port(text).map(What::Host)
    }

    /// A prefix such as `https://example.com/a/`, or without scheme for both.
    pub fn prefix(text: &str, by_segment: bool) -> Result<What, PurgeError> {
        length("prefix", text, URL_MAX)?;
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (Some(Scheme::Https), rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (Some(Scheme::Http), rest)
        } else {
            (None, text)
        };
        let slash = rest.find('/').ok_or_else(|| {
            PurgeError::BadForm(
                text.to_owned(),
                "a prefix such as \"https://example.com/path/\" or \"example.com/path/\"",
            )
        })?;
        let (authority, path) = rest.split_at(slash);
        let mut at = host_port(authority)?;
        if let (None, Some(scheme)) = (at.port, scheme) {
            at.port = Some(scheme.default_port());
        }
        Ok(What::Prefix(Prefix { scheme, at, path: path.into(), by_segment }))
    }

    /// A regular expression, or with `glob` a pattern of `*` and `?`, over whole URLs.
    pub fn pattern(source: &str, glob: bool) -> Result<What, PurgeError> {
        length("pattern", source, PATTERN_MAX)?;
        let expression = if glob { glob_to_regex(source) } else { source.to_owned() };
        let regex = RegexBuilder::new(&expression)
            .size_limit(1 << 20)
            .dfa_size_limit(1 << 20)
            .unicode(false)
            .build()
            .map_err(|error| PurgeError::BadPattern(error.to_string()))?;
        Ok(What::Pattern(Pattern { source: source.into(), glob, regex }))
    }

    /// Whether it hits `subject`.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        match self {
            What::Url(key) => **key == *subject.key,
            What::Prefix(prefix) => {
                prefix.at.host.as_bytes() == subject.host && prefix.covers(subject)
            }
            What::Tag(tag) => subject.tags.iter().any(|own| own == tag),
            What::Host(at) => {
                at.host.as_bytes() == subject.host && at.port.is_none_or(|p| p == subject.port)
            }
            What::Everything => true,
            What::Pattern(pattern) => pattern.matches(&subject.url()),
        }
    }

    /// One word for counters, answers and the audit log.
    pub fn kind(&self) -> &'static str {
        match self {
            What::Url(_) => "url",
            What::Prefix(_) => "prefix",
            What::Tag(_) => "tag",
            What::Host(_) => "host",
            What::Everything => "everything",
            What::Pattern(_) => "pattern",
        }
    }
}

impl Prefix {
    /// Whether a subject of the same host is covered.
    pub fn covers(&self, subject: &Subject<'_>) -> bool {
        self.scheme.is_none_or(|scheme| scheme == subject.scheme)
            && self.at.port.is_none_or(|port| port == subject.port)
            && covers(self.path.as_bytes(), subject.target, self.by_segment)
    }
}

/// Whether `target` starts with `path`, by segment or literally.
pub(super) fn covers(path: &[u8], target: &[u8], by_segment: bool) -> bool {
    target.strip_prefix(path).is_some_and(|rest| {
        !by_segment || path.ends_with(b"/") || matches!(rest.first(), None | Some(b'/' | b'?'))
    })
}

impl Pattern {
    /// Whether the URL (see [`Subject::url`]) matches.
    pub fn matches(&self, url: &str) -> bool {
        self.regex.is_match(url.as_bytes())
    }
}

impl fmt::Display for What {
    /// As it was asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Url(key) => match Subject::of(key, &[]) {
                Some(subject) => f.write_str(&subject.url()),
                None => f.write_str(&String::from_utf8_lossy(key)),
            },
            What::Prefix(prefix) => {
                if let Some(scheme) = prefix.scheme {
                    write!(f, "{}://", scheme.as_str())?;
                }
                let implied = prefix.scheme.map(Scheme::default_port);
                let port = prefix.at.port.filter(|port| Some(*port) != implied);
                write!(f, "{}{}", HostPort { port, ..prefix.at.clone() }, prefix.path)
            }
            What::Tag(tag) => f.write_str(tag),
            What::Host(at) => at.fmt(f),
            What::Everything => f.write_str("everything"),
            What::Pattern(pattern) => f.write_str(&pattern.source),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

fn length(what: &'static str, text: &str, max: usize) -> Result<(), PurgeError> {
    match text.len() {
        0 => Err(PurgeError::Empty(what)),
        got if got > max => Err(PurgeError::TooLong { what, got, max }),
        _ => Ok(()),
    }
}

/// `example.com`, `example.com:8443`, `[::1]`, `[::1]:8443`.
fn host_port(text: &str) -> Result<HostPort, PurgeError> {
    let bad = || PurgeError::BadForm(text.to_owned(), "a host such as \"example.com\"");
    let after_bracket = text.rfind(']').map_or(0, |at| at + 1);
    let colon = text.rfind(':').filter(|colon| *colon >= after_bracket);
    let (host, port) = text.split_at(colon.unwrap_or(text.len()));
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(digits.parse().map_err(|_| bad())?),
        None => None,
    };
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~[]:%".contains(&byte);
    let unbracketed_v6 = host.contains(':') && !host.starts_with('[');
    if host.is_empty() || unbracketed_v6 || !host.bytes().all(name) {
        return Err(bad());
    }
    Ok(HostPort { host: host.to_ascii_lowercase().into(), port })
}

/// `*` is any run of characters, `?` any one; the whole URL must match.
fn glob_to_regex(glob: &str) -> String {
    let mut out = String::from("^(?s)");
    for c in glob.chars() {
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push('$');
    out
}
