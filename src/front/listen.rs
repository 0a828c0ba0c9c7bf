//! The front: its listeners bound for every thread, then served.
//!
//! Everything is bound before anything is served. Sockets handed over by an older process
//! are used as they are: re-binding would reset the connections queued on them.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::bound::{Bound, FrontError, bind_all};
use super::certs::Certs;
use super::gate::Gate;
use super::options::Options;
use super::running::{self, Running};
use super::stats::Stats;
use super::{Handler, tls};

/// Bound listeners, not yet serving.
#[derive(Debug)]
pub struct Front {
    options: Options,
    /// For each thread, its sockets.
    threads: Vec<Vec<Bound>>,
    addresses: Vec<(Arc<str>, SocketAddr)>,
}

impl Front {
    /// Binds every listener of `options` for every thread. `inherited` are sockets of an
    /// older process by listener name; listeners found there are not bound again.
    pub fn bind(
        options: Options,
        mut inherited: Vec<(Arc<str>, TcpListener)>,
    ) -> Result<Front, FrontError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if options.threads == 0 { cores } else { options.threads };
        let mut threads: Vec<Vec<Bound>> = (0..count).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        for listener in &options.listeners {
            let why = |why| FrontError::Bind { address: listener.address, why };
            let shared = Arc::new(listener.clone());
            let (mine, rest): (Vec<_>, Vec<_>) =
                inherited.into_iter().partition(|(name, _)| *name == listener.name);
            inherited = rest;
            let mut sockets: Vec<TcpListener> = mine.into_iter().map(|(_, s)| s).collect();
            if sockets.is_empty() {
                sockets = bind_all(listener.address, count, options.backlog).map_err(why)?;
            }
            let first = sockets.first().map(TcpListener::local_addr).transpose().map_err(why)?;
            addresses.push((Arc::clone(&listener.name), first.unwrap_or(listener.address)));
            // Fewer sockets than threads: some threads share one.
            for index in 0..count.saturating_sub(sockets.len()) {
                if let Some(shared) = sockets.get(index).map(TcpListener::try_clone) {
                    sockets.push(shared.map_err(why)?);
                }
            }
            // More sockets than threads: each must still be accepted from.
            let slots = (0..count).cycle().zip(sockets);
            for (index, socket) in slots {
                socket.set_nonblocking(true).map_err(why)?;
                if let Some(thread) = threads.get_mut(index) {
                    thread.push(Bound { options: Arc::clone(&shared), socket });
                }
            }
        }
        Ok(Front { options, threads, addresses })
    }

    /// The real address of each listener, by name.
    pub fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    /// Starts serving. `make` is called once on each thread, inside its runtime, with the
    /// thread's number. `certs` is needed when a listener speaks TLS.
    pub fn serve<H, M>(self, certs: Option<Arc<Certs>>, make: M) -> Result<Running, FrontError>
    where
        H: Handler,
        M: Fn(usize) -> H + Send + Sync + 'static,
    {
        if let (None, Some(needy)) = (&certs, self.options.listeners.iter().find(|l| l.tls)) {
            return Err(FrontError::NoCertificate(Arc::clone(&needy.name)));
        }
        let config = certs.clone().map(tls::server_config).transpose()?;
        let stats = Arc::new(Stats::default());
        let limits = &self.options.limits;
        let total = match limits.connections_max {
            0 => connections_from_files(),
            n => n,
        };
        let heads = usize::try_from(limits.heads_held_max.bytes()).unwrap_or(usize::MAX);
        let gate = Gate::new(total, limits.connections_per_address_max, heads, stats);
        running::start((self.options, self.threads), certs.zip(config), gate, make)
    }
}

/// Three quarters of the open files the process may have: the rest is for origins, disk
/// and logs.
fn connections_from_files() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.unwrap_or(FILES_CEILING).min(FILES_CEILING);
    usize::try_from(files.saturating_sub(64) * 3 / 4).unwrap_or(usize::MAX).max(16)
}

/// Above this many files the limit is memory, not descriptors.
const FILES_CEILING: u64 = 262_144;
