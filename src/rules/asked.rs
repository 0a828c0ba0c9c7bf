//! What a client asked for, after the door has made it unambiguous.
//!
//! Host and port are canonical (lower case, default port made explicit); path and query
//! are the bytes that will be forwarded, untouched: two targets that an origin could
//! tell apart are never merged (RFC 3986 6.2.2 only where it is safe for every origin).

use http::Method;
use http::uri::PathAndQuery;
use smallvec::SmallVec;

/// How the request reached the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// 80 or 443.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// A host name or address literal in lower case, without port. Short ones stay on the stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host(SmallVec<[u8; 48]>);

impl Host {
    /// Lower-cases `ascii`; the caller has checked that it is a valid host.
    pub fn from_valid(ascii: &str) -> Self {
        let mut bytes: SmallVec<[u8; 48]> = SmallVec::from_slice(ascii.as_bytes());
        bytes.make_ascii_lowercase();
        Host(bytes)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

/// The canonical request line and authority.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method as sent (case matters, RFC 9110 9.1).
    pub method: Method,
    /// How it came.
    pub scheme: Scheme,
    /// The host, canonical.
    pub host: Host,
    /// The port the client named, or the scheme's default.
    pub port: u16,
    /// Path and query exactly as received, always starting with `/` (or `*` for OPTIONS).
    pub target: PathAndQuery,
}

impl Asked {
    /// Safe methods (RFC 9110 9.2.1) as far as a cache must know them.
    pub fn is_safe(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
    }
}
