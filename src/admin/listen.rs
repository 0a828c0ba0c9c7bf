//! The admin socket: TCP (with TLS if wanted) or a Unix socket, a bounded number of
//! connections, deadlines.
//!
//! hyper directly instead of `axum::serve`, which has neither a header deadline nor a
//! bound on connections: even on loopback a stuck scraper must not pile up.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::tls::{self, Tls};

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;
/// From the first byte of a request to the end of its head.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// For the whole TLS handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// Where the admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and port.
    Tcp(SocketAddr),
    /// A Unix socket, mode 0600; one left behind is replaced.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Who called, for limits and the audit log.
#[derive(Clone, Debug)]
pub(super) struct Peer(pub(super) String);

pub(super) enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds, or takes the socket of an older process as it is.
    pub(super) async fn bind(
        address: &Address,
        inherited: Option<&OwnedFd>,
    ) -> io::Result<Listener> {
        if let Some(socket) = inherited {
            return Listener::inherit(address, socket.try_clone()?);
        }
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let bound = listener.local_addr()?;
                Ok(Listener::Tcp(listener, bound))
            }
            Address::Unix(path) => {
                remove_dead_socket(path).await?;
                let listener = UnixListener::bind(path)?;
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                std::fs::set_permissions(path, mode)?;
                Ok(Listener::Unix(listener, path.clone()))
            }
        }
    }

    fn inherit(address: &Address, socket: OwnedFd) -> io::Result<Listener> {
        match address {
            Address::Tcp(_) => {
                let socket = std::net::TcpListener::from(socket);
                socket.set_nonblocking(true)?;
                let bound = socket.local_addr()?;
                Ok(Listener::Tcp(TcpListener::from_std(socket)?, bound))
            }
            Address::Unix(path) => {
                let socket = std::os::unix::net::UnixListener::from(socket);
                socket.set_nonblocking(true)?;
                Ok(Listener::Unix(UnixListener::from_std(socket)?, path.clone()))
            }
        }
    }

    /// Another handle of the socket, to hand to a new process.
    pub(super) fn copy(&self) -> io::Result<OwnedFd> {
        match self {
            Listener::Tcp(listener, _) => listener.as_fd().try_clone_to_owned(),
            Listener::Unix(listener, _) => listener.as_fd().try_clone_to_owned(),
        }
    }

    pub(super) fn address(&self) -> Address {
        match self {
            Listener::Tcp(_, bound) => Address::Tcp(*bound),
            Listener::Unix(_, path) => Address::Unix(path.clone()),
        }
    }

    /// Accepts until `pause`; running answers are cut when `stop` comes, of which `pause` is
    /// a child.
    pub(super) async fn serve(
        self,
        router: Router,
        tls: Option<Arc<Tls>>,
        (stop, pause): (CancellationToken, CancellationToken),
    ) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = pause.cancelled() => return,
                accepted = self.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, mostly: give others time to close some.
                    tracing::warn!(%error, "admin listener");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (router, stop, tls) = (router.clone(), stop.clone(), tls.clone());
            tokio::spawn(async move {
                let served = async {
                    if let Some((stream, peer)) = greet(stream, peer, tls).await {
                        connection(stream, peer, router).await;
                    }
                };
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = served => {}
                }
                drop(permit);
            });
        }
    }

    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        match self {
            Listener::Tcp(listener, _) => {
                let (stream, peer) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), Peer(peer.ip().to_string())))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), Peer("unix".to_owned())))
            }
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Does the TLS handshake if there is one to do. `None`: it failed, or took too long.
async fn greet(
    stream: Box<dyn Stream>,
    peer: Peer,
    tls: Option<Arc<Tls>>,
) -> Option<(Box<dyn Stream>, Peer)> {
    let Some(tls) = tls else { return Some((stream, peer)) };
    let handshake = TlsAcceptor::from(tls.config()).accept(stream);
    let stream = match tokio::time::timeout(HANDSHAKE_DEADLINE, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::info!(%error, peer = peer.0, "admin listener: TLS handshake");
            return None;
        }
        Err(_) => return None,
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = match shown.and_then(tls::name_of) {
        Some(name) => Peer(format!("{} ({name})", peer.0)),
        None => peer,
    };
    Some((Box::new(stream), peer))
}

async fn connection(stream: Box<dyn Stream>, peer: Peer, router: Router) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let mut router = router.clone();
        async move { tower_service::Service::call(&mut router, request).await }
    });
    // A connection that breaks is the caller's business.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// A socket file nobody answers on is left from a crash.
async fn remove_dead_socket(path: &PathBuf) -> io::Result<()> {
    match tokio::net::UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another node answers on it")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(_) => Ok(()),
    }
}
