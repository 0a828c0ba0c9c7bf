//! The policies a trace can be run through, by name.
//!
//! | name | what |
//! |---|---|
//! | `auto` | what the node runs for memory alone: `store::policy`, choosing its settings |
//! | `before-disk` | what the node runs for memory in front of a disk |
//! | `tinylfu` | moka, as the node uses it |
//! | `lru`, `fifo`, `sieve` | one queue |
//! | `s3-fifo` | small and main queue with a ghost, in bytes |
//! | `2q` | newcomers in a queue, what its ghost remembers in an LRU |
//! | `gdsf` | exact greedy-dual size frequency, with a heap |
//! | `belady` | offline: evicts what is used latest times size, with bypass |
//!
//! Sizes are capacity in bytes, without the node's bookkeeping, so that figures compare
//! with those of other simulators. An object larger than the cache is never stored.

mod belady;
mod gdsf;
mod queue;
mod s3fifo;
mod slots;
mod twoq;
#[cfg(test)]
mod workloads;

use crate::lab::trace::{Request, Trace};
use crate::store::policy::{Change, Evicted, Goal, Sharded, Tuning};

/// What a policy gave up or did not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The object.
    pub object: u32,
    /// Its bytes.
    pub size: u64,
    /// How often it was found while it was there.
    pub hits: u32,
}

/// A cache under simulation.
pub trait Policy {
    /// One request: true if it was found. If not, it is stored as the policy sees fit, and
    /// what goes for it is added to `gone`.
    fn access(&mut self, request: &Request, gone: &mut Vec<Gone>) -> bool;
}

/// All names, in the order of the tables.
pub const NAMES: [&str; 10] =
    ["auto", "before-disk", "tinylfu", "lru", "fifo", "sieve", "s3-fifo", "2q", "gdsf", "belady"];

/// A policy by name for a cache of `capacity` bytes; `None` if there is none of that name.
pub fn by_name<'a>(name: &str, capacity: u64, trace: &'a Trace) -> Option<Box<dyn Policy + 'a>> {
    let objects = trace.objects();
    Some(match name {
        "auto" | "default" => own(
            trace,
            || Sharded::auto(capacity, Goal::Objects),
            || Sharded::auto(capacity, Goal::Objects),
        ),
        "before-disk" => {
            let tuning = Tuning::BEFORE_DISK;
            own(
                trace,
                || Sharded::fixed(capacity, Goal::Objects, tuning),
                || Sharded::fixed(capacity, Goal::Objects, tuning),
            )
        }
        "tinylfu" => Box::new(Moka::new(capacity)),
        "lru" => Box::new(queue::Queue::new(queue::Kind::Lru, capacity, objects)),
        "fifo" => Box::new(queue::Queue::new(queue::Kind::Fifo, capacity, objects)),
        "sieve" => Box::new(queue::Queue::new(queue::Kind::Sieve, capacity, objects)),
        "s3-fifo" => Box::new(s3fifo::S3Fifo::new(capacity, objects)),
        "2q" => Box::new(twoq::TwoQ::new(capacity, objects)),
        "gdsf" => Box::new(gdsf::Gdsf::new(capacity, objects)),
        "belady" => Box::new(belady::Belady::new(capacity, trace)),
        _ => return None,
    })
}

pub use belady::bound;

/// The node's engine over objects, or over slots if the trace has variants.
fn own<'a>(
    trace: &'a Trace,
    objects: impl FnOnce() -> Sharded<u32>,
    slots: impl FnOnce() -> Sharded<slots::Slot>,
) -> Box<dyn Policy + 'a> {
    match &trace.variants {
        Some(variants) => Box::new(slots::Slots::new(slots(), variants)),
        None => Box::new(Own { cache: objects(), keys: &trace.keys, victims: Vec::new() }),
    }
}

/// The node's own engine.
struct Own<'a> {
    cache: Sharded<u32>,
    keys: &'a [u128],
    victims: Vec<Evicted<u32>>,
}

impl Policy for Own<'_> {
    fn access(&mut self, request: &Request, gone: &mut Vec<Gone>) -> bool {
        let key = self.keys[request.object as usize];
        let hit = self.cache.get(key, &mut self.victims).is_some();
        if !hit {
            let store = |_: Option<&u32>| Change::Store(request.object, request.size);
            self.cache.update(key, store, &mut self.victims);
        }
        gone.extend(self.victims.drain(..).map(|victim| Gone {
            object: victim.value,
            size: victim.weight,
            hits: u32::from(victim.hits),
        }));
        hit
    }
}

/// moka with the node's builder settings. Its pending work is run after every access, as
/// in the anchors this is compared with; in the node it runs in batches. Victims carry no
/// hits here.
struct Moka {
    cache: moka::sync::Cache<u32, u32>,
    gone: std::sync::Arc<parking_lot::Mutex<Vec<Gone>>>,
}

impl Moka {
    fn new(capacity: u64) -> Self {
        let gone: std::sync::Arc<parking_lot::Mutex<Vec<Gone>>> = Default::default();
        let seen = gone.clone();
        let cache = moka::sync::Cache::builder()
            .max_capacity(capacity)
            .weigher(|_: &u32, size: &u32| *size)
            .eviction_listener(move |object, size, _| {
                seen.lock().push(Gone { object: *object, size: u64::from(size), hits: 0 });
            })
            .build();
        Moka { cache, gone }
    }
}

impl Policy for Moka {
    fn access(&mut self, request: &Request, gone: &mut Vec<Gone>) -> bool {
        let hit = self.cache.get(&request.object).is_some();
        if !hit && let Ok(size) = u32::try_from(request.size) {
            self.cache.insert(request.object, size);
        }
        self.cache.run_pending_tasks();
        gone.append(&mut self.gone.lock());
        hit
    }
}
