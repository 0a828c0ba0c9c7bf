//! The cache of the node: shelves behind short locks, and the tuner beside them.
//!
//! A key belongs to one shard by the top bits of its hash. A lock is held for a table
//! look-up and at most one list move, never across I/O and never while a value is
//! dropped: victims and replaced values are handed out and dropped by the caller. Each
//! shard has its own share of the room; an object may take at most half of a shard, and
//! shards are at least 128 MiB, so that few objects are too large for them.
//!
//! Rejected: one lock-free table with an approximate order. Every peer that does so
//! ignores sizes, and an uncontended lock costs a tenth of the memory accesses around it.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::order::Goal;
use super::shelf::{Evicted, Shelf};
use super::tuner::Tuner;
use super::tuning::{CANDIDATES, Tuning};

/// The least room of one shard, in bytes.
const SHARD_MIN: u64 = 128 << 20;
const SHARDS_MAX: u64 = 64;
/// Places of a shard that a sweep copies out under one lock.
const SWEEP_STEP: usize = 256;

/// What `put` and `sweep` make of a stored value.
#[derive(Debug)]
pub enum Change<V> {
    /// Leave it as it is.
    Keep,
    /// Store this, of this weight in bytes.
    Store(V, u64),
    /// Take it out.
    Remove,
}

/// A size-aware cache for several threads.
pub struct Sharded<V> {
    shards: Box<[Mutex<Shelf<V>>]>,
    /// What one entry may weigh.
    weight_max: u64,
    tuner: Option<Mutex<Tuner>>,
    /// The tuner's mask, so that most requests never look at it.
    mask: AtomicU64,
}

impl<V: Default + Clone> Sharded<V> {
    /// An empty cache of `capacity` bytes that chooses its settings by itself.
    pub fn auto(capacity: u64, goal: Goal) -> Self {
        let mut cache = Self::fixed(capacity, goal, CANDIDATES[0]);
        cache.tuner = Some(Mutex::new(Tuner::new(capacity, goal)));
        cache
    }

    /// An empty cache of `capacity` bytes with these settings.
    pub fn fixed(capacity: u64, goal: Goal, tuning: Tuning) -> Self {
        let count = (capacity / SHARD_MIN).clamp(1, SHARDS_MAX);
        let count = 1 << count.ilog2();
        let room = capacity / count;
        // With one shard there is nothing to keep a large object from but the rest of
        // a small cache, and the admission test does that.
        let weight_max = if count == 1 { room } else { room / 2 };
        let shard = |_| Mutex::new(Shelf::new(room, weight_max, goal, tuning));
        let shards = (0..count).map(shard).collect();
        Sharded { shards, weight_max, tuner: None, mask: AtomicU64::new(0) }
    }

    /// What one entry may weigh; heavier ones are not let in.
    pub fn weight_max(&self) -> u64 {
        self.weight_max
    }

    /// The value, if it is here; counts as a request for it. What a change of settings
    /// displaces is added to `victims`; nearly always nothing.
    pub fn get(&self, key: u128, victims: &mut Vec<Evicted<V>>) -> Option<V> {
        let (value, weight) = {
            let mut shard = self.shard(key).lock();
            let (value, weight) = shard.get(key)?;
            (value.clone(), weight)
        };
        self.observe(key, weight, victims);
        Some(value)
    }

    /// Counts a request for a value that `peek` has found; nothing if it has gone since.
    pub fn count(&self, key: u128, victims: &mut Vec<Evicted<V>>) {
        let counted = self.shard(key).lock().get(key).map(|(_, weight)| weight);
        if let Some(weight) = counted {
            self.observe(key, weight, victims);
        }
    }

    /// The value without counting a request.
    pub fn peek(&self, key: u128) -> Option<V> {
        self.shard(key).lock().peek(key).cloned()
    }

    /// Whether there is a value, without counting a request.
    pub fn contains(&self, key: u128) -> bool {
        self.shard(key).lock().peek(key).is_some()
    }

    /// The value without counting a request, and its hits so far (at most 254).
    pub fn peek_with_hits(&self, key: u128) -> Option<(V, u8)> {
        let shard = self.shard(key).lock();
        Some((shard.peek(key)?.clone(), shard.hits(key)))
    }

    /// Lets `change` decide, under the lock of the shard, what becomes of the value of a
    /// key. Returns the value before and its weight. What has to go, possibly the new
    /// value itself, is added to `victims`.
    pub fn update(
        &self,
        key: u128,
        change: impl FnOnce(Option<&V>) -> Change<V>,
        victims: &mut Vec<Evicted<V>>,
    ) -> Option<(V, u64)> {
        let (before, new_weight) = {
            let mut shard = self.shard(key).lock();
            match change(shard.peek(key)) {
                Change::Keep => (None, None),
                Change::Remove => (shard.remove(key), None),
                Change::Store(value, weight) => {
                    let before = shard.put(key, value, weight, victims);
                    (before, Some(weight))
                }
            }
        };
        // A replacement is no request: the get that found the old value was one.
        if let (None, Some(weight)) = (&before, new_weight) {
            self.observe(key, weight, victims);
        }
        before
    }

    /// Empties it.
    pub fn clear(&self) {
        for shard in &self.shards {
            let emptied = shard.lock().take_all();
            drop(emptied);
        }
    }

    /// Number of values.
    pub fn len(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().len() as u64).sum()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in use, as weighed.
    pub fn used(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().used()).sum()
    }

    /// Bytes of bookkeeping beyond the values, shadows included.
    pub fn overhead(&self) -> usize {
        let shards: usize = self.shards.iter().map(|shard| shard.lock().overhead()).sum();
        shards + self.tuner.as_ref().map_or(0, |tuner| tuner.lock().overhead())
    }

    /// The settings in force.
    pub fn tuning(&self) -> Option<Tuning> {
        self.shards.first().map(|shard| shard.lock().tuning())
    }

    /// Visits every key in steps, each under a short lock of its own; `visit` runs
    /// outside of them. Keys put or removed meanwhile may or may not be visited.
    pub fn for_each_key(&self, visit: &mut dyn FnMut(u128)) {
        for shard in &self.shards {
            let mut place = 0;
            loop {
                let keys = shard.lock().keys(place, SWEEP_STEP);
                let Some(keys) = keys else { break };
                keys.into_iter().for_each(&mut *visit);
                place += SWEEP_STEP;
            }
        }
    }

    fn shard(&self, key: u128) -> &Mutex<Shelf<V>> {
        // The number of shards is a power of two, so the index is always within.
        let shift = 128 - self.shards.len().ilog2();
        let index = if shift == 128 { 0 } else { (key >> shift) as usize };
        &self.shards[index]
    }

    fn observe(&self, key: u128, weight: u64, victims: &mut Vec<Evicted<V>>) {
        let Some(tuner) = &self.tuner else { return };
        if !Tuner::samples(self.mask.load(Ordering::Relaxed), key) {
            return;
        }
        let new = {
            // A sample of a sample will do: threads do not wait for each other here.
            let Some(mut tuner) = tuner.try_lock() else { return };
            if !Tuner::samples(tuner.mask(), key) {
                return;
            }
            let new = tuner.observe(key, weight);
            // Written only when it changes: every hit of every thread reads this line.
            if self.mask.load(Ordering::Relaxed) != tuner.mask() {
                self.mask.store(tuner.mask(), Ordering::Relaxed);
            }
            new
        };
        if let Some(tuning) = new {
            for shard in &self.shards {
                shard.lock().tune(tuning, victims);
            }
        }
    }
}
