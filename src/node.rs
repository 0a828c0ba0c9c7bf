//! Level 6: a running node, built from a configuration.
//!
//! ```text
//! Config ─► origins, sites ─► Routing ┐
//!        ─► memory, disk, ledger ─────┼─► Shared ─► one Serve per connection thread (front)
//!        ─► telemetry ────────────────┘       '──► admin API (background runtime)
//! ```
//! Starting is all or nothing: whatever fails, fails before the first connection is
//! accepted. A reload builds a new `Routing` aside and swaps it; a refused one changes
//! nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::base::Clock;
use crate::config::Config;
use crate::front::{self, Certs, Front};
use crate::origin::Group;
use crate::rules::key::KeySeed;
use crate::rules::ledger::Ledger;
use crate::serve::{self, Routing, Serve, Shared, Stores};
use crate::store::disk::{Disk, DiskError};
use crate::store::memory::OnEvict;
use crate::store::{Memory, Victim};
use crate::telemetry::{AccessLog, Summary, Telemetry};

/// Threads for what is not on a client's path: admin, background checks.
const BACKGROUND_THREADS: usize = 2;

/// How often certificate files are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(2);

/// Why a node did not start, or a reload was refused.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Listeners.
    #[error(transparent)]
    Front(#[from] front::FrontError),
    /// Certificates.
    #[error(transparent)]
    Certs(#[from] front::CertsError),
    /// The disk tier.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// An origin's settings.
    #[error("origin {name:?}: {why}")]
    Origin {
        /// The origin's name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The access log.
    #[error("cannot write the access log: {0}")]
    AccessLog(std::io::Error),
    /// The background runtime.
    #[error("cannot start background threads: {0}")]
    Runtime(std::io::Error),
}

/// A node that serves.
pub struct Node {
    front: front::Running,
    shared: Arc<Shared>,
    certs: Option<Arc<Certs>>,
    addresses: Vec<(Arc<str>, SocketAddr)>,
    background: Runtime,
    drain: Duration,
}

impl Node {
    /// Binds, builds and serves. Nothing is accepted before everything is ready.
    pub fn start(config: &Config, clock: Clock) -> Result<Node, NodeError> {
        let background = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(BACKGROUND_THREADS)
            .thread_name("brink-background")
            .enable_all()
            .build()
            .map_err(NodeError::Runtime)?;
        let sources = config.tls.sources()?;
        let certs = if sources.is_empty() { None } else { Some(Certs::load(sources)?) };
        let front = Front::bind(config.front.clone(), Vec::new())?;
        let addresses = front.addresses().to_vec();
        let shared = Arc::new(build(config, clock)?);
        watch(&background, &shared.routing.load());
        if let Some(certs) = certs.clone() {
            background.spawn(certs.watch(CERTIFICATES_EVERY));
        }
        let serving = shared.clone();
        let front = front.serve(certs.clone(), move |_thread| Serve::new(serving.clone()))?;
        Ok(Node { front, shared, certs, addresses, background, drain: config.node.drain })
    }

    /// Where it listens, by listener name.
    pub fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    /// What all exchanges share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The runtime for work beside the exchanges.
    pub fn background(&self) -> &Runtime {
        &self.background
    }

    /// Takes over sites, rules, origins, trust and certificates of `config`. What needs
    /// other sockets or sizes (listeners, memory, disk) waits for a restart.
    pub fn reload(&self, config: &Config) -> Result<(), NodeError> {
        let routing = routing(config)?;
        if let Some(certs) = &self.certs {
            certs.replace(config.tls.sources()?)?;
        }
        watch(&self.background, &routing);
        self.shared.routing.store(Arc::new(routing));
        Ok(())
    }

    /// Stops accepting, finishes what runs (at most as long as configured), and says what
    /// the node did. Returns the summary and how many connections had to be cut.
    pub fn drain(self) -> (Summary, usize) {
        let cut = self.front.drain(self.drain);
        let summary = self.shared.telemetry.counters.summary();
        self.background.shutdown_timeout(Duration::from_secs(1));
        (summary, cut)
    }
}

fn build(config: &Config, clock: Clock) -> Result<Shared, NodeError> {
    let disk = open_disk(config, &clock)?;
    let seed = disk.as_ref().map_or_else(|| KeySeed(rand::random()), |disk| disk.seed());
    let on_evict = disk.clone().map(|disk| -> OnEvict {
        Arc::new(move |victim: Victim| {
            for entry in victim.slot.variants.iter().rev() {
                disk.evicted(entry.clone());
            }
        })
    });
    let memory = Arc::new(Memory::new(&config.memory, on_evict));
    let log = AccessLog::start(config.log.access.clone()).map_err(NodeError::AccessLog)?;
    let telemetry = Telemetry::new(log);
    let stores = Stores { memory, disk, ledger: Arc::new(Ledger::new()) };
    let options = serve::Options {
        object_max: config.memory.capacity.bytes() / OBJECT_SHARE,
        ..serve::Options::default()
    };
    Ok(Shared::new(clock, seed, routing(config)?, stores, telemetry, options))
}

/// One object may take at most this share of the memory tier while it is being filled.
const OBJECT_SHARE: u64 = 4;

fn open_disk(config: &Config, clock: &Clock) -> Result<Option<Arc<Disk>>, NodeError> {
    if config.disk.directories.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(Disk::open(config.disk.clone(), clock.clone())?)))
}

fn routing(config: &Config) -> Result<Routing, NodeError> {
    let mut origins = HashMap::new();
    for options in &config.origins {
        let failed = |why| NodeError::Origin { name: options.name.clone(), why };
        let group = Group::new(options.clone()).map_err(failed)?;
        origins.insert(options.name.clone(), group);
    }
    Ok(Routing::new(&config.node.name, config.sites.clone(), origins, config.trust.clone()))
}

/// Starts the health checks and name lookups of all origins; they end with the group.
fn watch(background: &Runtime, routing: &Routing) {
    let _inside = background.enter();
    for (_, group) in routing.origins() {
        group.watch();
    }
}
