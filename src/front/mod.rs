//! Level 3: what faces clients: listeners, TLS, HTTP/1.1 and HTTP/2 connections, limits.
//!
//! One OS thread per core runs a current-thread runtime with its own SO_REUSEPORT
//! listeners, so a connection never changes its thread and a request wakes no other core.
//! hyper parses and writes HTTP/1, h2 HTTP/2; what they do not refuse, bound or time out is
//! done in the I/O wrapper between them and the socket, so that the handler only ever sees
//! one unambiguous request and nothing a client holds is without a limit.
//!
//! ```text
//! accept -> gate (caps) -> PROXY header -> TLS -> h1 wrapper (guard) ---> hyper -> Handler
//!                                             \-> h2 wrapper (frames, coalesce) --> h2 -^
//!               every connection has a Pulse; one sweep a thread enforces all deadlines
//! ```
//!
//! `front` and `serve` do not know each other: they meet in `Handler`. A plain request for
//! something stored is answered where it was read (`straight`, `http2_straight`); over HTTP/1
//! also one whose answer must be waited for (`later`).

mod accept;
mod bound;
mod certs;
mod coalesce;
mod connection;
mod frames;
mod gate;
pub mod guard;
mod http1;
mod http1_read;
mod http2;
// Public for its fuzz target alone.
#[doc(hidden)]
pub mod http2_block;
mod http2_exchange;
mod http2_io;
mod http2_ping;
mod http2_straight;
mod http2_text;
mod hub;
mod interim;
mod judge;
mod later;
mod listen;
mod options;
mod pipes;
// Public for its fuzz target alone.
#[doc(hidden)]
pub mod proxy_protocol;
mod pulse;
mod rein;
mod reined;
mod running;
mod send;
mod service;
mod stats;
mod straight;
mod sweep;
mod tls;
mod upload;
mod wire;

pub use bound::FrontError;
pub use certs::{CertSource, Certs, CertsError, ThrowAway};
pub use connection::{CertNames, Connection, TlsFacts};
pub use guard::Plain;
pub use http1_read::BrokenBody;
pub use interim::Interim;
pub use listen::Front;
pub use options::{Deadlines, Http2Options, Limits, ListenerOptions, Options};
pub use pipes::{Pipe, serve_pipe};
pub use running::Running;
pub use stats::{Stats, StatsReading};
pub use upload::Upload;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, request};

use crate::rules::fault::Fault;

/// What a body may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An answer that somebody has to be waited for.
pub type Answering<B> = Pin<Box<dyn Future<Output = Response<B>> + Send>>;

/// What answers requests. Cloned once a request, so clones must be cheap.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The body of an answer.
    type Body: http_body::Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static;

    /// Answers one request. The future runs on the connection's thread.
    fn handle(
        &self,
        request: Request<Upload>,
        conn: Arc<Connection>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Answers a plain HTTP/1.1 request that is not `ready`, given its head; it has no body.
    /// `None` leaves no trace; the request then comes to `handle`.
    fn plain(&self, head: request::Parts, conn: &Arc<Connection>) -> Option<Answering<Self::Body>> {
        let _ = (head, conn);
        None
    }

    /// Answers for a message that was refused before it became a request. The connection
    /// closes after the answer.
    fn refuse(&self, fault: Fault, conn: Arc<Connection>) -> Response<Self::Body>;

    /// An answer that is ready, see `ready`.
    type Ready: Ready;

    /// Answers a plain HTTP/1.1 request at once, if that needs nobody: writes the whole
    /// head, its empty line included, to `head`. `None` leaves no trace; the request then
    /// comes to `handle`.
    fn ready(
        &self,
        asked: &Plain<'_>,
        conn: &Arc<Connection>,
        head: &mut Vec<u8>,
    ) -> Option<Self::Ready>;

    /// The same for a request of HTTP/2 whose stream has ended with its head.
    fn ready_http2(
        &self,
        asked: &request::Parts,
        conn: &Connection,
    ) -> Option<(Response<()>, Self::Ready)>;

    /// Called once for each answer from `ready` or `ready_http2`, with the bytes of its body
    /// that are with the connection when no more will be, and whether those are all of it.
    fn sent(&self, ready: Self::Ready, asked: &Plain<'_>, conn: &Connection, told: (u64, bool));
}

/// An answer that is on its way: its head is written. The body is as long as the head says.
pub trait Ready: Send + 'static {
    /// What is at hand of the body, in order.
    fn body(&self) -> &[Bytes];

    /// What follows that, bit by bit until `None`. A fault cuts the answer off, visibly.
    fn poll_more(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests;
