//! Settings of origins: plain data with units and defaults, filled by `config`.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::address::Address;
use super::directory::options::DirectoryOptions;

/// One origin: a group of servers that hold the same content, or a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// Name that sites refer to.
    pub name: String,
    /// The servers; at least one unless `directory` is set.
    pub servers: Vec<ServerOptions>,
    /// Serve files from here instead of asking servers.
    pub directory: Option<DirectoryOptions>,
    /// How a server is chosen.
    pub balance: Balance,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Connections.
    pub pool: PoolOptions,
    /// TLS towards `https` servers.
    pub tls: TlsOptions,
    /// Which protocol is spoken.
    pub http2: Http2,
    /// Send a PROXY protocol version 2 header; such connections are never shared.
    pub proxy_protocol: bool,
    /// Active health checks; none by default.
    pub check: Option<CheckOptions>,
    /// Passive health.
    pub eject: EjectOptions,
    /// Second tries.
    pub retry: RetryOptions,
    /// A server that comes back gets its share gradually over this time; 0 switches off.
    pub slow_start: Duration,
    /// What to do when no server is healthy.
    pub panic: Panic,
    /// Name resolution.
    pub discovery: DiscoveryOptions,
}

impl Default for GroupOptions {
    fn default() -> Self {
        GroupOptions {
            name: String::new(),
            servers: Vec::new(),
            directory: None,
            balance: Balance::LeastLoaded,
            timeouts: Timeouts::default(),
            pool: PoolOptions::default(),
            tls: TlsOptions::default(),
            http2: Http2::Auto,
            proxy_protocol: false,
            check: None,
            eject: EjectOptions::default(),
            retry: RetryOptions::default(),
            slow_start: Duration::from_secs(10),
            panic: Panic::TryAll,
            discovery: DiscoveryOptions::default(),
        }
    }
}

impl GroupOptions {
    /// A group of one server with default settings, from an address such as
    /// `http://127.0.0.1:8080`. Errors name what was expected.
    pub fn single(name: &str, address: &str) -> Result<Self, String> {
        Ok(GroupOptions {
            name: name.to_owned(),
            servers: vec![ServerOptions::new(address.parse()?)],
            ..GroupOptions::default()
        })
    }
}

/// One server of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Name for the admin API and metrics; the address when not set.
    pub name: Option<String>,
    /// Where it is.
    pub address: Address,
    /// Share of the requests relative to the others, 0 to 1000; 0 gets none.
    pub weight: u32,
    /// 0 is asked first; a higher number is a backup used when no lower one is up.
    pub priority: u32,
    /// `Host` sent to this server instead of the request's.
    pub host: Option<String>,
}

impl ServerOptions {
    /// Weight 1, priority 0.
    pub fn new(address: Address) -> Self {
        ServerOptions { name: None, address, weight: 1, priority: 0, host: None }
    }
}

/// How a server is chosen among those that are up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// The better of two random ones by requests in flight and latency.
    #[default]
    LeastLoaded,
    /// The same key asks the same server, unless it has more than 1.25 times its share of
    /// the requests in flight.
    ConsistentHash {
        /// The request's value of this field is the key; the cache key without it.
        header: Option<HeaderName>,
    },
    /// The server named by a cookie, else as `LeastLoaded`.
    Sticky(StickyOptions),
}

/// A client that stays with the server that answered it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyOptions {
    /// Name of the cookie. Its value is a server's name, or what the node writes for it.
    pub cookie: String,
    /// The node sets the cookie on answers that are for one client alone; else the
    /// application does. Default true.
    pub set: bool,
    /// Lifetime of the cookie; `None` ends with the browser's session.
    pub ttl: Option<Duration>,
}

/// Deadlines towards a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name, TCP and TLS together. Default 3 s.
    pub connect: Duration,
    /// From the request sent whole to the first byte of the answer. Default 15 s.
    pub first_byte: Duration,
    /// From the request sent whole to the answer's complete head. Default 30 s.
    pub head: Duration,
    /// Between two pieces of the body. Default 15 s.
    pub between_bytes: Duration,
    /// The whole of it, all tries and the body; a client that reads slowly counts too.
    /// None by default.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(15),
            head: Duration::from_secs(30),
            between_bytes: Duration::from_secs(15),
            total: None,
        }
    }
}

/// Connections to one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Requests in flight to one server: each is a connection (HTTP/1.1) or a stream
    /// (HTTP/2). Default 512.
    pub in_flight_max: usize,
    /// Requests that may wait for one of those. Default 1024.
    pub queue_max: usize,
    /// How long they wait. Default 5 s.
    pub queue_timeout: Duration,
    /// Idle connections kept, for each runtime thread. Default 64.
    pub idle_max: usize,
    /// An idle connection is closed after this time (at the latest twice). Default 60 s.
    pub idle_timeout: Duration,
    /// Longest rest of a connection that may carry a request which cannot be sent twice (a
    /// POST, a streamed body): the longer it rested, the likelier its server is closing it
    /// at this moment. Below the shortest keep-alive in use, 2 s. Default 1 s.
    pub rest_once_max: Duration,
    /// A connection is not used again when older. Default 10 min.
    pub age_max: Duration,
    /// Streams on one HTTP/2 connection, below the server's own limit. Default 100.
    pub streams_max: usize,
    /// Idle connections to a server that a thread keeps open ahead of need once it has
    /// asked it; one HTTP/2 connection is enough. At most `idle_max`. Default 0.
    pub warm: usize,
}

impl Default for PoolOptions {
    fn default() -> Self {
        PoolOptions {
            in_flight_max: 512,
            queue_max: 1024,
            queue_timeout: Duration::from_secs(5),
            idle_max: 64,
            idle_timeout: Duration::from_secs(60),
            rest_once_max: Duration::from_secs(1),
            age_max: Duration::from_secs(600),
            streams_max: 100,
            warm: 0,
        }
    }
}

/// TLS towards servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// Name in SNI and in the certificate; the server's host when not set.
    pub sni: Option<String>,
    /// PEM file of authorities trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM files: certificate chain and key shown to the server.
    pub client: Option<(PathBuf, PathBuf)>,
    /// `false` accepts any certificate. Unsafe: anybody on the path can answer.
    pub verify: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        TlsOptions { sni: None, ca_file: None, client: None, verify: true }
    }
}

/// Protocol towards servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http2 {
    /// HTTP/1.1 always.
    Never,
    /// Over TLS what ALPN agrees on, HTTP/2 first; without TLS HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/2 always, also without TLS (prior knowledge, RFC 9113 3.3).
    Only,
}

/// Active health checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// Path asked with GET. Default `/`.
    pub path: String,
    /// `Host` of the check; the server's own when not set.
    pub host: Option<String>,
    /// Statuses that count as healthy. Default 200 to 399.
    pub status: std::ops::RangeInclusive<u16>,
    /// Text the first 64 KiB of the body must contain.
    pub body: Option<String>,
    /// Time between two checks. Default 5 s.
    pub every: Duration,
    /// Deadline of one check. Default 2 s.
    pub timeout: Duration,
    /// Good checks in a row that bring a server up. Default 2.
    pub rise: u32,
    /// Bad checks in a row that take it down. Default 3.
    pub fall: u32,
}

impl Default for CheckOptions {
    fn default() -> Self {
        CheckOptions {
            path: "/".to_owned(),
            host: None,
            status: 200..=399,
            body: None,
            every: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
        }
    }
}

/// Passive health: what ordinary requests teach. A server that gives no answer is ejected
/// whatever the others do; one that answers, but badly, only while the rest can carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EjectOptions {
    /// Failures in a row that eject a server; 0 switches off. Default 3.
    pub failures: u32,
    /// First ejection; each further one is twice as long. Default 2 s.
    pub base: Duration,
    /// Longest ejection. Default 60 s.
    pub max: Duration,
    /// Whether 500, 502, 503 and 504 count as failures. Default true.
    pub status_5xx: bool,
    /// Share of bad answers within `window` that ejects a server, in per cent; 0 switches
    /// off. Default 50.
    pub errors_percent: u32,
    /// A server is an outlier when most of its answers within `window` took this many
    /// times as long as the others' usual; 0 switches off. Default 10.
    pub slow_factor: u32,
    /// Answers below this time are never slow. Default 1 s.
    pub slow_min: Duration,
    /// Answers within `window` below which nothing is concluded from shares. Default 20.
    pub window_min: u32,
    /// The time over which shares are taken. Default 10 s.
    pub window: Duration,
    /// Largest share of a group's servers that is ejected while they still answer, in per
    /// cent, rounded down. Default 50.
    pub share_max: u32,
}

impl Default for EjectOptions {
    fn default() -> Self {
        EjectOptions {
            failures: 3,
            base: Duration::from_secs(2),
            max: Duration::from_secs(60),
            status_5xx: true,
            errors_percent: 50,
            slow_factor: 10,
            slow_min: Duration::from_secs(1),
            window_min: 20,
            window: Duration::from_secs(10),
            share_max: 50,
        }
    }
}

/// Second tries. Only what is safe is tried again: the request never left, or the method
/// is idempotent (RFC 9110 9.2.2) and its body can be sent once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    /// Tries in all, each on another server if there is one. Default 3.
    pub tries: u32,
    /// Retries allowed for each 100 requests, over and above `budget_min`. Default 20.
    pub budget_percent: u32,
    /// Retries a second that are always allowed. Default 10.
    pub budget_min: u32,
    /// Deadline for the head of one try when another try is left; `None` uses
    /// `Timeouts::first_byte`.
    pub per_try: Option<Duration>,
    /// Statuses that are tried on another server. Default 502, 503, 504.
    pub status: Vec<u16>,
    /// While the origin as a whole fails: requests a second that are sent although a stale
    /// copy could answer them, to see whether it is back; 0 is no limit. Default 10.
    pub probes: u32,
}

impl Default for RetryOptions {
    fn default() -> Self {
        RetryOptions {
            tries: 3,
            budget_percent: 20,
            budget_min: 10,
            per_try: None,
            status: vec![502, 503, 504],
            probes: 10,
        }
    }
}

/// When no server is healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panic {
    /// Ask them all the same: a wrong verdict of ours must not be an outage.
    #[default]
    TryAll,
    /// Answer 503 (or stale) at once.
    Refuse,
}

/// Name resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryOptions {
    /// Shortest time an answer is kept, whatever its TTL. Default 1 s.
    pub ttl_min: Duration,
    /// Longest. Default 5 min.
    pub ttl_max: Duration,
    /// Name servers asked instead of the system's, as `address:port`.
    pub name_servers: Vec<std::net::SocketAddr>,
}

impl Default for DiscoveryOptions {
    fn default() -> Self {
        DiscoveryOptions {
            ttl_min: Duration::from_secs(1),
            ttl_max: Duration::from_secs(300),
            name_servers: Vec::new(),
        }
    }
}
