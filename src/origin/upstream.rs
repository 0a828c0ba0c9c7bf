//! The seam to the network: where byte streams to servers come from if not from sockets.
//!
//! A simulation puts an origin of its own behind it, on the same thread and without a
//! kernel in between, so that a seed gives the same run again. Everything above (pool,
//! guard, retries, framing) is what runs in production. A pipe of tokio and not a boxed
//! stream: one more arm in `wire` costs nothing, a virtual call for each read would.

use std::fmt::Debug;
use std::io;

use tokio::io::DuplexStream;

/// Opens byte streams in place of sockets.
pub trait Upstream: Debug + Send + Sync {
    /// A stream to the server of that name; nothing is resolved and no TLS is spoken.
    ///
    /// # Errors
    /// As of a connect that failed.
    fn open(&self, server: &str) -> io::Result<DuplexStream>;
}
