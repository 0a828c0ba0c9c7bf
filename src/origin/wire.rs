//! How a byte stream to an origin is opened.
//!
//! Addresses are raced as in RFC 8305: the families alternate and
//! the next one starts when the one before failed or 250 ms went by.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::fault::OriginFault;
use crate::base::Stream;

/// An open connection.
pub type Wire = Stream<TlsStream<TcpStream>>;

/// Whether ALPN agreed on HTTP/2.
pub fn is_h2(wire: &Wire) -> bool {
    match wire {
        Stream::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        Stream::Plain(_) | Stream::Unix(_) | Stream::Pipe(_) => false,
    }
}

/// Opens TCP to the first address that answers.
pub async fn open_tcp(addresses: &[SocketAddr]) -> Result<TcpStream, OriginFault> {
    if let [only] = addresses {
        return connect(*only).await.map_err(refused);
    }
    let mut waiting = interleave(addresses).into_iter();
    let mut racing: JoinSet<io::Result<TcpStream>> = JoinSet::new();
    let mut last = OriginFault::Connect("the origin's name has no address");
    loop {
        let more = match waiting.next() {
            Some(address) => {
                racing.spawn(connect(address));
                true
            }
            None => false,
        };
        let answer = if more && waiting.len() > 0 {
            match tokio::time::timeout(NEXT_ADDRESS, racing.join_next()).await {
                Ok(answer) => answer,
                Err(_) => continue,
            }
        } else {
            racing.join_next().await
        };
        match answer {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => last = refused(error),
            Some(Err(_)) => {}
            None if waiting.len() == 0 => return Err(last),
            None => {}
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connect that failed, as a fault.
pub fn refused(error: io::Error) -> OriginFault {
    tracing::debug!(%error, "origin connect");
    OriginFault::Connect(match error.kind() {
        io::ErrorKind::ConnectionRefused => "the origin refused the connection",
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::QuotaExceeded => {
            "no local port or descriptor left for the origin"
        }
        _ => "the origin cannot be reached",
    })
}

/// IPv6 and IPv4 in turn, in the order given within each family.
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(|a| a.is_ipv6());
    let mut out = Vec::with_capacity(addresses.len());
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    loop {
        let (a, b) = (six.next(), four.next());
        if a.is_none() && b.is_none() {
            return out;
        }
        out.extend(a);
        out.extend(b);
    }
}

/// Opens a Unix socket.
pub async fn open_unix(path: &Path) -> Result<UnixStream, OriginFault> {
    UnixStream::connect(path).await.map_err(refused)
}

/// Runs the TLS handshake.
pub async fn handshake(
    stream: TcpStream,
    config: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
) -> Result<Wire, OriginFault> {
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => Ok(Wire::Tls(Box::new(stream))),
        Err(error) => {
            tracing::debug!(%error, "origin TLS");
            let bad_certificate = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
            Err(OriginFault::Connect(if bad_certificate {
                "the origin's certificate is not valid"
            } else {
                "TLS with the origin failed"
            }))
        }
    }
}

/// The PROXY protocol version 2 header for a connection on behalf of `client`; the LOCAL
/// form when there is none.
pub fn proxy_header(client: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut out = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    match client {
        Some((SocketAddr::V4(from), SocketAddr::V4(to))) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&from.ip().octets());
            out.extend_from_slice(&to.ip().octets());
            out.extend_from_slice(&from.port().to_be_bytes());
            out.extend_from_slice(&to.port().to_be_bytes());
        }
        Some((from, to)) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            for address in [from, to] {
                let ip = match address {
                    SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
                    SocketAddr::V6(v6) => *v6.ip(),
                };
                out.extend_from_slice(&ip.octets());
            }
            out.extend_from_slice(&from.port().to_be_bytes());
            out.extend_from_slice(&to.port().to_be_bytes());
        }
        None => out.extend_from_slice(&[0x20, 0x00, 0, 0]),
    }
    out
}

/// Head start of an address before the next one is tried beside it (RFC 8305 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
