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

use smallvec::SmallVec;

use crate::base::ByteSize;
use crate::rules::entry::{Entry, Slot};
use crate::rules::key::Key;

mod tinylfu;

use tinylfu::TinyLfu;

/// Which engine decides what stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryPolicy {
    /// moka's TinyLFU.
    #[default]
    TinyLfu,
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
}

impl Default for MemoryOptions {
    fn default() -> Self {
        MemoryOptions {
            capacity: ByteSize::mib(512),
            policy: MemoryPolicy::default(),
            variants_max: 16,
        }
    }
}

/// What was given up for want of room, or never let in.
#[derive(Clone, Debug)]
pub struct Victim {
    /// All variants of the key.
    pub slot: Slot,
    /// How often it was found while it was here. Zero also when it was never let in.
    pub hits: u32,
}

/// What a sweep decides about one slot.
#[derive(Clone, Debug)]
pub enum Keep {
    /// Nothing changes.
    Whole,
    /// These variants stay; an empty slot is removed.
    Only(Slot),
    /// The slot goes.
    Nothing,
}

/// Called with each victim, on the thread that made the room. It must not block and must
/// not call back into the memory tier.
pub type OnEvict = Arc<dyn Fn(Victim) + Send + Sync>;

/// The memory tier.
pub struct Memory {
    engine: TinyLfu,
    variants_max: usize,
}

impl Memory {
    /// An empty tier; `on_evict` gets what has to go for want of room.
    pub fn new(options: &MemoryOptions, on_evict: Option<OnEvict>) -> Self {
        let engine = match options.policy {
            MemoryPolicy::TinyLfu => TinyLfu::new(options.capacity.bytes(), on_evict),
        };
        Memory { engine, variants_max: options.variants_max.max(1) }
    }

    /// The slot of exactly this key. Counts as a hit of it.
    pub fn get(&self, key: &Key) -> Option<Slot> {
        let held = self.engine.get(key.hash())?;
        is_of(&held.slot, key.text()).then(|| held.slot.clone())
    }

    /// Puts `entry` into the slot of its key, in place of the variant that answers the
    /// same requests. Atomic for one key: of two threads that put two variants at once,
    /// both are found. An entry that no engine can hold (heavier than the capacity or
    /// than 4 GiB) goes to the hook at once.
    pub fn put(&self, key: &Key, entry: Arc<Entry>) {
        let variants_max = self.variants_max;
        self.engine.upsert(key.hash(), |stored| {
            let stored = stored.filter(|slot| is_of(slot, key.text()));
            join(stored, entry, variants_max)
        });
    }

    /// Removes the slot of this key and returns the bytes that freed, zero if there was
    /// none. The hook does not hear of it.
    pub fn remove(&self, key: &Key) -> u64 {
        self.engine.remove_if(key.hash(), |slot| is_of(slot, key.text()))
    }

    /// Empties the tier. The hook does not hear of it.
    pub fn clear(&self) {
        self.engine.clear();
    }

    /// Number of slots.
    pub fn len(&self) -> u64 {
        self.engine.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in use, as weighed.
    pub fn bytes(&self) -> u64 {
        self.engine.bytes()
    }

    /// Visits every slot, does with it what `judge` says, and returns the bytes freed.
    /// Readers and writers go on meanwhile: what comes in during the sweep may or may
    /// not be visited. `judge` may see a slot again if it changed in between.
    pub fn for_each(&self, judge: &mut dyn FnMut(&Slot) -> Keep) -> u64 {
        self.engine.for_each(judge)
    }
}

/// Whether the slot holds this key and not another of the same hash.
fn is_of(slot: &Slot, text: &[u8]) -> bool {
    slot.variants.first().is_some_and(|entry| *entry.key == *text)
}

/// The slot with `entry` in front. An entry that varies on the same fields with the same
/// values answers the same requests and is replaced (RFC 9111 4.1); so are those beyond
/// `variants_max`.
fn join(stored: Option<&Slot>, entry: Arc<Entry>, variants_max: usize) -> Slot {
    let mut variants: SmallVec<[Arc<Entry>; 1]> = SmallVec::new();
    variants.push(entry.clone());
    if let Some(stored) = stored {
        let others = stored.variants.iter().filter(|other| other.vary != entry.vary);
        variants.extend(others.take(variants_max - 1).cloned());
    }
    Slot { variants }
}
