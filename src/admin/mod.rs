//! Level 4: the admin API, its guard and the dashboard, on a listener of their own.
//!
//! ```text
//! request -> guard (browser? token? scope? rate?) -> one handler a file -> JSON
//!                '-> audit of everything that changes something
//! ```
//! Nothing here is on the path of a client's request and nothing of it can be reached
//! through a data listener, but for `PURGE` from listed networks ([`Remotes`]), which passes
//! the same guard: the router lives on its own socket, loopback by default. What
//! the API needs of the rest of the node it gets in [`Handles`], because `admin` and
//! `serve` are neighbours that must not know each other.

mod advice;
mod answer;
mod audit;
mod commit;
mod dashboard;
mod disk;
mod explain;
mod guard;
mod handles;
mod history;
mod job;
mod lab;
mod limit;
mod listen;
mod objects;
mod openapi;
mod passes;
mod purge;
mod remote;
mod router;
mod routes;
mod schemas;
mod sight;
mod sitemap;
mod sweep;
mod tls;
mod tokens;
#[cfg(test)]
mod trials;
mod warm;
mod words;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use axum::body::Body;
use axum::http::{Request, Response};
use ipnet::IpNet;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use handles::{Durable, Handles, Located, WarmFetch, Warmed};
pub use listen::Address;
pub use remote::{RemoteAnswer, RemotePurge, Remotes};
pub use routes::{ROUTES, Route, Scope};
pub use sitemap::{Listed, listed};
pub use tls::{TlsError, TlsFiles};
pub use tokens::{TokenError, Tokens};

use audit::Audit;
use limit::Limits;
use sweep::Sweeper;
use tls::Tls;

/// Settings of the admin listener.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens. Default `127.0.0.1:8090`.
    pub listen: Address,
    /// Bearer tokens; made with one of 32 random bytes and mode 0600 if it does not exist.
    /// `None`: a token for this run only, told to nobody, so only health can be asked.
    pub token_file: Option<PathBuf>,
    /// Names beside loopback names and address literals that a `Host` field may carry
    /// (against DNS rebinding).
    pub hosts: Vec<String>,
    /// TLS; `None` speaks plain HTTP. Not on a Unix socket.
    pub tls: Option<TlsFiles>,
    /// Networks whose clients may send `PURGE` with a token to the listeners of clients.
    pub purge_networks: Vec<IpNet>,
    /// Every change is appended to this file as a line of JSON.
    pub audit_file: Option<PathBuf>,
    /// Looking calls per second and token before 429. Default 1,000, burst twice that.
    pub reads_per_second: u32,
    /// Changing calls per second and token before 429. Default 1,000, burst twice that.
    pub changes_per_second: u32,
    /// Wrong tokens per minute and address before 429. Default 30.
    pub failures_per_minute: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 8090))),
            token_file: None,
            hosts: Vec::new(),
            tls: None,
            purge_networks: Vec::new(),
            audit_file: None,
            reads_per_second: 1_000,
            changes_per_second: 1_000,
            failures_per_minute: 30,
        }
    }
}

/// Why the admin listener did not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address.
    #[error("admin listener on {0}: {1}")]
    Bind(String, io::Error),
    /// The token file.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The certificate, its key, or the clients' authorities.
    #[error("admin listener: {0}")]
    Tls(#[from] TlsError),
}

/// A running admin listener.
#[derive(Debug)]
pub struct Admin {
    address: Address,
    tokens: Arc<Tokens>,
    tls: Option<Arc<Tls>>,
    remotes: Remotes,
    stop: CancellationToken,
    pause: CancellationToken,
    socket: OwnedFd,
    task: JoinHandle<()>,
}

/// What all handlers share.
pub(crate) struct State {
    handles: Handles,
    sweeper: Sweeper,
    tokens: Arc<Tokens>,
    limits: Limits,
    audit: Audit,
    hosts: Vec<String>,
    jobs: warm::Jobs,
    history: history::History,
    advice: lab::Advice,
    purgers: commit::Purgers,
}

/// The API without a listener: what the admin socket serves, and what a simulation calls.
pub struct Api {
    router: axum::Router,
    tokens: Arc<Tokens>,
    state: Weak<State>,
}

impl Api {
    /// On the runtime this is called on; `listen` of the options is not used.
    ///
    /// # Errors
    /// A token file that cannot be used.
    pub fn new(options: Options, handles: Handles) -> Result<Api, AdminError> {
        let tokens = Arc::new(Tokens::open(options.token_file.as_deref())?);
        Ok(Self::with(&options, tokens, handles))
    }

    fn with(options: &Options, tokens: Arc<Tokens>, handles: Handles) -> Api {
        let sweeper = Sweeper::new(&handles);
        sight::observe(&handles, &sweeper);
        let state = Arc::new(State {
            sweeper,
            limits: Limits::new(
                options.reads_per_second,
                options.changes_per_second,
                options.failures_per_minute,
            ),
            audit: Audit::new(options.audit_file.clone()),
            tokens: tokens.clone(),
            hosts: options.hosts.clone(),
            jobs: warm::Jobs::default(),
            history: history::History::default(),
            advice: lab::Advice::default(),
            purgers: commit::Purgers::default(),
            handles,
        });
        let weak = Arc::downgrade(&state);
        Api { router: router::router(state), tokens, state: weak }
    }

    /// One call, guard and all.
    pub async fn call(&self, request: Request<Body>) -> Response<Body> {
        let called = tower_service::Service::call(&mut self.router.clone(), request).await;
        called.unwrap_or_else(|never| match never {})
    }
}

impl Admin {
    /// Binds and serves on the runtime this is called on.
    pub async fn start(options: Options, handles: Handles) -> Result<Admin, AdminError> {
        Self::start_on(options, handles, None).await
    }

    /// The same on the listening socket of an older process.
    pub async fn start_on(
        options: Options,
        handles: Handles,
        inherited: Option<OwnedFd>,
    ) -> Result<Admin, AdminError> {
        let tokens = Arc::new(Tokens::open(options.token_file.as_deref())?);
        let tls = options.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
        let failed = |error| AdminError::Bind(options.listen.to_string(), error);
        let listener = listen::Listener::bind(&options.listen, inherited.as_ref());
        let listener = listener.await.map_err(failed)?;
        let socket = listener.copy().map_err(failed)?;
        let address = listener.address();
        let Api { router, tokens, state } = Api::with(&options, tokens, handles);
        tokio::spawn(history::keep(state));
        let stop = CancellationToken::new();
        let remotes = Remotes::new(options.purge_networks, router.clone());
        let pause = stop.child_token();
        let until = (stop.clone(), pause.clone());
        let task = tokio::spawn(listener.serve(router, tls.clone(), until));
        Ok(Admin { address, tokens, tls, remotes, stop, pause, socket, task })
    }

    /// Where it listens, with the port that was given.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The tokens, to be read again on reload.
    pub fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }

    /// Reads tokens and certificates again. What cannot be read stays as it was.
    pub fn reload(&self) {
        if let Err(why) = self.tokens.reload() {
            tracing::warn!(%why, "admin tokens not read again, the old ones stay");
        }
        if let Some(Err(why)) = self.tls.as_ref().map(|tls| tls.reload()) {
            tracing::warn!(%why, "admin certificate not read again, the old one stays");
        }
    }

    /// The way for `PURGE` from the listeners of clients.
    pub fn remotes(&self) -> &Remotes {
        &self.remotes
    }

    /// The listening socket and what stops accepting from it, for a new process that takes
    /// it over.
    ///
    /// # Errors
    /// What the system says to one file descriptor more.
    pub fn socket(&self) -> io::Result<(OwnedFd, CancellationToken)> {
        Ok((self.socket.try_clone()?, self.pause.clone()))
    }

    /// Stops listening and waits for running answers, which end with the listener.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}
