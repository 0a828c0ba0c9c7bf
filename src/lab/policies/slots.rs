//! The node's engine over slots: all variants of a name in one value, as the memory tier
//! keeps them, so that they are found by one get and given up together.

use smallvec::SmallVec;

use super::{Gone, Policy};
use crate::lab::trace::{Request, Variants};
use crate::store::MemoryOptions;
use crate::store::policy::{Change, Evicted, Sharded};

/// Objects with their weights, newest first.
pub(super) type Slot = SmallVec<[(u32, u64); 1]>;

pub(super) struct Slots<'a> {
    cache: Sharded<Slot>,
    variants: &'a Variants,
    variants_max: usize,
    victims: Vec<Evicted<Slot>>,
}

impl<'a> Slots<'a> {
    pub(super) fn new(cache: Sharded<Slot>, variants: &'a Variants) -> Self {
        let variants_max = MemoryOptions::default().variants_max;
        Slots { cache, variants, variants_max, victims: Vec::new() }
    }
}

impl Policy for Slots<'_> {
    fn access(&mut self, request: &Request, gone: &mut Vec<Gone>) -> bool {
        let (object, size) = (request.object, request.size);
        let key = self.variants.keys[self.variants.names[object as usize] as usize];
        let slot = self.cache.get(key, &mut self.victims);
        let hit = slot.is_some_and(|slot| slot.iter().any(|(held, _)| *held == object));
        if !hit {
            let variants_max = self.variants_max;
            let join = |stored: Option<&Slot>| {
                let mut slot = Slot::from_iter([(object, size)]);
                slot.extend(stored.into_iter().flatten().copied());
                slot.truncate(variants_max);
                let weight = slot.iter().map(|(_, size)| size).sum();
                Change::Store(slot, weight)
            };
            self.cache.update(key, join, &mut self.victims);
        }
        for Evicted { value, hits, .. } in self.victims.drain(..) {
            let hits = u32::from(hits);
            gone.extend(value.into_iter().map(|(object, size)| Gone { object, size, hits }));
        }
        hit
    }
}
