//! Settings of a replay, and why there was none.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

/// How fast requests are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// This many connections, each asking again as soon as it is answered.
    Closed {
        /// Connections.
        connections: usize,
    },
    /// At the trace's own pace times a factor, over as many connections as it takes.
    Open {
        /// How much faster than the trace.
        factor: f64,
        /// Requests under way at most; what is due beyond that waits, and its wait counts.
        under_way_max: usize,
    },
}

/// How to replay.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node: scheme, host and port.
    pub target: Uri,
    /// `Host` to send; that of the target by default.
    pub host: Option<String>,
    /// Pace of the clients.
    pub pace: Pace,
    /// HTTP/2 instead of HTTP/1.1.
    pub http2: bool,
    /// Take any certificate.
    pub insecure: bool,
    /// Further fields of the origin's answers; `Cache-Control` replaces the one made of the
    /// trace's lifetimes.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// Longest wait for one answer.
    pub timeout: Duration,
}

impl Options {
    /// Closed loop over 8 plain connections to this node.
    pub fn new(target: Uri) -> Self {
        Options {
            target,
            host: None,
            pace: Pace::Closed { connections: 8 },
            http2: false,
            insecure: false,
            fields: Vec::new(),
            timeout: Duration::from_secs(30),
        }
    }
}

/// Why there was no replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The origin's address.
    #[error("cannot be the origin on {0}: {1}")]
    Bind(SocketAddr, io::Error),
    /// The target.
    #[error("target: expected http://HOST:PORT or https://HOST:PORT, got {0}")]
    Target(Uri),
    /// The trace.
    #[error("a sample cannot be replayed: record a log instead")]
    Sample,
    /// TLS settings.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}
