//! Level 6: a running node, built from a configuration.
//!
//! ```text
//! Config ─► origins, sites ─► Routing ┐
//!        ─► memory, disk, ledger ─────┼─► Shared ─► one Serve per connection thread (front)
//!        ─► telemetry ────────────────┘       '──► admin API (background runtime)
//! ```
//! Starting is all or nothing: whatever fails, fails before the first connection is
//! accepted. A reload builds a new `Routing` aside and swaps it; a refused one changes
//! nothing. An upgrade is a second process that takes the first one's sockets (`handover`).

mod build;
pub mod confine;
pub mod core;
mod error;
mod handover;
mod observe;
mod purges;
pub mod seams;
mod staff;
mod warm;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use self::handover::{Lent, Offer, Taken};
use self::purges::PurgeFile;
use crate::admin::{self, Admin};
use crate::base::Clock;
use crate::config::Config;
use crate::front::{self, Certs, Front};
use crate::serve::{Routing, Serve, Shared};
use crate::telemetry::Summary;

pub use error::NodeError;
use seams::Seams;

/// Threads for what is not on a client's path: admin, background checks.
const BACKGROUND_THREADS: usize = 2;

/// Longest wait for the disks at the end.
const CLOSE_MAX: Duration = Duration::from_secs(30);

/// How often certificate files are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(2);

/// A node that serves.
pub struct Node {
    front: front::Running,
    shared: Arc<Shared>,
    certs: Option<Arc<Certs>>,
    admin: Option<Admin>,
    addresses: Vec<(Arc<str>, SocketAddr)>,
    background: Runtime,
    drain: Duration,
    offer: Option<Offer>,
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
        raise_open_files();
        survive_full_files(&background);
        let sources = config.tls.sources()?;
        let certs = if sources.is_empty() { None } else { Some(Certs::load(sources)?) };
        let failed = handover_failed(config);
        let path = config.node.handover.as_deref();
        let mut taken = path.map(Taken::ask).transpose().map_err(&failed)?.flatten();
        let inherited = taken.as_mut().map(|taken| taken.listeners(&config.front.listeners));
        let front = Front::bind(config.front.clone(), inherited.unwrap_or_default())?;
        let addresses = front.addresses().to_vec();
        if let Some(taken) = &mut taken {
            taken.store().map_err(&failed)?;
        }
        let built = build::build(config, clock, &Seams::default())?;
        let shared = Arc::new(built.shared);
        watch(&background, &shared.routing.load());
        let lending = staff::Lending {
            purges: built.purges.clone(),
            doors: doors(config, &addresses),
            socket: taken.as_mut().and_then(Taken::admin),
        };
        let admin = staff::admin(config, &background, &shared, lending)?;
        if let Some(certs) = certs.clone() {
            background.spawn(certs.watch(CERTIFICATES_EVERY));
        }
        let serving = shared.clone();
        let front = front.serve(certs.clone(), move |_thread| Serve::new(serving.clone()))?;
        observe::front(&shared.telemetry.counters, front.live_stats());
        observe::stores(&shared);
        if let Some(taken) = taken {
            taken.serving().map_err(&failed)?;
        }
        let offer = path.map(|path| {
            let lent = lent(&front, admin.as_ref(), &shared, built.purges)?;
            Offer::start(path, lent)
        });
        let offer = offer.transpose().map_err(&failed)?;
        let drain = config.node.drain;
        Ok(Node { front, shared, certs, admin, addresses, background, drain, offer })
    }

    /// Where it listens, by listener name.
    pub fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    /// Where the admin API listens, if it is on.
    pub fn admin_address(&self) -> Option<&admin::Address> {
        self.admin.as_ref().map(Admin::address)
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
        let old = self.shared.routing.load_full();
        let routing = build::routing(config, self.shared.seed, Some(&old), &Seams::default())?;
        if let Some(certs) = &self.certs {
            certs.replace(config.tls.sources()?)?;
        }
        watch(&self.background, &routing);
        self.shared.routing.store(Arc::new(routing));
        if let Some(admin) = &self.admin {
            admin.reload();
        }
        Ok(())
    }

    /// Waits until a new process has taken over (then this one should drain), for ever if
    /// the configuration has no `handover`.
    pub async fn handed_over(&self) {
        match &self.offer {
            Some(offer) => offer.handed_over().await,
            None => std::future::pending().await,
        }
    }

    /// Stops accepting, finishes what runs (at most as long as configured), and says what
    /// the node did. Returns the summary and how many connections had to be cut.
    pub fn drain(self) -> (Summary, usize) {
        drop(self.offer);
        let cut = self.front.drain(self.drain);
        let summary = self.shared.telemetry.counters.summary();
        if let Some(admin) = self.admin {
            self.background.block_on(admin.stop());
        }
        close(&self.shared);
        self.background.shutdown_timeout(Duration::from_secs(1));
        (summary, cut)
    }
}

/// Closes the disk tier; a device that no longer answers must not keep the process.
fn close(shared: &Arc<Shared>) {
    let Some(disk) = shared.disk.clone() else { return };
    let (done, closed) = std::sync::mpsc::channel();
    let closing = std::thread::Builder::new().name("disk-close".into()).spawn(move || {
        disk.close();
        let _ = done.send(());
    });
    if closing.is_ok() && closed.recv_timeout(CLOSE_MAX).is_err() {
        tracing::error!("the disk tier could not be closed in time: a device does not answer");
    }
}

fn handover_failed(config: &Config) -> impl Fn(std::io::Error) -> NodeError {
    let path = config.node.handover.as_deref().unwrap_or(Path::new("")).display().to_string();
    move |why| NodeError::Handover { path: path.clone(), why }
}

/// What a new process may take from this one.
fn lent(
    front: &front::Running,
    admin: Option<&Admin>,
    shared: &Arc<Shared>,
    purges: Option<Arc<PurgeFile>>,
) -> std::io::Result<Lent> {
    let (admin, pause) = admin.map(Admin::socket).transpose()?.unzip();
    let shared = shared.clone();
    let give_up = move || {
        if let Some(pause) = &pause {
            pause.cancel();
        }
        shared.retire();
        if let Some(disk) = &shared.disk {
            disk.close();
        }
        if let Some(purges) = &purges {
            purges.release();
        }
    };
    Ok(Lent { sockets: front.sockets()?, admin, give_up: Box::new(give_up) })
}

/// Uses all the open files the system allows: each connection is one, and the limit on
/// connections is derived from it.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!("the limit on open files could not be raised");
    }
}

/// A file at the limit of its length (RLIMIT_FSIZE) must fail as on a full disk. What the
/// system does by default is to end the process (SIGXFSZ); having a handler prevents that.
fn survive_full_files(background: &Runtime) {
    use tokio::signal::unix::{SignalKind, signal};
    let _inside = background.enter();
    let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    if let Err(error) = signal(kind) {
        tracing::warn!(%error, "SIGXFSZ keeps its default action");
    }
}

/// The first plain and the first TLS listener that take a connection without a PROXY
/// header.
fn doors(config: &Config, addresses: &[(Arc<str>, SocketAddr)]) -> warm::Doors {
    let door = |tls: bool| {
        let own = config.front.listeners.iter();
        let mut fit = own.filter(|one| one.tls == tls && one.proxy_protocol.is_empty());
        let name = &fit.next()?.name;
        addresses.iter().find(|(bound, _)| bound == name).map(|(_, address)| *address)
    };
    warm::Doors { plain: door(false), tls: door(true) }
}

/// Starts the health checks and name lookups of all origins; they end with the group.
fn watch(background: &Runtime, routing: &Routing) {
    let _inside = background.enter();
    for (_, group) in routing.origins() {
        group.watch();
    }
}
