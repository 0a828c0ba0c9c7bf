//! One connection to a server that hyper speaks on: its sender, the guard's line, and the
//! task that drives it.
//!
//! An HTTP/1 connection belongs to whoever holds its [`Solo`]; dropping that closes the
//! socket at once, which is how a request is broken off. An HTTP/2 connection is shared:
//! dropping a stream resets it, and the connection ends when nobody holds a sender.
//! The idle deadline costs no timer per request: the driver wakes once per period and
//! closes a connection that was not used since.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::oneshot;

use super::fault::OriginFault;
use super::framing::{FIELDS_MAX, HEAD_BYTES_MAX};
use super::guard::{Guarded, Line};
use super::outgoing::Outgoing;
use super::wire::Wire;
use crate::base::clock;

/// An HTTP/1 connection in one pair of hands.
#[derive(Debug)]
pub struct Solo {
    /// hyper's handle.
    pub sender: http1::SendRequest<Outgoing>,
    /// Shared with the guard.
    pub line: Arc<Line>,
    /// When it was opened.
    pub born: Instant,
    /// When its last exchange ended.
    pub rested: Instant,
    /// Dropped: close now. Sent to: leave the driver alone (the connection was upgraded).
    leash: oneshot::Sender<()>,
}

impl Solo {
    /// Lets the driver run on although this handle goes: it hands the connection over to
    /// hyper's upgrade.
    pub fn detach(self) {
        let _ = self.leash.send(());
    }
}

/// An HTTP/2 connection that many use.
#[derive(Clone, Debug)]
pub struct Shared {
    /// hyper's handle.
    pub sender: http2::SendRequest<Outgoing>,
    /// Counts streams; no guard reads here.
    pub line: Arc<Line>,
    /// When it was opened.
    pub born: Instant,
}

/// Starts hyper on `wire`, which was opened at `born`, and spawns its driver on this runtime.
pub async fn start_http1(wire: Wire, born: Instant, idle: Duration) -> Result<Solo, OriginFault> {
    let line = Arc::new(Line::default());
    let io = TokioIo::new(Guarded::new(wire, line.clone()));
    let (sender, connection) = http1::Builder::new()
        .max_headers(FIELDS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(io)
        .await
        .map_err(|_| OriginFault::Connect("HTTP/1 with the origin did not start"))?;
    let (leash, held) = oneshot::channel();
    tokio::spawn(drive(connection.with_upgrades(), line.clone(), idle, Some(held)));
    Ok(Solo { sender, line, born, rested: clock::instant(), leash })
}

/// Starts HTTP/2 on `wire` and spawns its driver on this runtime.
pub async fn start_http2(wire: Wire, idle: Duration) -> Result<Shared, OriginFault> {
    let line = Arc::new(Line::default());
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_connection_window_size(4 << 20)
        .initial_stream_window_size(1 << 20)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(Duration::from_secs(15))
        .keep_alive_timeout(Duration::from_secs(10))
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|_| OriginFault::Connect("HTTP/2 with the origin did not start"))?;
    tokio::spawn(drive(connection, line.clone(), idle, None));
    Ok(Shared { sender, line, born: clock::instant() })
}

/// Polls a connection until it ends, its holder lets go, or it was idle for a period.
async fn drive<C>(
    connection: C,
    line: Arc<Line>,
    idle: Duration,
    mut held: Option<oneshot::Receiver<()>>,
) where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let mut tick = pin!(tokio::time::sleep(idle));
    let mut armed = false;
    let mut seen = line.uses();
    std::future::poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(%error, "origin connection");
            }
            return Poll::Ready(());
        }
        if let Some(leash) = held.as_mut()
            && let Poll::Ready(word) = Pin::new(leash).poll(cx)
        {
            if word.is_err() {
                return Poll::Ready(());
            }
            held = None;
        }
        // Polled only when it has fired or must be registered: an idle timer that costs
        // nothing while requests flow.
        while !armed || tick.is_elapsed() {
            if !tick.is_elapsed() && tick.as_mut().poll(cx).is_pending() {
                armed = true;
                break;
            }
            if line.busy() == 0 && line.uses() == seen {
                return Poll::Ready(());
            }
            seen = line.uses();
            tick.set(tokio::time::sleep(idle));
            armed = false;
        }
        Poll::Pending
    })
    .await;
}
