//! From a configuration to the state that all exchanges share.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::error::NodeError;
use super::purges::{self, PurgeFile};
use super::seams::Seams;
use crate::base::Clock;
use crate::config::Config;
use crate::origin::Group;
use crate::rules::key::{Key, KeySeed};
use crate::serve::{self, Routing, Shared, Stores};
use crate::store::disk::Disk;
use crate::store::memory::OnEvict;
use crate::store::{Memory, MemoryOptions, Victim};
use crate::telemetry::{AccessLog, Count, Telemetry};

/// Bodies being filled may take this share of the memory tier's size beside it, and no
/// less than this many bytes.
const FILLS_SHARE: u64 = 4;
const FILLS_MIN: u64 = 32 << 20;

/// What the node needs to go on.
pub(super) struct Built {
    pub shared: Shared,
    /// Where purges are kept, if anything outlives the process.
    pub purges: Option<Arc<PurgeFile>>,
}

pub(super) fn build(config: &Config, clock: Clock, seams: &Seams) -> Result<Built, NodeError> {
    let kept = purges::kept(config);
    let disk = open_disk(config, &clock, seams)?;
    let seed = disk.as_ref().map_or_else(|| KeySeed(rand::random()), |disk| disk.seed());
    let (ledger, purges) = purges::open(config, kept, clock.now().wall_ms)?;
    let log = AccessLog::start(config.log.access.clone()).map_err(NodeError::AccessLog)?;
    let telemetry = Telemetry::new(log).with_sample(config.lab);
    let on_evict = evicted(seed, disk.clone(), telemetry.clone(), clock.clone());
    let options = MemoryOptions { before_disk: disk.is_some(), ..config.memory.clone() };
    let memory = Arc::new(Memory::new(&options, Some(on_evict)));
    let object_max = object_max(config, &memory);
    let stores = Stores { memory, disk, ledger: Arc::new(ledger) };
    let options = serve::Options {
        object_max,
        fills_max: (config.memory.capacity.bytes() / FILLS_SHARE).max(FILLS_MIN),
        ..config.serve.clone()
    };
    let routing = routing(config, seed, None, seams)?;
    Ok(Built { shared: Shared::new(clock, seed, routing, stores, telemetry, options), purges })
}

/// What becomes of what memory gives up: it is counted, remembered for `explain`, and
/// offered to the disk tier.
fn evicted(seed: KeySeed, disk: Option<Arc<Disk>>, telemetry: Telemetry, clock: Clock) -> OnEvict {
    Arc::new(move |victim: Victim| {
        telemetry.counters.add(Count::Evicted, 1);
        if let Some(entry) = victim.slot.variants.first() {
            let hash = Key::new(seed, SmallVec::from_slice(&entry.key)).hash();
            telemetry.evictions.note(hash, clock.now().wall_secs(), victim.hits);
        }
        let Some(disk) = &disk else { return };
        for entry in victim.slot.variants.iter().rev() {
            disk.evicted(entry.clone(), victim.hits);
        }
    })
}

/// Bodies longer than every tier takes are not collected at all: they stream through.
fn object_max(config: &Config, memory: &Memory) -> u64 {
    let on_disk = match config.disk.directories.is_empty() {
        true => 0,
        false => config.disk.object_max.bytes(),
    };
    memory.weight_max().max(on_disk)
}

fn open_disk(
    config: &Config,
    clock: &Clock,
    seams: &Seams,
) -> Result<Option<Arc<Disk>>, NodeError> {
    if config.disk.directories.is_empty() {
        return Ok(None);
    }
    let opened = match &seams.device {
        Some(device) => Disk::open_with(config.disk.clone(), clock.clone(), &**device),
        None => Disk::open(config.disk.clone(), clock.clone()),
    };
    Ok(Some(Arc::new(opened?)))
}

/// Builds sites and origins. An origin whose settings did not change keeps its group, and
/// with it connections, health and what operators set.
pub(super) fn routing(
    config: &Config,
    seed: KeySeed,
    old: Option<&Routing>,
    seams: &Seams,
) -> Result<Routing, NodeError> {
    let mut origins = HashMap::new();
    for options in &config.origins {
        let kept = old.and_then(|old| old.origin(&options.name));
        if let Some(kept) = kept.filter(|kept| kept.options() == options) {
            origins.insert(options.name.clone(), kept.clone());
            continue;
        }
        let failed = |why| NodeError::Origin { name: options.name.clone(), why };
        let group = Group::over(options.clone(), seams.upstream.clone()).map_err(failed)?;
        if let Some(before) = old.and_then(|old| old.origin(&options.name)) {
            group.adopt(before);
        }
        origins.insert(options.name.clone(), group);
    }
    for (name, group) in &origins {
        if let Some(before) = old.and_then(|old| old.origin(name)) {
            group.adopt_switch(before, |name| origins.get(name).cloned());
        }
    }
    // Any number that is this process's own will do.
    let instance = seed.0 as u32;
    let (name, sites) = (&config.node.name, config.sites.clone());
    let (trust, announce) = (config.trust.clone(), config.node.forwarded);
    Ok(Routing::new(name, instance, sites, origins, trust, announce))
}
