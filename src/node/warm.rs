//! Warming: the node asks itself, over loopback, as a client would.
//!
//! It goes through a listener, so whatever applies to a client applies here. The client
//! is an origin group whose only server is this node; its certificate is not verified,
//! because the address is our own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use http::header::{HOST, HeaderValue};
use http::{Request, Uri};
use http_body_util::BodyExt;
use parking_lot::Mutex;

use crate::admin::{WarmFetch, Warmed};
use crate::origin::{
    Address, EjectOptions, Group, GroupOptions, Http2, Outgoing, SendContext, ServerOptions,
    TlsOptions,
};

/// TLS names for which a client is kept.
const NAMES_MAX: usize = 64;

/// Where this node listens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Doors {
    /// A plain listener.
    pub(super) plain: Option<SocketAddr>,
    /// A TLS listener.
    pub(super) tls: Option<SocketAddr>,
}

struct Clients {
    doors: Doors,
    groups: Mutex<HashMap<String, Arc<Group>>>,
}

/// The function that the admin API warms with.
pub(super) fn fetcher(doors: Doors) -> Arc<WarmFetch> {
    let clients = Arc::new(Clients { doors, groups: Mutex::default() });
    Arc::new(move |url, keep| {
        let clients = clients.clone();
        Box::pin(async move { clients.fetch(&url, keep).await })
    })
}

impl Clients {
    async fn fetch(&self, url: &Uri, keep: usize) -> Result<Warmed, String> {
        let authority = url.authority().ok_or("no host")?;
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| "not a host")?;
        let request = Request::get(target).header(HOST, host).body(Outgoing::empty());
        let request = request.map_err(|error| error.to_string())?;
        let group = self.group(url.scheme_str() == Some("https"), authority.host())?;
        let answer = group.send(request, &SendContext::default()).await;
        let response = answer.map_err(|fault| format!("{fault:?}"))?.response;
        let status = response.status().as_u16();
        let cache = response.headers().get("cache-status").map_or(&b""[..], |v| v.as_bytes());
        let hit = String::from_utf8_lossy(cache).contains("; hit");
        let mut body = response.into_body();
        let (mut bytes, mut kept) = (0, Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|fault| format!("{fault:?}"))?;
            let data = frame.data_ref().map_or(&[][..], |data| data);
            bytes += data.len() as u64;
            if keep > 0 {
                kept.extend_from_slice(data);
                if kept.len() > keep {
                    return Err(format!("longer than {keep} bytes"));
                }
            }
        }
        Ok(Warmed { status, bytes, hit, body: kept })
    }

    fn group(&self, tls: bool, host: &str) -> Result<Arc<Group>, String> {
        let door = if tls { self.doors.tls } else { self.doors.plain };
        let door = door.ok_or("this node has no listener for that scheme")?;
        let name = if tls { host.to_ascii_lowercase() } else { String::new() };
        let mut groups = self.groups.lock();
        if let Some(group) = groups.get(&name) {
            return Ok(group.clone());
        }
        if groups.len() >= NAMES_MAX {
            groups.clear();
        }
        let address = Address::Tcp { host: reachable(door).to_string(), port: door.port(), tls };
        let is_name = !name.is_empty() && name.parse::<IpAddr>().is_err() && !name.contains(':');
        let options = GroupOptions {
            name: format!("warm {name}"),
            servers: vec![ServerOptions::new(address)],
            // What fails is the URL's own trouble, not a reason to stop asking ourselves.
            eject: EjectOptions { failures: 0, ..EjectOptions::default() },
            http2: Http2::Never,
            tls: TlsOptions {
                sni: is_name.then(|| name.clone()),
                verify: false,
                ..TlsOptions::default()
            },
            ..GroupOptions::default()
        };
        let group = Group::new(options)?;
        groups.insert(name, group.clone());
        Ok(group)
    }
}

/// A listener on all addresses is reached over loopback.
fn reachable(door: SocketAddr) -> IpAddr {
    match door.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}
