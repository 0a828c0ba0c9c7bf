//! When keys gave way to others, for `explain`: "it was stored, but there was no room" can
//! only be said by somebody who saw it go.
//!
//! A table of fixed size with a few bits a key; a later key may take an earlier one's place,
//! and one in 16 million may be taken for another. Noting is one store without a lock,
//! because a full cache evicts with every miss.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Keys remembered; a power of two.
const KEYS: usize = 1 << 16;
/// 2020-01-01, so that 32 bits of seconds last until 2156.
const EPOCH_S: u64 = 1_577_836_800;

/// One key's going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Evicted {
    /// When, Unix time in seconds.
    pub at_s: u64,
    /// How often it was found while it was there; 255 is that or more.
    pub hits: u8,
}

/// The last evictions of the memory tier.
pub struct Evictions {
    slots: Box<[AtomicU64]>,
}

impl Default for Evictions {
    fn default() -> Self {
        Evictions { slots: (0..KEYS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl std::fmt::Debug for Evictions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evictions").finish_non_exhaustive()
    }
}

impl Evictions {
    /// Remembers that the key with this hash went at `wall_s` after `hits` hits.
    pub fn note(&self, hash: u128, wall_s: u64, hits: u32) {
        let since = u32::try_from(wall_s.saturating_sub(EPOCH_S)).unwrap_or(u32::MAX);
        let hits = u64::from(hits.min(255));
        let value = u64::from(print(hash)) << 40 | hits << 32 | u64::from(since);
        if let Some(slot) = self.slots.get(place(hash)) {
            slot.store(value, Ordering::Relaxed);
        }
    }

    /// When the key with this hash went, if it is remembered.
    pub fn find(&self, hash: u128) -> Option<Evicted> {
        let value = self.slots.get(place(hash))?.load(Ordering::Relaxed);
        let known = value != 0 && (value >> 40) as u32 == print(hash);
        known
            .then_some(Evicted { at_s: EPOCH_S + (value & 0xffff_ffff), hits: (value >> 32) as u8 })
    }
}

fn place(hash: u128) -> usize {
    hash as usize & (KEYS - 1)
}

/// 24 other bits of the hash.
fn print(hash: u128) -> u32 {
    (hash >> 64) as u32 & 0x00ff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_with_its_time_and_another_in_its_place_is_not_taken_for_it() {
        let evictions = Evictions::default();
        let (one, other) = (7u128 << 64 | 3, 8u128 << 64 | 3);
        assert_eq!(evictions.find(one), None);
        evictions.note(one, 1_800_000_000, 1000);
        assert_eq!(evictions.find(one), Some(Evicted { at_s: 1_800_000_000, hits: 255 }));
        assert_eq!(evictions.find(other), None);
        evictions.note(other, 1_800_000_001, 0);
        assert_eq!(evictions.find(one), None);
    }
}
