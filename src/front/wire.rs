//! The byte stream of a client's connection.

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::base::Stream;

/// Plain or TLS.
pub(crate) type Wire = Stream<TlsStream<TcpStream>>;

/// Makes the coming close a reset, so that the kernel frees at once what the client did
/// not take.
pub(crate) fn reset(wire: &Wire) {
    let _ = match wire {
        Stream::Plain(tcp) => socket2::SockRef::from(tcp).set_linger(NONE),
        Stream::Unix(unix) => socket2::SockRef::from(unix).set_linger(NONE),
        Stream::Tls(tls) => socket2::SockRef::from(tls.get_ref().0).set_linger(NONE),
        // Nothing is held back by a kernel.
        Stream::Pipe(_) => Ok(()),
    };
}

const NONE: Option<std::time::Duration> = Some(std::time::Duration::ZERO);
