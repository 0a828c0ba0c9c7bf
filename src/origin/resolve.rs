//! Where a server's name leads: literals at once, names by hickory on their TTL.
//!
//! An answer is used for its TTL within bounds; when it has run out, one request asks
//! again while the others go on with the old one, and when DNS fails the last good answer
//! stays (an origin must not vanish because a resolver hiccups). `/etc/hosts` and
//! `localhost` are hickory's, read with the system's configuration. Concurrent first
//! look-ups are folded by hickory's own cache.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use super::fault::OriginFault;
use super::options::DiscoveryOptions;
use crate::base::clock;

/// Asks DNS for a group.
#[derive(Clone, Debug)]
pub struct Names {
    resolver: TokioResolver,
    ttl_min: Duration,
    ttl_max: Duration,
}

impl Names {
    /// With the system's name servers unless the options name others.
    pub fn new(options: &DiscoveryOptions) -> Result<Self, String> {
        let provider = TokioRuntimeProvider::default();
        let mut builder = if options.name_servers.is_empty() {
            TokioResolver::builder(provider.clone()).unwrap_or_else(|error| {
                tracing::warn!(%error, "no usable system resolver; only literals and hosts file");
                TokioResolver::builder_with_config(ResolverConfig::default(), provider)
            })
        } else {
            let servers = options.name_servers.iter().map(|address| {
                let mut server = NameServerConfig::udp_and_tcp(address.ip());
                for connection in &mut server.connections {
                    connection.port = address.port();
                }
                server
            });
            let config = ResolverConfig::from_parts(None, vec![], servers.collect());
            TokioResolver::builder_with_config(config, provider)
        };
        let settings = builder.options_mut();
        settings.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        settings.timeout = Duration::from_secs(1);
        settings.attempts = 2;
        settings.positive_max_ttl = Some(options.ttl_max);
        settings.negative_max_ttl = Some(Duration::from_secs(5));
        let resolver = builder.build().map_err(|error| format!("resolver: {error}"))?;
        Ok(Names { resolver, ttl_min: options.ttl_min, ttl_max: options.ttl_max })
    }

    /// Addresses of `host` and how long they hold.
    async fn addresses(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), String> {
        let found = self.resolver.lookup_ip(host).await.map_err(|error| error.to_string())?;
        let list: Vec<IpAddr> = found.iter().collect();
        if list.is_empty() {
            return Err("no address".to_owned());
        }
        Ok((list, self.lifetime(found.valid_until())))
    }

    /// Targets of an SRV name, with priority and weight, and how long they hold.
    pub async fn services(&self, name: &str) -> Result<(Vec<Service>, Duration), String> {
        let found = self.resolver.srv_lookup(name).await.map_err(|error| error.to_string())?;
        let list: Vec<Service> = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(Service {
                    host: srv.target.to_utf8().trim_end_matches('.').to_owned(),
                    port: srv.port,
                    priority: u32::from(srv.priority),
                    weight: u32::from(srv.weight).max(1),
                }),
                _ => None,
            })
            .filter(|service| !service.host.is_empty())
            .collect();
        if list.is_empty() {
            return Err("no SRV target".to_owned());
        }
        Ok((list, self.lifetime(found.valid_until())))
    }

    fn lifetime(&self, until: Instant) -> Duration {
        let left = until.saturating_duration_since(clock::instant());
        left.clamp(self.ttl_min, self.ttl_max.max(self.ttl_min))
    }
}

/// One SRV target (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Lower is asked first.
    pub priority: u32,
    /// Share within a priority, at least 1.
    pub weight: u32,
}

/// The addresses of one server.
#[derive(Debug)]
pub struct Target {
    host: String,
    port: u16,
    names: Names,
    found: ArcSwapOption<Found>,
    asking: AtomicBool,
}

#[derive(Debug)]
struct Found {
    addresses: Vec<SocketAddr>,
    /// `None`: for ever.
    until: Option<Instant>,
}

impl Target {
    /// For a name or an address literal.
    pub fn new(host: &str, port: u16, names: Names) -> Self {
        let literal = host
            .parse::<IpAddr>()
            .ok()
            .map(|ip| Arc::new(Found { addresses: vec![SocketAddr::new(ip, port)], until: None }));
        Target {
            host: host.to_owned(),
            port,
            names,
            found: ArcSwapOption::new(literal),
            asking: AtomicBool::new(false),
        }
    }

    /// Addresses to connect to; the last good ones when DNS fails.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, OriginFault> {
        let found = self.found.load_full();
        if let Some(found) = &found {
            let fresh = found.until.is_none_or(|until| clock::instant() < until);
            // Somebody else is asking already: go on with what there is.
            if fresh || self.asking.swap(true, Ordering::AcqRel) {
                return Ok(found.addresses.clone());
            }
        }
        let asked = Asking(&self.asking);
        let answer = self.names.addresses(&self.host).await;
        drop(asked);
        match (answer, found) {
            (Ok((ips, lifetime)), _) => {
                let addresses: Vec<_> =
                    ips.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect();
                let until = Some(clock::instant() + lifetime);
                self.found.store(Some(Arc::new(Found { addresses: addresses.clone(), until })));
                Ok(addresses)
            }
            (Err(error), Some(old)) => {
                tracing::warn!(host = self.host, error, "DNS failed: keeping the last addresses");
                let until = Some(clock::instant() + AGAIN);
                let addresses = old.addresses.clone();
                self.found.store(Some(Arc::new(Found { addresses: addresses.clone(), until })));
                Ok(addresses)
            }
            (Err(error), None) => {
                tracing::debug!(host = self.host, error, "DNS failed");
                Err(OriginFault::Connect("the origin's name cannot be resolved"))
            }
        }
    }

    /// The addresses known now, for snapshots.
    pub fn known(&self) -> Vec<SocketAddr> {
        self.found.load().as_ref().map(|found| found.addresses.clone()).unwrap_or_default()
    }
}

/// Clears the flag even if the request that asks is dropped.
struct Asking<'a>(&'a AtomicBool);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// How long the last good answer is kept before DNS is asked again after a failure.
const AGAIN: Duration = Duration::from_secs(5);
