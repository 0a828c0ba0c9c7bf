//! Accepting connections and taking each through its handshake to its protocol.
//!
//! Running out of file descriptors must not become a busy loop: one descriptor is kept in
//! reserve; when accept fails for want of one, it is given up to accept and close a
//! single connection, taken back, and accepting pauses. Overload is told to clients: a
//! plain connection over the total limit gets a 503 with Retry-After, best effort.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::bound::Bound;
use super::frames::Budgets;
use super::gate::{Full, Gate, Lease};
use super::guard::Guard;
use super::http1::Http1Io;
use super::http2_io::Shared;
use super::interim::Interim;
use super::options::{ListenerOptions, Options};
use super::pulse::{Phase, Pulse};
use super::service::Service;
use super::stats::count;
use super::sweep::Wheel;
use super::tls::TlsParts;
use super::wire::Wire;
use super::{Connection, Handler, http1, http2, proxy_protocol, tls};

/// What all connections of one thread share.
pub(crate) struct Thread<H> {
    pub(crate) handler: H,
    pub(crate) options: Arc<Options>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) wheel: Arc<Wheel>,
    pub(crate) tls: TlsParts,
}

/// Runs one thread: its listeners, its sweep, and at the end its drain.
pub(crate) async fn run<H: Handler>(
    thread: Arc<Thread<H>>,
    bound: Vec<Bound>,
    stop: CancellationToken,
    abort: CancellationToken,
) {
    let tasks = tokio_util::task::TaskTracker::new();
    let sweep = tokio::spawn(Arc::clone(&thread.wheel).run());
    for Bound { options, socket } in bound {
        match TcpListener::from_std(socket) {
            Ok(listener) => {
                let (thread, stop) = (Arc::clone(&thread), stop.clone());
                let connections = tasks.clone();
                tasks.spawn(accept_all(thread, options, listener, connections, stop));
            }
            Err(error) => tracing::error!(%error, listener = %options.name, "cannot listen"),
        }
    }
    stop.cancelled().await;
    thread.wheel.drain();
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = abort.cancelled() => {}
    }
    sweep.abort();
}

async fn accept_all<H: Handler>(
    thread: Arc<Thread<H>>,
    options: Arc<ListenerOptions>,
    listener: TcpListener,
    tasks: tokio_util::task::TaskTracker,
    stop: CancellationToken,
) {
    let mut reserve = Reserve::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => admit(&thread, &options, tcp, peer, &tasks),
            Err(error) => recover(&thread, &options, &listener, &mut reserve, error).await,
        }
    }
    // What the kernel has queued would be reset by the close.
    while let Some(Ok((tcp, peer))) = ready_now(&listener).await {
        admit(&thread, &options, tcp, peer, &tasks);
    }
}

/// Accepts without waiting.
async fn ready_now(listener: &TcpListener) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    tokio::select! {
        biased;
        accepted = listener.accept() => Some(accepted),
        () = std::future::ready(()) => None,
    }
}

/// After a failed accept: sheds one connection if descriptors ran out, then pauses.
async fn recover<H>(
    thread: &Thread<H>,
    options: &ListenerOptions,
    listener: &TcpListener,
    reserve: &mut Reserve,
    error: io::Error,
) {
    // A connection that ended while it was queued says nothing about the next one.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    count(&thread.gate.stats.files_exhausted);
    tracing::warn!(%error, "cannot accept; pausing");
    if reserve.give_up() {
        if let Some(Ok((tcp, _))) = ready_now(listener).await {
            refuse(&tcp, (!options.tls).then_some(Full::Total));
        }
        reserve.take_back();
    }
    tokio::time::sleep(PAUSE).await;
}

/// A file descriptor held back for the moment when there are none.
struct Reserve(Option<std::fs::File>);

impl Reserve {
    fn new() -> Self {
        Reserve(std::fs::File::open("/dev/null").ok())
    }

    fn give_up(&mut self) -> bool {
        self.0.take().is_some()
    }

    fn take_back(&mut self) {
        *self = Reserve::new();
    }
}

fn admit<H: Handler>(
    thread: &Arc<Thread<H>>,
    options: &Arc<ListenerOptions>,
    tcp: TcpStream,
    peer: SocketAddr,
    tasks: &tokio_util::task::TaskTracker,
) {
    match thread.gate.enter() {
        Ok(lease) => {
            let (thread, options) = (Arc::clone(thread), Arc::clone(options));
            tasks.spawn(connection(thread, options, tcp, peer, lease));
        }
        Err(full) => refuse(&tcp, (!options.tls).then_some(full)),
    }
}

/// Tells a plain client why it cannot come in, as far as that needs no waiting.
fn refuse(tcp: &TcpStream, why: Option<Full>) {
    if why.is_some() {
        let _ = tcp.try_write(OVERLOADED);
    }
    let _ = socket2::SockRef::from(tcp).shutdown(std::net::Shutdown::Write);
    let mut unread = [0u8; 4096];
    let _ = tcp.try_read(&mut unread);
}

/// One connection from its first byte to its last.
async fn connection<H: Handler>(
    thread: Arc<Thread<H>>,
    options: Arc<ListenerOptions>,
    tcp: TcpStream,
    peer: SocketAddr,
    mut lease: Lease,
) {
    let pulse = thread.wheel.register();
    let gone = Gone(Some(Arc::clone(&pulse)));
    let opening = open(&thread, &options, tcp, peer, &mut lease, &pulse);
    let Some(opened) = watched(&pulse, opening).await else {
        if pulse.phase() == Phase::Handshake {
            count(&thread.gate.stats.handshakes_failed);
        }
        return;
    };
    let Some(opened) = opened else { return };
    gone.disarm();
    serve(&thread, opened, pulse, lease).await;
}

/// What follows the handshake: one connection by the protocol that it chose.
pub(super) async fn serve<H: Handler>(
    thread: &Thread<H>,
    (wire, conn, early): (Wire, Connection, Vec<u8>),
    pulse: Arc<Pulse>,
    lease: Lease,
) {
    let http2 = conn.http2;
    let service = Arc::new(Service {
        handler: thread.handler.clone(),
        conn: Arc::new(conn),
        pulse: Arc::clone(&pulse),
        stats: Arc::clone(&thread.gate.stats),
        answered: Mutex::default(),
    });
    let (limits, options) = (&thread.options.limits, &thread.options.http2);
    if http2 {
        let stats = Arc::clone(&thread.gate.stats);
        let head_max = usize::try_from(limits.head_max.bytes()).unwrap_or(usize::MAX);
        let budgets = Budgets::new(options.clone(), head_max);
        let shared = Shared::new(wire, pulse, stats, early, budgets, lease);
        http2::serve(shared, service, limits, options).await;
    } else {
        let guard = Guard::new(limits.into());
        let io = Http1Io::new(wire, service, guard, &early, lease);
        http1::serve(io, limits).await;
    }
}

type Opened = Option<(Wire, Connection, Vec<u8>)>;

/// Handshake, and for plain connections the first bytes: which protocol is it?
async fn open<H>(
    thread: &Thread<H>,
    options: &ListenerOptions,
    tcp: TcpStream,
    peer: SocketAddr,
    lease: &mut Lease,
    pulse: &Arc<Pulse>,
) -> Opened {
    let mut tcp = tcp;
    let (mut peer, mut local) = (peer, tcp.local_addr().unwrap_or(options.address));
    if options.proxy_protocol.iter().any(|network| network.contains(&peer.ip().to_canonical())) {
        match proxy_protocol::read(&mut tcp).await {
            Ok(Some((client, server))) => (peer, local) = (client, server),
            Ok(None) => {}
            Err(error) => {
                count(&thread.gate.stats.handshakes_failed);
                tracing::debug!(%error, %peer, "PROXY header refused");
                return None;
            }
        }
    }
    if let Err(full) = lease.name(peer.ip()) {
        refuse(&tcp, (!options.tls).then_some(full));
        return None;
    }
    let mut conn = Connection {
        id: next_id(),
        peer,
        local,
        listener: Arc::clone(&options.name),
        tls: None,
        http2: false,
        interim: Arc::new(Interim::new(Arc::clone(pulse))),
    };
    let Some((certs, config)) = thread.tls.as_ref().filter(|_| options.tls) else {
        pulse.enter(Phase::Idle);
        let (early, http2) = sniff(&tcp).await.ok()?;
        conn.http2 = http2;
        return Some((Wire::Plain(tcp), conn, early));
    };
    match TlsAcceptor::from(Arc::clone(config)).accept(tcp).await {
        Ok(stream) => {
            let facts = tls::facts(stream.get_ref().1, certs);
            count(&thread.gate.stats.handshakes);
            if facts.resumed {
                count(&thread.gate.stats.handshakes_resumed);
            }
            conn.http2 = tls::chose_http2(stream.get_ref().1);
            conn.tls = Some(facts);
            Some((Wire::Tls(Box::new(stream)), conn, Vec::new()))
        }
        Err(error) => {
            count(&thread.gate.stats.handshakes_failed);
            tracing::debug!(%error, %peer, "TLS handshake failed");
            None
        }
    }
}

/// Which protocol a plain connection speaks: HTTP/2 with prior knowledge begins with
/// a preface (RFC 9113 3.4) whose method the guard refuses. Nothing is taken from the socket
/// unless only a beginning of the preface has come.
async fn sniff(tcp: &TcpStream) -> io::Result<(Vec<u8>, bool)> {
    let mut first = [0u8; PREFACE.len()];
    let n = tcp.peek(&mut first).await?;
    let mut early = Vec::new();
    if n >= first.len() || first.get(..n) != PREFACE.get(..n) || n == 0 {
        return Ok((early, first == PREFACE));
    }
    while early.len() < PREFACE.len() && PREFACE.starts_with(&early) {
        tcp.readable().await?;
        let mut next = [0u8; 1];
        match tcp.try_read(&mut next) {
            Ok(0) => break,
            Ok(_) => early.extend(next),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let http2 = early == PREFACE;
    Ok((early, http2))
}

/// Runs `work` until it is done or the sweep gives the connection up.
async fn watched<T>(pulse: &Pulse, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut woken = None;
    std::future::poll_fn(|cx| {
        http1::watch(pulse, &mut woken, cx);
        if pulse.verdict() != super::pulse::Verdict::Fine {
            return std::task::Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Forgets the pulse of a connection that never came to be served.
struct Gone(Option<Arc<Pulse>>);

impl Gone {
    fn disarm(mut self) {
        if let Some(pulse) = self.0.take() {
            pulse.enter(Phase::Idle);
        }
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        if let Some(pulse) = &self.0 {
            pulse.enter(Phase::Gone);
        }
    }
}

const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The number of the next connection.
pub(super) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Pause after accept ran out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

const OVERLOADED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Retry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
