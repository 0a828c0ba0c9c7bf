//! Servers behind an SRV name: asked again on its TTL, changes applied while running.
//!
//! A server that stays keeps its state and connections; one that goes finishes what it
//! has in flight. When DNS fails the last good list stays.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::address::Address;
use super::check;
use super::fleet::Fleet;
use super::group::Group;
use super::options::ServerOptions;
use super::server::Server;

/// Starts following the SRV names of `group` on this runtime.
pub fn watch(group: &Arc<Group>) {
    if group.has_services() {
        tokio::spawn(run(Arc::downgrade(group)));
    }
}

async fn run(group: Weak<Group>) {
    loop {
        let Some(strong) = group.upgrade() else { return };
        let wait = refresh(&strong).await;
        drop(strong);
        tokio::time::sleep(wait).await;
    }
}

/// Asks once and applies the answer; returns how long it holds.
pub async fn refresh(group: &Group) -> Duration {
    let common = &group.common;
    let mut wanted: Vec<ServerOptions> = Vec::new();
    let mut lifetime = common.options.discovery.ttl_max;
    for spec in &common.options.servers {
        let Address::Srv { name, tls } = &spec.address else {
            wanted.push(spec.clone());
            continue;
        };
        match common.names.services(name).await {
            Ok((services, holds)) => {
                lifetime = lifetime.min(holds);
                wanted.extend(services.into_iter().map(|service| ServerOptions {
                    name: None,
                    address: Address::Tcp { host: service.host, port: service.port, tls: *tls },
                    weight: service.weight.min(1000),
                    priority: spec.priority.saturating_add(service.priority),
                    host: spec.host.clone(),
                }));
            }
            Err(error) => {
                tracing::warn!(name, error, "SRV look-up failed: keeping the last servers");
                return AGAIN;
            }
        }
    }
    apply(group, wanted);
    lifetime
}

fn apply(group: &Group, wanted: Vec<ServerOptions>) {
    let old = group.fleet.load_full();
    let mut servers: Vec<Arc<Server>> = Vec::new();
    for spec in wanted {
        let same = |server: &&Arc<Server>| {
            server.spec.address == spec.address
                && server.spec.priority == spec.priority
                && server.spec.weight == spec.weight
        };
        if let Some(kept) = old.servers.iter().find(same) {
            servers.push(kept.clone());
            continue;
        }
        match Server::new(spec, group.common.clone()) {
            Ok(server) => {
                tracing::info!(server = %server.name, "origin server discovered");
                check::watch(&server);
                servers.push(server);
            }
            Err(error) => tracing::warn!(error, "a discovered server cannot be used"),
        }
    }
    servers.sort_by_key(|server| server.spec.priority);
    group.fleet.store(Arc::new(Fleet { servers }));
}

/// Whether any address speaks TLS.
pub(super) fn uses_tls(servers: &[ServerOptions]) -> bool {
    servers.iter().any(|server| match &server.address {
        Address::Tcp { tls, .. } | Address::Srv { tls, .. } => *tls,
        Address::Unix(_) => false,
    })
}

/// When DNS is asked again after a failure.
const AGAIN: Duration = Duration::from_secs(5);
