//! Level 3: origins. Groups of servers that fail, move and multiply, made to look like one
//! that does not.
//!
//! ```text
//! Group::send --> fleet: pick a server, retry, budget        (fleet, pick, retry, health, resume)
//!                   '--> server: queue, one exchange          (server, exchange, lease, request)
//!                          |--> pool: idle stack of this thread (pool, keeper, bell)
//!                          |--> wire: TCP, Unix, TLS           (wire, tls, resolve)
//!                          |--> bare: HTTP/1 without a body    (bare, bare_body, head)
//!                          '--> hyper: bodies, upgrades, HTTP/2 (link)
//!                                 '--> guard: strict answers   (guard, answer, head, chunks)
//! ```
//! Most requests have no body and go out over HTTP/1: the task that waits for the answer
//! speaks with the socket itself. For the rest hyper's low-level client is used under the
//! same pool: its high-level client has no limits, no queue and one lock. Nothing here
//! decides about caching.

pub mod address;
pub mod answer;
mod bare;
mod bare_body;
mod bell;
mod blame;
mod body;
mod buffers;
mod check;
mod chunks;
mod dial;
mod directory;
mod discover;
mod divert;
mod exchange;
mod fault;
mod fleet;
pub mod framing;
mod group;
mod guard;
mod head;
mod health;
mod keeper;
mod lease;
mod link;
mod options;
mod outage;
mod outgoing;
mod outlier;
mod pick;
mod pool;
mod request;
mod resolve;
mod resume;
mod retry;
mod server;
mod state;
mod sticky;
#[cfg(test)]
mod tests;
mod tls;
mod upstream;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use http::Response;

pub use address::Address;
pub use body::OriginBody;
pub use directory::options::{DirectoryOptions, Symlinks};
pub use fault::OriginFault;
pub use framing::Framing;
pub use group::Group;
pub use options::{
    Balance, CheckOptions, DiscoveryOptions, EjectOptions, GroupOptions, Http2, Panic, PoolOptions,
    RetryOptions, ServerOptions, StickyOptions, Timeouts, TlsOptions,
};
pub use outgoing::{BoxError, Hear, Outgoing, Upload};
pub use state::{GroupState, ServerState};
pub use upstream::Upstream;

/// What a request carries beside itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendContext {
    /// Hash of the cache key, for `consistent_hash`.
    pub key: u64,
    /// The client's and the node's address, for the PROXY protocol.
    pub client: Option<(SocketAddr, SocketAddr)>,
}

/// An origin's answer.
#[derive(Debug)]
pub struct Answer {
    /// Head and body. After a 101 that was asked for, `hyper::upgrade::on` gives the
    /// connection. The head's values are slices of the connection's read buffer: copy
    /// what is kept.
    pub response: Response<OriginBody>,
    /// The server that gave it.
    pub server: Arc<str>,
    /// The `Set-Cookie` that keeps this client with that server. It belongs on an answer
    /// that is for this client alone, and never into the cache.
    pub stick: Option<String>,
    /// It came before the request's body was sent whole: the rest will not be taken.
    pub early: bool,
}
