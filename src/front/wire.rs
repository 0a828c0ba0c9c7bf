//! The byte stream of a client's connection.

use std::io::{self, IoSlice, Write as _};

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

/// Lets a TLS session hold this many bytes that are encrypted but not sent, for [`seal`].
pub(crate) fn hold(wire: &mut Wire, bytes: usize) {
    if let Stream::Tls(tls) = wire {
        tls.get_mut().1.set_buffer_limit(Some(bytes));
    }
}

/// Encrypts without sending and returns how many bytes were taken; the next flush sends
/// them. `None` without TLS.
pub(crate) fn seal(wire: &mut Wire, data: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
    match wire {
        Stream::Tls(tls) => Some(tls.get_mut().1.writer().write_vectored(data)),
        Stream::Plain(_) | Stream::Unix(_) | Stream::Pipe(_) => None,
    }
}
