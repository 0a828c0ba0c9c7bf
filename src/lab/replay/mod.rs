//! A trace against a living node: this end is the origin behind it and the clients before
//! it, so what the node says of itself can be held against what it did.
//!
//! ```text
//! trace --> clients (open or closed loop, H1 or H2, TLS) --> the node --> origin (here)
//!              '-- Cache-Status, bytes, latency                  requests, bytes --'
//! ```
//! Closed loop: each connection asks for the next request of the trace as soon as it has
//! the last answer; it finds out how fast the node is. Open loop: requests start when the
//! trace says, faster by a factor, whether the node keeps up or not, and latency counts
//! from the moment a request was due; it finds out how long clients wait.
//!
//! The path names the object by its number, so nothing of the trace's names leaves.

mod client;
mod options;
mod origin;
mod report;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::trace::Trace;
use crate::base::clock::instant;
use client::{Clients, Tape};
pub use options::{Options, Pace, ReplayError};
use origin::Origin;
pub use report::{Line, Report, Seen};

/// An origin that listens already, so that a node can be pointed at it.
#[derive(Debug)]
pub struct Replay {
    listener: TcpListener,
    address: SocketAddr,
}

impl Replay {
    /// Binds the origin.
    pub async fn bind(address: SocketAddr) -> Result<Replay, ReplayError> {
        let failed = |error| ReplayError::Bind(address, error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Replay { listener, address })
    }

    /// Where the origin listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replays the whole trace; `progress` hears of each request done.
    pub async fn run(
        self,
        trace: &Trace,
        options: &Options,
        progress: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Report, ReplayError> {
        if trace.sample.is_some() {
            return Err(ReplayError::Sample);
        }
        let tape = Arc::new(Tape::of(trace));
        // Lifetimes pass faster when the trace does; without a pace there is no time.
        let quicker = match options.pace {
            Pace::Open { factor, .. } => Some(factor),
            Pace::Closed { .. } => None,
        };
        let origin = Arc::new(Origin::new(trace, quicker, options.fields.clone()));
        let serving = tokio::spawn(origin.clone().serve(self.listener));
        let clients = Arc::new(Clients::new(options, tape.clone())?);
        let start = instant();
        match options.pace {
            Pace::Closed { connections } => closed(&clients, connections.max(1), &progress).await,
            Pace::Open { factor, under_way_max } => {
                let factor = factor.max(1e-6);
                open(&clients, trace, (factor, under_way_max.max(1)), &progress).await;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        serving.abort();
        Ok(clients.report(seconds, origin.seen()))
    }
}

async fn closed(clients: &Arc<Clients>, count: usize, progress: &Arc<dyn Fn() + Send + Sync>) {
    let next = Arc::new(AtomicUsize::new(0));
    let workers = (0..count).map(|_| {
        let (clients, next, progress) = (clients.clone(), next.clone(), progress.clone());
        tokio::spawn(async move {
            let mut connection = None;
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= clients.tape.len() {
                    return;
                }
                connection = clients.ask(at, connection.take(), instant()).await;
                progress();
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    for worker in workers {
        // A worker ends by itself; a panic in one is a bug that the counts would show.
        let _ = worker.await;
    }
}

async fn open(
    clients: &Arc<Clients>,
    trace: &Trace,
    (factor, under_way_max): (f64, usize),
    progress: &Arc<dyn Fn() + Send + Sync>,
) {
    let room = Arc::new(Semaphore::new(under_way_max));
    let start = instant();
    for (at, request) in trace.requests.iter().enumerate() {
        let due = start + Duration::from_secs_f64(request.at_ms as f64 / 1000.0 / factor);
        tokio::time::sleep_until(due.into()).await;
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let (clients, progress) = (clients.clone(), progress.clone());
        tokio::spawn(async move {
            let idle = clients.idle();
            if let Some(connection) = clients.ask(at, idle, due).await {
                clients.keep(connection);
            }
            progress();
            drop(permit);
        });
    }
    // All permits together: everything is done.
    let _ = room.acquire_many(under_way_max as u32).await;
}
