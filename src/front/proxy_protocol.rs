//! The PROXY protocol, versions 1 and 2: a balancer in front tells who the client is.
//!
//! Read byte-exact from the socket before TLS, because what follows belongs to the next
//! layer. Only listed networks may send it; from them it is required, because a balancer
//! that forgets it would put its own address in every log and limit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a header says: the client and where it connected, or nothing (a health check).
pub type Said = Option<(SocketAddr, SocketAddr)>;

/// Reads one header; not a byte more.
///
/// # Errors
/// `InvalidData` if it is not one, else what `stream` fails with, its early end included.
pub async fn read<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<Said> {
    let mut start = [0u8; 12];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        let mut fixed = [0u8; 4];
        stream.read_exact(&mut fixed).await?;
        let [version, family, high, low] = fixed;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > V2_MAX {
            return Err(bad("a version 2 header that is too long"));
        }
        let mut rest = vec![0u8; length];
        stream.read_exact(&mut rest).await?;
        return version2(version, family, &rest).ok_or_else(|| bad("a bad version 2 header"));
    }
    if !start.starts_with(b"PROXY ") {
        return Err(bad("no PROXY header"));
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\n") {
        if line.len() >= V1_MAX {
            return Err(bad("a version 1 header that is too long"));
        }
        line.push(stream.read_u8().await?);
    }
    version1(&line).ok_or_else(|| bad("a bad version 1 header"))
}

/// `PROXY TCP4 client server port port CRLF`.
fn version1(line: &[u8]) -> Option<Said> {
    let line = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let mut words = line.split(' ');
    if words.next()? != "PROXY" {
        return None;
    }
    let v4 = match words.next()? {
        "UNKNOWN" => return Some(None),
        "TCP4" => true,
        "TCP6" => false,
        _ => return None,
    };
    let address = |text: &str| -> Option<IpAddr> {
        if v4 {
            text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        } else {
            text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
    };
    let port = |text: &str| {
        let plain = text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| plain)
    };
    let (client, server) = (address(words.next()?)?, address(words.next()?)?);
    let (from, to) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    Some(Some((SocketAddr::new(client, from), SocketAddr::new(server, to))))
}

/// The binary form, after its signature: version and command, family, addresses.
fn version2(version: u8, family: u8, rest: &[u8]) -> Option<Said> {
    match version {
        // LOCAL: the balancer itself speaks.
        0x20 => return Some(None),
        0x21 => {}
        _ => return None,
    }
    let port = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    match family {
        0x11 => {
            let [a, b, c, d, e, f, g, h, p, q, r, s] = *rest.first_chunk::<12>()?;
            let client = SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port(p, q));
            Some(Some((client, SocketAddr::new(Ipv4Addr::new(e, f, g, h).into(), port(r, s)))))
        }
        0x21 => {
            let (client, rest) = rest.split_first_chunk::<16>()?;
            let (server, rest) = rest.split_first_chunk::<16>()?;
            let [p, q, r, s] = *rest.first_chunk::<4>()?;
            let client = SocketAddr::new(Ipv6Addr::from(*client).into(), port(p, q));
            Some(Some((client, SocketAddr::new(Ipv6Addr::from(*server).into(), port(r, s)))))
        }
        // UNSPEC, datagrams and Unix sockets name no client we could use.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Some(None),
        _ => None,
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("expected a PROXY protocol header, got {what}"),
    )
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1 with its CRLF.
const V1_MAX: usize = 107;

/// Addresses and a reasonable number of extensions.
const V2_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(bytes: &[u8]) -> (io::Result<Said>, Vec<u8>) {
        let mut rest = bytes;
        let said = read(&mut rest).await;
        (said, rest.to_vec())
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_the_rest() {
        let (said1, rest) = said(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\nGET").await;
        assert_eq!(said1.unwrap().unwrap().0, "192.0.2.1:1000".parse().unwrap());
        assert_eq!(rest, b"GET");
        let mut v2 = SIGNATURE.to_vec();
        v2.extend([0x21, 0x21, 0, 39]);
        v2.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        v2.extend([0u8; 16]);
        v2.extend([4, 0, 1, 0xbb]);
        v2.extend([4, 0, 0]);
        v2.extend(b"hello");
        let (said2, rest) = said(&v2).await;
        assert_eq!(said2.unwrap().unwrap().0, "[2001:db8::1]:1024".parse().unwrap());
        assert_eq!(rest, b"hello");
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        for bad in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\nxxxxxxxxxxxx",
            b"PROXY TCP4 ::1 ::1 1000 443\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 +1000 443\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 70000 443\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x04abcd",
        ] {
            assert!(said(bad).await.0.is_err(), "{bad:?}");
        }
        let endless = [b"PROXY ".as_slice(), &[b'a'; 200]].concat();
        assert!(said(&endless).await.0.is_err());
    }
}
