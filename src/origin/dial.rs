//! How a server's connections come about: taken from the pool or opened.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::address::Address;
use super::bare::Bare;
use super::fault::OriginFault;
use super::lease::Link;
use super::options::Http2;
use super::resolve::Target;
use super::server::{Common, Server};
use super::wire::{self, Wire};
use super::{SendContext, link, pool};
use crate::base::clock;

/// The way to a server.
#[derive(Debug)]
pub enum Route {
    /// A name or address; the name in the certificate if it speaks TLS.
    Tcp {
        /// Where it leads.
        target: Target,
        /// Name for SNI.
        tls: Option<ServerName<'static>>,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Route {
    /// The way to an address and what stands in `Host` if nothing else does.
    pub fn new(address: &Address, common: &Common) -> Result<(Route, String), String> {
        match address {
            Address::Unix(path) => Ok((Route::Unix(path.clone()), "localhost".to_owned())),
            Address::Tcp { host, port, tls } => {
                let sni = common.options.tls.sni.as_deref().unwrap_or(host);
                let name = tls
                    .then(|| ServerName::try_from(sni.to_owned()))
                    .transpose()
                    .map_err(|_| format!("expected a server name for TLS, got {sni:?}"))?;
                let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let default = if *tls { 443 } else { 80 };
                let authority = if *port == default { shown } else { format!("{shown}:{port}") };
                let target = Target::new(host, *port, common.names.clone());
                Ok((Route::Tcp { target, tls: name }, authority))
            }
            Address::Srv { name, .. } => Err(format!("{name} is a service, not a server")),
        }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        match self {
            Route::Tcp { tls: Some(_), .. } => "https",
            Route::Tcp { tls: None, .. } | Route::Unix(_) => "http",
        }
    }

    /// Addresses known now.
    pub fn known(&self) -> Vec<SocketAddr> {
        match self {
            Route::Tcp { target, .. } => target.known(),
            Route::Unix(_) => Vec::new(),
        }
    }
}

impl Server {
    /// A connection of this thread's pool for a request that goes without hyper if `bare`,
    /// and only `once` or that can be sent again.
    pub(super) fn idle(&self, bare: bool, once: bool) -> Option<Link> {
        // A connection that carries one client's address is never another's.
        if self.common.options.proxy_protocol {
            return None;
        }
        pool::take(self, clock::instant(), (bare, once))
    }

    /// Opens a connection within the connect deadline.
    pub(super) async fn open(self: &Arc<Self>, cx: &SendContext) -> Result<Link, OriginFault> {
        let deadline = self.common.options.timeouts.connect;
        let opened = tokio::time::timeout(deadline, async {
            if !self.speaks_h2.load(Ordering::Relaxed) {
                let link = self.dial(cx).await?;
                self.share(&link);
                return Ok(link);
            }
            // One connection carries many: the others wait for it.
            let _one = self.connecting.lock().await;
            match self.idle(true, false) {
                Some(link) => Ok(link),
                None => {
                    let link = self.dial(cx).await?;
                    self.share(&link);
                    Ok(link)
                }
            }
        });
        opened.await.unwrap_or(Err(OriginFault::ConnectTimeout))
    }

    /// Opens connections ahead of need on this thread, if the options say so.
    pub(super) fn keep_warm(self: &Arc<Self>) {
        let options = &self.common.options;
        let wanted = options.pool.warm.min(options.pool.idle_max);
        // Pools are of threads: a task that may wander between them has no use for one.
        let stays = || Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
        if wanted == 0 || options.proxy_protocol || !stays() {
            return;
        }
        while pool::wants(self, wanted) {
            let server = self.clone();
            tokio::spawn(async move {
                let link = server.open(&SendContext::default()).await;
                pool::opened(&server);
                if let Ok(link @ Link::Bare(_)) = link {
                    pool::put(&server, link, clock::instant());
                }
            });
        }
    }

    /// Makes a fresh HTTP/2 connection known to the other requests of this thread.
    fn share(self: &Arc<Self>, link: &Link) {
        if let Link::Shared(one) = link
            && !self.common.options.proxy_protocol
        {
            pool::share(self, one.clone());
        }
    }

    /// Opens a connection that nobody else knows.
    pub(super) async fn dial(self: &Arc<Self>, cx: &SendContext) -> Result<Link, OriginFault> {
        let options = &self.common.options;
        let wire = match &self.route {
            _ if let Some(upstream) = &self.common.upstream => {
                Wire::Pipe(upstream.open(&self.name).map_err(wire::refused)?)
            }
            Route::Unix(path) => Wire::Unix(wire::open_unix(path).await?),
            Route::Tcp { target, tls } => {
                let mut stream = wire::open_tcp(&target.addresses().await?).await?;
                if options.proxy_protocol {
                    let header = wire::proxy_header(cx.client);
                    stream
                        .write_all(&header)
                        .await
                        .map_err(|_| OriginFault::Connect("the origin closed the connection"))?;
                }
                match (tls, &self.common.tls) {
                    (Some(name), Some(config)) => {
                        wire::handshake(stream, config.clone(), name.clone()).await?
                    }
                    _ => Wire::Plain(stream),
                }
            }
        };
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        if wire::is_h2(&wire) || options.http2 == Http2::Only {
            self.speaks_h2.store(true, Ordering::Relaxed);
            return Ok(Link::Shared(link::start_http2(wire, options.pool.idle_timeout).await?));
        }
        self.speaks_h2.store(false, Ordering::Relaxed);
        Ok(Link::Bare(Box::new(Bare::new(wire, clock::instant()))))
    }

    /// Puts hyper around a bare connection.
    pub(super) async fn with_hyper(&self, link: Link) -> Result<Link, OriginFault> {
        let Link::Bare(one) = link else { return Ok(link) };
        let (born, idle) = (one.born, self.common.options.pool.idle_timeout);
        Ok(Link::Solo(link::start_http1(one.into_wire(), born, idle).await?))
    }
}
