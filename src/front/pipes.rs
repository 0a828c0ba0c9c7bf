//! Connections that are no sockets: pipes within the process, served by everything that a
//! connection from outside meets behind its handshake.
//!
//! The seeded simulation sends its clients through here, so that the ways past hyper
//! (`straight`, `later`, `http2_straight`) answer to the same judge as hyper's. Nothing sweeps:
//! a world whose clock only moves when told has no deadlines.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::DuplexStream;

use super::accept::{self, Thread};
use super::gate::Gate;
use super::interim::Interim;
use super::options::Options;
use super::stats::Stats;
use super::sweep::Wheel;
use super::wire::Wire;
use super::{Connection, Handler};

/// The end of a client's pipe.
#[derive(Debug)]
pub struct Pipe {
    /// Its bytes.
    pub stream: DuplexStream,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// HTTP/2 with prior knowledge rather than HTTP/1.
    pub http2: bool,
}

/// Serves one connection from its first byte to its last, within the limits of `options`.
pub async fn serve_pipe<H: Handler>(handler: H, options: Options, pipe: Pipe) {
    let stats = Arc::new(Stats::default());
    let wheel = Wheel::new(options.deadlines.clone(), Arc::clone(&stats));
    let gate = Gate::new(usize::MAX, usize::MAX, usize::MAX, stats);
    let Ok(lease) = gate.enter() else { return };
    let pulse = wheel.register();
    let conn = Connection {
        id: accept::next_id(),
        peer: pipe.peer,
        local: SocketAddr::from(([127, 0, 0, 1], 80)),
        listener: "pipe".into(),
        tls: None,
        http2: pipe.http2,
        interim: Arc::new(Interim::new(Arc::clone(&pulse))),
    };
    let thread = Thread { handler, options: Arc::new(options), gate, wheel, tls: None };
    accept::serve(&thread, (Wire::Pipe(pipe.stream), conn, Vec::new()), pulse, lease).await;
}
