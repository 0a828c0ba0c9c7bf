//! The memory tier: slots by key hash, bounded by honest bytes.
//!
//! A small interface over one of two engines, so that what decides over the hit ratio
//! can be exchanged without anything else moving. Freshness is no business of an
//! engine: nothing expires here, a stale entry is a fact that `rules` judges, and a
//! purge is one comparison with the ledger followed by a sweep. So no engine gets a
//! time to live or an invalidation closure (moka evaluates pending closures on every
//! get, which triples its cost).
//!
//! The table is keyed by the 128-bit hash; the key text of the entry found is compared
//! on every get, so a collision is a miss. Two colliding keys displace each other.
//!
//! What is given up for want of room goes to the `on_evict` hook with its number of
//! hits, outside of every lock: the disk tier decides by it what is worth a write.

use std::sync::Arc;

use crate::base::ByteSize;
use crate::rules::entry::{Entry, Slot};
use crate::rules::key::Key;
use crate::rules::variant;
use crate::store::policy::Tuning;

mod sized;
#[cfg(test)]
mod tests;
mod tinylfu;
mod victim;

use sized::Sized;
use tinylfu::TinyLfu;
pub use victim::{Keep, OnEvict, Victim};

/// Which engine decides what stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryPolicy {
    /// Size-aware greedy-dual that chooses its settings by shadow caches: see
    /// `store::policy`.
    #[default]
    Auto,
    /// moka's TinyLFU.
    TinyLfu,
}

impl std::str::FromStr for MemoryPolicy {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(MemoryPolicy::Auto),
            "tinylfu" => Ok(MemoryPolicy::TinyLfu),
            _ => Err(format!("expected \"auto\" or \"tinylfu\", got {name:?}")),
        }
    }
}

/// Settings of the memory tier.
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    /// Bytes that all slots together may weigh, overhead included.
    pub capacity: ByteSize,
    /// Which engine decides what stays.
    pub policy: MemoryPolicy,
    /// Variants kept for one key (RFC 9111 4.1); the oldest goes first.
    pub variants_max: usize,
    /// Whether a disk tier takes the victims; `auto` then gives newcomers time to be asked
    /// for again instead of choosing what is best for memory alone.
    pub before_disk: bool,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        MemoryOptions {
            capacity: ByteSize::mib(512),
            policy: MemoryPolicy::default(),
            variants_max: 16,
            before_disk: false,
        }
    }
}

/// The memory tier.
pub struct Memory {
    engine: Engine,
    variants_max: usize,
    capacity: u64,
}

enum Engine {
    Sized(Sized),
    TinyLfu(TinyLfu),
}

/// Calls the same method of whichever engine runs.
macro_rules! engine {
    ($memory:expr, $engine:ident => $call:expr) => {
        match &$memory.engine {
            Engine::Sized($engine) => $call,
            Engine::TinyLfu($engine) => $call,
        }
    };
}

impl Memory {
    /// An empty tier; `on_evict` gets what has to go for want of room.
    pub fn new(options: &MemoryOptions, on_evict: Option<OnEvict>) -> Self {
        let capacity = options.capacity.bytes();
        let engine = match options.policy {
            MemoryPolicy::Auto => {
                Engine::Sized(Sized::new(capacity, options.before_disk, on_evict))
            }
            MemoryPolicy::TinyLfu => Engine::TinyLfu(TinyLfu::new(capacity, on_evict)),
        };
        Memory { engine, variants_max: options.variants_max.max(1), capacity }
    }

    /// Bytes that all slots together may weigh.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What the slot of one key may weigh; heavier ones are not let in.
    pub fn weight_max(&self) -> u64 {
        engine!(self, engine => engine.weight_max()).min(self.capacity)
    }

    /// Whether it is worth the copy to bring up `bytes` from disk: there is room for them, or
    /// it is their turn. In a full tier one in four comes up, so that what is asked for often
    /// soon does, and what is not costs nobody his place.
    pub fn is_worth_trying(&self, bytes: u64) -> bool {
        let fits = || self.bytes().saturating_add(bytes) <= self.capacity;
        bytes <= self.weight_max() && (rand::random_ratio(1, 4) || fits())
    }

    /// The slot of exactly this key. Counts as a hit of it.
    pub fn get(&self, key: &Key) -> Option<Slot> {
        let slot = engine!(self, engine => engine.get(key.hash()))?;
        is_of(&slot, key.text()).then_some(slot)
    }

    /// Whether something is stored under the hash of `key`: a hint that counts as no hit.
    pub fn contains(&self, key: &Key) -> bool {
        engine!(self, engine => engine.contains(key.hash()))
    }

    /// The same without counting, and how often it was hit since it came in; counts of
    /// hits end at 254 in `auto`.
    pub fn peek(&self, key: &Key) -> Option<(Slot, u32)> {
        let (slot, hits) = engine!(self, engine => engine.peek(key.hash()))?;
        is_of(&slot, key.text()).then_some((slot, hits))
    }

    /// The slot without counting a hit; who then uses it calls `count_hit`.
    pub fn look(&self, key: &Key) -> Option<Slot> {
        let slot = engine!(self, engine => engine.look(key.hash()))?;
        is_of(&slot, key.text()).then_some(slot)
    }

    /// Counts a hit of what `look` has found.
    pub fn count_hit(&self, key: &Key) {
        engine!(self, engine => engine.count_hit(key.hash()));
    }

    /// Puts `entry` into the slot of its key, in place of the variant that answers the
    /// same requests. Atomic for one key: of two threads that put two variants at once,
    /// both are found. An entry that is not let in goes to the hook at once; so does one
    /// that is too heavy (for `auto` half of a shard, for `tinylfu` 4 GiB).
    pub fn put(&self, key: &Key, entry: Arc<Entry>) {
        let variants_max = self.variants_max;
        let join = |stored: Option<&Slot>| {
            let stored = stored.filter(|slot| is_of(slot, key.text()));
            variant::join(stored, entry, variants_max)
        };
        engine!(self, engine => engine.upsert(key.hash(), join));
    }

    /// Takes in what was found on disk, unless the key has been stored here since the
    /// lookup missed: that is newer.
    pub fn promote(&self, key: &Key, found: &Slot) {
        let join = |stored: Option<&Slot>| {
            let stored = stored.filter(|slot| is_of(slot, key.text()));
            stored.unwrap_or(found).clone()
        };
        engine!(self, engine => engine.upsert(key.hash(), join));
    }

    /// Removes the slot of this key and returns the bytes that freed, zero if there was
    /// none. The hook does not hear of it.
    pub fn remove(&self, key: &Key) -> u64 {
        engine!(self, engine => engine.remove_if(key.hash(), |slot| is_of(slot, key.text())))
    }

    /// Empties the tier. The hook does not hear of it.
    pub fn clear(&self) {
        engine!(self, engine => engine.clear())
    }

    /// Number of slots.
    pub fn len(&self) -> u64 {
        engine!(self, engine => engine.len())
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in use, as weighed.
    pub fn bytes(&self) -> u64 {
        engine!(self, engine => engine.bytes())
    }

    /// The settings in force, if the engine chooses among some.
    pub fn tuning(&self) -> Option<Tuning> {
        match &self.engine {
            Engine::Sized(engine) => engine.tuning(),
            Engine::TinyLfu(_) => None,
        }
    }

    /// Bytes of the policy's own bookkeeping, shadow caches included; unknown for moka.
    pub fn overhead(&self) -> Option<usize> {
        match &self.engine {
            Engine::Sized(engine) => Some(engine.overhead()),
            Engine::TinyLfu(_) => None,
        }
    }

    /// Visits every slot, does with it what `judge` says, and returns the bytes freed.
    /// Readers and writers go on meanwhile: what comes in during the sweep may or may
    /// not be visited. `judge` may see a slot again if it changed in between.
    pub fn for_each(&self, judge: &mut dyn FnMut(&Slot) -> Keep) -> u64 {
        engine!(self, engine => engine.for_each(judge))
    }
}

/// Whether the slot holds this key and not another of the same hash.
fn is_of(slot: &Slot, text: &[u8]) -> bool {
    slot.variants.first().is_some_and(|entry| *entry.key == *text)
}
