//! Addresses of servers as people write them: `https://10.0.0.5:8443`, `unix:/run/app.sock`.
//!
//! Parsed here and not by `http::Uri`, because user names, paths and queries must be
//! refused with a message that says what was expected.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A name or address literal (without brackets) and a port.
    Tcp {
        /// Host name, IPv4 or IPv6 literal.
        host: String,
        /// Port.
        port: u16,
        /// Spoken over TLS.
        tls: bool,
    },
    /// A Unix socket; always without TLS.
    Unix(PathBuf),
    /// All targets of an SRV name (RFC 2782).
    Srv {
        /// Such as `_http._tcp.app.internal`.
        name: String,
        /// Spoken over TLS.
        tls: bool,
    },
}

impl FromStr for Address {
    type Err = String;

    /// Reads `http://host[:port]`, `https://host[:port]`, `unix:/path`,
    /// `srv+http://name`, `srv+https://name`. A path other than `/` is refused.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "expected an origin such as \"https://10.0.0.5:8443\" or \"unix:/run/app.sock\", \
                 got {text:?}"
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') {
                Ok(Address::Unix(PathBuf::from(path)))
            } else {
                Err(expected())
            };
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(expected)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() || rest.contains(['/', '?', '#', '@', ' ']) {
            return Err(expected());
        }
        let (srv, scheme) = match scheme.strip_prefix("srv+") {
            Some(scheme) => (true, scheme),
            None => (false, scheme),
        };
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(expected()),
        };
        if srv {
            return Ok(Address::Srv { name: rest.to_owned(), tls });
        }
        let (host, port) = split_port(rest).ok_or_else(expected)?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(Address::Tcp { host: host.to_owned(), port, tls })
    }
}

/// Splits `host[:port]` and `[v6][:port]`.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None if after.is_empty() => Some((host, None)),
            None => None,
        };
    }
    match authority.split_once(':') {
        Some((host, port)) if !host.is_empty() => Some((host, Some(port.parse().ok()?))),
        Some(_) => None,
        None => Some((authority, None)),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = |tls: bool| if tls { "https" } else { "http" };
        match self {
            Address::Tcp { host, port, tls } if host.contains(':') => {
                write!(f, "{}://[{host}]:{port}", scheme(*tls))
            }
            Address::Tcp { host, port, tls } => write!(f, "{}://{host}:{port}", scheme(*tls)),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Srv { name, tls } => write!(f, "srv+{}://{name}", scheme(*tls)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_strictly_and_written_back() {
        for (text, shown) in [
            ("http://app", "http://app:80"),
            ("https://app/", "https://app:443"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("https://10.0.0.5:8443", "https://10.0.0.5:8443"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("srv+http://_http._tcp.app", "srv+http://_http._tcp.app"),
        ] {
            assert_eq!(text.parse::<Address>().map(|a| a.to_string()), Ok(shown.to_owned()));
        }
        for bad in [
            "",
            "app",
            "app:80",
            "ftp://app",
            "http://",
            "http://app/path",
            "http://u@app",
            "http://app:99999",
            "http://[zz]:1",
            "http://::1",
            "unix:relative",
            "http://:80",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
