//! The binary form of a purge: what the ledger file frames and checks.
//!
//! ```text
//! seq u64 | wall_ms u64 | flags u8 (1 soft) | kind u8 | payload
//! prefix payload: scheme u8 (0 any, 1 http, 2 https) | by_segment u8 | port u16 (0 any)
//!                 | host length u16 | host | path
//! host payload:   port u16 (0 any) | host      pattern payload: glob u8 | source
//! url, tag: the text itself                    everything: nothing
//! ```
//! All integers are little-endian. Reading checks everything that making one checks, so
//! a damaged file cannot bring in a purge that could not have been asked for.

use super::asked::Scheme;
use super::purge::{HostPort, Prefix, Purge, PurgeError, URL_MAX, What};

impl Purge {
    /// Appends the record to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.wall_ms.to_le_bytes());
        out.push(u8::from(self.soft));
        match &self.what {
            What::Url(key) => {
                out.push(1);
                out.extend_from_slice(key);
            }
            What::Prefix(prefix) => {
                out.push(2);
                out.push(match prefix.scheme {
                    None => 0,
                    Some(Scheme::Http) => 1,
                    Some(Scheme::Https) => 2,
                });
                out.push(u8::from(prefix.by_segment));
                out.extend_from_slice(&prefix.at.port.unwrap_or(0).to_le_bytes());
                out.extend_from_slice(&(prefix.at.host.len() as u16).to_le_bytes());
                out.extend_from_slice(prefix.at.host.as_bytes());
                out.extend_from_slice(prefix.path.as_bytes());
            }
            What::Tag(tag) => {
                out.push(3);
                out.extend_from_slice(tag.as_bytes());
            }
            What::Host(at) => {
                out.push(4);
                out.extend_from_slice(&at.port.unwrap_or(0).to_le_bytes());
                out.extend_from_slice(at.host.as_bytes());
            }
            What::Everything => out.push(5),
            What::Pattern(pattern) => {
                out.push(6);
                out.push(u8::from(pattern.glob));
                out.extend_from_slice(pattern.source.as_bytes());
            }
        }
    }

    /// Reads exactly one record.
    pub fn decode(bytes: &[u8]) -> Result<Purge, PurgeError> {
        let mut rest = bytes;
        let seq = u64::from_le_bytes(take(&mut rest)?);
        let wall_ms = u64::from_le_bytes(take(&mut rest)?);
        let [flags, kind] = take(&mut rest)?;
        if flags > 1 {
            return Err(PurgeError::BadRecord("unknown flags"));
        }
        let what = match kind {
            1 if rest.len() > URL_MAX + 512 => return Err(PurgeError::BadRecord("key too long")),
            1 => What::Url(rest.into()),
            2 => prefix(rest)?,
            3 => What::tag(text(rest)?)?,
            4 => {
                let port = u16::from_le_bytes(take(&mut rest)?);
                with_port(What::host(text(rest)?)?, port)?
            }
            5 if rest.is_empty() => What::Everything,
            6 => {
                let [glob] = take(&mut rest)?;
                What::pattern(text(rest)?, glob != 0)?
            }
            _ => return Err(PurgeError::BadRecord("unknown kind")),
        };
        Ok(Purge { seq, wall_ms, soft: flags == 1, what })
    }
}

fn prefix(mut rest: &[u8]) -> Result<What, PurgeError> {
    let [scheme, by_segment] = take(&mut rest)?;
    let port = u16::from_le_bytes(take(&mut rest)?);
    let host_len = usize::from(u16::from_le_bytes(take(&mut rest)?));
    let (host, path) =
        rest.split_at_checked(host_len).ok_or(PurgeError::BadRecord("host cut short"))?;
    let (host, path) = (text(host)?, text(path)?);
    if !path.starts_with('/') || path.len() > URL_MAX {
        return Err(PurgeError::BadRecord("bad prefix path"));
    }
    let What::Host(at) = with_port(What::host(host)?, port)? else {
        return Err(PurgeError::BadRecord("bad prefix host"));
    };
    let scheme = match scheme {
        0 => None,
        1 => Some(Scheme::Http),
        2 => Some(Scheme::Https),
        _ => return Err(PurgeError::BadRecord("unknown scheme")),
    };
    Ok(What::Prefix(Prefix { scheme, at, path: path.into(), by_segment: by_segment != 0 }))
}

fn with_port(what: What, port: u16) -> Result<What, PurgeError> {
    match what {
        What::Host(HostPort { host, port: None }) => {
            Ok(What::Host(HostPort { host, port: (port != 0).then_some(port) }))
        }
        _ => Err(PurgeError::BadRecord("two ports")),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], PurgeError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(PurgeError::BadRecord("cut short"))?;
    *rest = tail;
    Ok(*head)
}

fn text(bytes: &[u8]) -> Result<&str, PurgeError> {
    std::str::from_utf8(bytes).map_err(|_| PurgeError::BadRecord("not UTF-8"))
}
