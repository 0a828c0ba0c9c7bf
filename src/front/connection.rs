//! What is known about one client connection, shared by all its requests.

use std::net::SocketAddr;
use std::sync::Arc;

use super::interim::Interim;
use super::pulse::Pulse;

/// A client connection after its handshake.
#[derive(Debug)]
pub struct Connection {
    /// Unique in this process.
    pub id: u64,
    /// The client, or what a trusted PROXY header named.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// The listener's name.
    pub listener: Arc<str>,
    /// Facts of the TLS session; `None` on a plain listener.
    pub tls: Option<TlsFacts>,
    /// HTTP/2 rather than HTTP/1.
    pub http2: bool,
    /// Takes interim answers for an HTTP/1.1 client.
    pub interim: Arc<Interim>,
}

impl Connection {
    /// A plain HTTP/1 connection that is no socket, for exchanges within the process. Interim
    /// answers to it wait until they are dropped with it.
    pub fn in_process(id: u64, peer: SocketAddr) -> Self {
        let pulse = Arc::new(Pulse::new(Arc::default(), false));
        Connection {
            id,
            peer,
            local: SocketAddr::from(([127, 0, 0, 1], 80)),
            listener: "in-process".into(),
            tls: None,
            http2: false,
            interim: Arc::new(Interim::new(pulse)),
        }
    }
}

/// What the TLS handshake settled.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// Server name the client asked for, lower case.
    pub sni: Option<Arc<str>>,
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// Cipher suite as registered, for logs.
    pub cipher: Option<&'static str>,
    /// Key exchange group as registered, for logs.
    pub group: Option<&'static str>,
    /// Whether the first request may have come as early data (RFC 8470).
    pub early_data: bool,
    /// Whether the session was resumed.
    pub resumed: bool,
    /// The names of the certificate that was shown.
    pub names: Arc<CertNames>,
}

impl TlsFacts {
    /// Whether the certificate of this connection speaks for `host` (lower case, without
    /// port); if not the answer is 421 (RFC 9110 15.5.20).
    pub fn covers(&self, host: &str) -> bool {
        self.names.covers(host)
    }
}

/// DNS names and addresses of a certificate's subjectAltName, lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertNames {
    /// Names without a wildcard, and addresses as text.
    pub exact: Vec<String>,
    /// `example.com` for `*.example.com`.
    pub wildcard: Vec<String>,
    /// A throw-away certificate speaks for everything: nobody trusts it anyway.
    pub any: bool,
}

impl CertNames {
    /// RFC 9525 6.3: a wildcard stands for exactly one left-most label.
    pub fn covers(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        self.any
            || self.exact.iter().any(|name| name.eq_ignore_ascii_case(bare))
            || host.split_once('.').is_some_and(|(label, rest)| {
                !label.is_empty() && self.wildcard.iter().any(|w| w.eq_ignore_ascii_case(rest))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let names = CertNames {
            exact: vec!["example.org".into(), "::1".into()],
            wildcard: vec!["example.com".into()],
            any: false,
        };
        for covered in ["a.example.com", "A.Example.COM", "example.org", "example.org.", "[::1]"] {
            assert!(names.covers(covered), "{covered}");
        }
        for foreign in ["example.com", "a.b.example.com", ".example.com", "www.example.org", ""] {
            assert!(!names.covers(foreign), "{foreign}");
        }
    }
}
