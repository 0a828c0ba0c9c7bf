//! The size-aware engine behind the memory tier's interface: `policy` with slots in it.

use super::victim::{Keep, OnEvict, Victim};
use crate::rules::entry::Slot;
use crate::store::policy::{Change, Evicted, Goal, Sharded, Tuning};

/// The engine.
pub(super) struct Sized {
    cache: Sharded<Slot>,
    on_evict: Option<OnEvict>,
}

impl Sized {
    pub(super) fn new(capacity: u64, before_disk: bool, on_evict: Option<OnEvict>) -> Self {
        let cache = if before_disk {
            Sharded::fixed(capacity, Goal::Objects, Tuning::BEFORE_DISK)
        } else {
            Sharded::auto(capacity, Goal::Objects)
        };
        Sized { cache, on_evict }
    }

    pub(super) fn get(&self, hash: u128) -> Option<Slot> {
        let mut victims = Vec::new();
        let slot = self.cache.get(hash, &mut victims);
        self.report(victims);
        slot
    }

    pub(super) fn contains(&self, hash: u128) -> bool {
        self.cache.contains(hash)
    }

    pub(super) fn peek(&self, hash: u128) -> Option<(Slot, u32)> {
        let (slot, hits) = self.cache.peek_with_hits(hash)?;
        Some((slot, u32::from(hits)))
    }

    pub(super) fn look(&self, hash: u128) -> Option<Slot> {
        self.cache.peek(hash)
    }

    pub(super) fn count_hit(&self, hash: u128) {
        let mut victims = Vec::new();
        self.cache.count(hash, &mut victims);
        self.report(victims);
    }

    pub(super) fn upsert(&self, hash: u128, change: impl FnOnce(Option<&Slot>) -> Slot) {
        let mut victims = Vec::new();
        let change = |stored: Option<&Slot>| {
            let slot = change(stored);
            let weight = slot.weight();
            Change::Store(slot, weight)
        };
        let before = self.cache.update(hash, change, &mut victims);
        drop(before);
        self.report(victims);
    }

    pub(super) fn remove_if(&self, hash: u128, wanted: impl FnOnce(&Slot) -> bool) -> u64 {
        let change = |stored: Option<&Slot>| match stored {
            Some(slot) if wanted(slot) => Change::Remove,
            _ => Change::Keep,
        };
        self.cache.update(hash, change, &mut Vec::new()).map_or(0, |(_, weight)| weight)
    }

    pub(super) fn weight_max(&self) -> u64 {
        self.cache.weight_max()
    }

    pub(super) fn tuning(&self) -> Option<Tuning> {
        self.cache.tuning()
    }

    pub(super) fn overhead(&self) -> usize {
        self.cache.overhead()
    }

    pub(super) fn clear(&self) {
        self.cache.clear();
    }

    pub(super) fn len(&self) -> u64 {
        self.cache.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.cache.used()
    }

    pub(super) fn for_each(&self, judge: &mut dyn FnMut(&Slot) -> Keep) -> u64 {
        let mut freed = 0;
        let mut victims = Vec::new();
        self.cache.for_each_key(&mut |hash| {
            // Judged on a copy first: most slots stay, and `judge` may be slow.
            let Some(slot) = self.cache.peek(hash) else { return };
            let verdict = judge(&slot);
            if matches!(verdict, Keep::Whole) {
                return;
            }
            let mut new_weight = 0;
            let change = |stored: Option<&Slot>| {
                let Some(stored) = stored else { return Change::Keep };
                let verdict = if same(stored, &slot) { verdict } else { judge(stored) };
                match verdict {
                    Keep::Whole => Change::Keep,
                    Keep::Only(slot) if !slot.variants.is_empty() => {
                        new_weight = slot.weight();
                        Change::Store(slot, new_weight)
                    }
                    Keep::Only(_) | Keep::Nothing => Change::Remove,
                }
            };
            if let Some((_, weight)) = self.cache.update(hash, change, &mut victims) {
                freed += weight.saturating_sub(new_weight);
            }
        });
        self.report(victims);
        freed
    }

    fn report(&self, victims: Vec<Evicted<Slot>>) {
        let Some(hook) = &self.on_evict else { return };
        for Evicted { value, hits, .. } in victims {
            hook(Victim { slot: value, hits: u32::from(hits) });
        }
    }
}

/// Whether two slots hold the very same entries.
fn same(one: &Slot, other: &Slot) -> bool {
    one.variants.len() == other.variants.len()
        && one.variants.iter().zip(&other.variants).all(|(a, b)| std::sync::Arc::ptr_eq(a, b))
}
