//! The admin API of a node: its options, and what it is lent.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::runtime::Runtime;

use super::error::NodeError;
use super::purges::PurgeFile;
use super::warm::{Doors, fetcher};
use crate::admin::{Admin, Durable, Handles, Located, RemoteAnswer, RemotePurge, Remotes};
use crate::config::Config;
use crate::lab::live;
use crate::rules::key::key_of;
use crate::serve::{Purger, Purging, Shared};

/// What the admin API gets beside the shared state.
pub(super) struct Lending {
    /// Where purges are kept.
    pub(super) purges: Option<Arc<PurgeFile>>,
    /// Where the node listens.
    pub(super) doors: Doors,
    /// The listening socket of an older process.
    pub(super) socket: Option<OwnedFd>,
}

pub(super) fn admin(
    config: &Config,
    background: &Runtime,
    shared: &Arc<Shared>,
    lending: Lending,
) -> Result<Option<Admin>, NodeError> {
    let Some(options) = config.admin.clone() else { return Ok(None) };
    let Lending { purges, doors, socket } = lending;
    let handles = handles(config, doors, shared, purges);
    let admin = background.block_on(Admin::start_on(options, handles, socket))?;
    let _ = shared.purger.set(purger(background, admin.remotes().clone()));
    Ok(Some(admin))
}

/// Leads `PURGE` of listed clients to the admin API, on its own threads.
fn purger(background: &Runtime, remotes: Remotes) -> Purger {
    let background = background.handle().clone();
    Arc::new(move |purging: Purging| {
        if !remotes.knows(purging.peer) {
            return None;
        }
        let remotes = remotes.clone();
        let Purging { peer, url, fields } = purging;
        let purge = RemotePurge { peer, url, fields };
        let task = background.spawn(async move { remotes.purge(purge).await });
        Some(Box::pin(async move {
            match task.await {
                Ok(RemoteAnswer { status, fields, body }) => (status, fields, body),
                // The node is stopping.
                Err(_) => (StatusCode::SERVICE_UNAVAILABLE, HeaderMap::new(), Bytes::new()),
            }
        }))
    })
}

/// What the lab says of the node's own sample.
fn advise(
    config: &Config,
    shared: &Arc<Shared>,
) -> Arc<dyn Fn() -> Option<serde_json::Value> + Send + Sync> {
    let capacity = config.disk.directories.iter().map(|one| one.capacity.bytes()).sum();
    let room = live::Room {
        memory: config.memory.capacity.bytes(),
        disk: shared.disk.as_ref().map(|_| capacity),
        admit: config.disk.admit,
    };
    let sample = shared.telemetry.sample.clone();
    Arc::new(move || {
        let report = live::report(&sample.snapshot()?, room);
        serde_json::to_value(report).ok()
    })
}

pub(super) fn handles(
    config: &Config,
    doors: Doors,
    shared: &Arc<Shared>,
    purges: Option<Arc<PurgeFile>>,
) -> Handles {
    // Weak, because the counters keep it and are part of `shared`: a node that ends must
    // let go of its disk and its ledger.
    let (locating, asking, grouping) = (shared.clone(), shared.clone(), Arc::downgrade(shared));
    Handles {
        clock: shared.clock.clone(),
        telemetry: shared.telemetry.clone(),
        memory: shared.memory.clone(),
        ledger: shared.ledger.clone(),
        disk: shared.disk.clone(),
        durable: purges.map(|file| file as Arc<dyn Durable>),
        locate: Arc::new(move |asked| {
            let place = locating.routing.load().place(asked)?;
            let key = key_of(locating.seed, asked, &place.policy().query);
            Some(Located { site: place.site, rule: place.rule, key, seed: locating.seed })
        }),
        groups: Arc::new(move || {
            let Some(shared) = grouping.upgrade() else { return Vec::new() };
            shared.routing.load().origins().map(|(_, group)| group.clone()).collect()
        }),
        ready: Arc::new(move || match &asking.disk {
            Some(disk) if !disk.ready() => Err("the disk tier is still joining".to_owned()),
            _ => Ok(()),
        }),
        warm: Some(fetcher(doors)),
        advise: Some(advise(config, shared)),
    }
}
