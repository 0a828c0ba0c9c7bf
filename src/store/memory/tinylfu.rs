//! moka's TinyLFU behind the memory tier's interface.
//!
//! Kept as the alternative to the engine written for this cache: it is an independent
//! implementation to compare with, by operators and by the tests. Two of its properties
//! are respected here. Its weigher returns a `u32`, so nothing above 4 GiB is given to
//! it. And it reports replaced and removed values to its listener too, which are no
//! victims.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use moka::notification::RemovalCause;
use moka::ops::compute::{CompResult, Op};
use moka::sync::Cache;

use super::victim::{Keep, OnEvict, Victim};
use crate::rules::entry::Slot;

/// A slot with the count of its hits.
struct Held {
    slot: Slot,
    weight: u32,
    hits: AtomicU32,
}

/// The engine.
pub(super) struct TinyLfu {
    cache: Cache<u128, Arc<Held>>,
    weight_max: u64,
    on_evict: Option<OnEvict>,
}

impl TinyLfu {
    pub(super) fn new(capacity: u64, on_evict: Option<OnEvict>) -> Self {
        let mut builder = Cache::builder()
            .max_capacity(capacity)
            .weigher(|_: &u128, held: &Arc<Held>| held.weight);
        if let Some(hook) = on_evict.clone() {
            builder = builder.eviction_listener(move |_, held: Arc<Held>, cause| {
                if cause == RemovalCause::Size {
                    hook(victim_of(&held));
                }
            });
        }
        let weight_max = capacity.min(u64::from(u32::MAX));
        TinyLfu { cache: builder.build(), weight_max, on_evict }
    }

    pub(super) fn get(&self, hash: u128) -> Option<Slot> {
        let held = self.cache.get(&hash)?;
        held.hits.fetch_add(1, Ordering::Relaxed);
        Some(held.slot.clone())
    }

    pub(super) fn contains(&self, hash: u128) -> bool {
        self.cache.contains_key(&hash)
    }

    /// moka counts this as a use; the count that is told does not.
    pub(super) fn peek(&self, hash: u128) -> Option<(Slot, u32)> {
        let held = self.cache.get(&hash)?;
        Some((held.slot.clone(), held.hits.load(Ordering::Relaxed)))
    }

    /// The slot; moka counts this as a use.
    pub(super) fn look(&self, hash: u128) -> Option<Slot> {
        Some(self.cache.get(&hash)?.slot.clone())
    }

    /// Counts a hit of what `look` has found.
    pub(super) fn count_hit(&self, hash: u128) {
        if let Some(held) = self.cache.get(&hash) {
            held.hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Replaces the slot by what `change` makes of it, under moka's lock of that key.
    pub(super) fn upsert(&self, hash: u128, change: impl FnOnce(Option<&Slot>) -> Slot) {
        let mut refused = None;
        self.cache.entry(hash).and_compute_with(|stored| {
            let stored = stored.map(|entry| entry.into_value());
            let slot = change(stored.as_ref().map(|held| &held.slot));
            let hits = stored.as_ref().map_or(0, |held| held.hits.load(Ordering::Relaxed));
            let weight = slot.weight();
            if weight > self.weight_max {
                refused = Some(Victim { slot, hits });
                return Op::Remove;
            }
            let hits = AtomicU32::new(hits);
            Op::Put(Arc::new(Held { slot, weight: weight as u32, hits }))
        });
        if let (Some(victim), Some(hook)) = (refused, &self.on_evict) {
            hook(victim);
        }
    }

    pub(super) fn remove_if(&self, hash: u128, wanted: impl FnOnce(&Slot) -> bool) -> u64 {
        let result = self.cache.entry(hash).and_compute_with(|stored| match stored {
            Some(entry) if wanted(&entry.value().slot) => Op::Remove,
            _ => Op::Nop,
        });
        match result {
            CompResult::Removed(entry) => u64::from(entry.value().weight),
            _ => 0,
        }
    }

    /// What one slot may weigh: moka's weights are 32 bits wide.
    pub(super) fn weight_max(&self) -> u64 {
        u64::from(u32::MAX)
    }

    pub(super) fn clear(&self) {
        self.cache.invalidate_all();
        self.cache.run_pending_tasks();
    }

    pub(super) fn len(&self) -> u64 {
        self.cache.run_pending_tasks();
        self.cache.entry_count()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.cache.run_pending_tasks();
        self.cache.weighted_size()
    }

    pub(super) fn for_each(&self, judge: &mut dyn FnMut(&Slot) -> Keep) -> u64 {
        let mut freed = 0;
        for (hash, seen) in &self.cache {
            let verdict = judge(&seen.slot);
            if !matches!(verdict, Keep::Whole) {
                freed += self.settle(*hash, &seen, verdict, judge);
            }
        }
        freed
    }

    /// Carries out a verdict on `seen`, or on what has taken its place since.
    fn settle(
        &self,
        hash: u128,
        seen: &Arc<Held>,
        verdict: Keep,
        judge: &mut dyn FnMut(&Slot) -> Keep,
    ) -> u64 {
        let mut freed = 0;
        self.cache.entry(hash).and_compute_with(|stored| {
            let Some(held) = stored.map(|entry| entry.into_value()) else { return Op::Nop };
            let verdict = if Arc::ptr_eq(&held, seen) { verdict } else { judge(&held.slot) };
            match verdict {
                Keep::Whole => Op::Nop,
                Keep::Only(slot) if !slot.variants.is_empty() => {
                    let weight = slot.weight().min(self.weight_max) as u32;
                    freed = u64::from(held.weight.saturating_sub(weight));
                    let hits = AtomicU32::new(held.hits.load(Ordering::Relaxed));
                    Op::Put(Arc::new(Held { slot, weight, hits }))
                }
                Keep::Only(_) | Keep::Nothing => {
                    freed = u64::from(held.weight);
                    Op::Remove
                }
            }
        });
        freed
    }
}

fn victim_of(held: &Held) -> Victim {
    Victim { slot: held.slot.clone(), hits: held.hits.load(Ordering::Relaxed) }
}
