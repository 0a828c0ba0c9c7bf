//! Sockets of one address, one for each thread.
//!
//! Each thread gets its own socket of each address (SO_REUSEPORT), so the kernel spreads
//! connections and no accept lock is shared. Because SO_REUSEPORT would let a second node
//! silently share the port, an ordinary socket is bound first as a probe.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::options::ListenerOptions;

/// Why listening failed.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {why}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        why: std::io::Error,
    },
    /// The TLS library refused the policy.
    #[error("TLS set-up failed: {0}")]
    Tls(rustls::Error),
    /// A thread or its runtime could not be started.
    #[error("cannot start a serving thread: {0}")]
    Thread(std::io::Error),
    /// A TLS listener without certificates.
    #[error("listener {0:?} speaks TLS but there is no certificate")]
    NoCertificate(Arc<str>),
}

/// One socket of one thread.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) options: Arc<ListenerOptions>,
    pub(crate) socket: TcpListener,
}

/// Binds `address` once for each of `count` threads.
pub(crate) fn bind_all(
    address: SocketAddr,
    count: usize,
    backlog: u32,
) -> std::io::Result<Vec<TcpListener>> {
    let open = |address: SocketAddr, shared: bool| -> std::io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_port(shared)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    // The probe must listen to collide with other listeners; it accepts nothing.
    let probe = open(address, false)?;
    probe.listen(1)?;
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = open(address, true)?;
        socket.listen(backlog)?;
        // Inherited by accepted sockets: answers are whole when written, so no delay.
        socket.set_tcp_nodelay(true)?;
        // Else the kernel copies up to 4 MiB for each client that reads nothing, and a few
        // hundred of them cost it gigabytes and everybody seconds.
        socket.set_tcp_notsent_lowat(UNSENT_MAX)?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

/// Bytes of an answer that may wait unsent in the kernel, a connection. The process is woken
/// when half of them have left, so this is also how much it writes at a time: with half as
/// much, long answers on loopback cost a third more (benches/README.md).
const UNSENT_MAX: u32 = 512 << 10;
