//! The index by itself: what it costs in memory, as it fills and as it turns over.

use std::collections::VecDeque;

use super::*;
use crate::store::disk::index::Index;

/// What the issue of the disk tier allows for one object.
pub(super) const BYTES_A_RECORD: usize = 48;

/// Fingerprints that differ in every bit, as those of a keyed hash do.
pub(super) fn print(n: u64) -> u64 {
    print_of(u128::from(xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes())) << 64)
}

/// A place of its own for each.
pub(super) fn place(n: u64) -> Place {
    Place::new((n >> 16) as u32, (n & 0xffff) * 64, 64).unwrap()
}

#[test]
fn an_object_costs_at_most_48_bytes_while_the_index_fills() {
    let index = Index::default();
    for n in 0..300_000 {
        index.insert(print(n), 0, place(n), 0);
        // Below that the tables hold too little for an average.
        if n > 20_000 && n % 1_000 == 0 {
            let each = index.memory() / index.len();
            assert!(each <= BYTES_A_RECORD, "{each} bytes each at {n}");
        }
    }
}

#[test]
fn and_while_it_turns_over_however_full_it_is() {
    for records in [30_000u64, 40_000, 50_000, 56_000] {
        let index = Index::default();
        let mut held = VecDeque::new();
        let mut worst = 0;
        for n in 0..records * 30 {
            index.insert(print(n), 0, place(n), 0);
            held.push_back(n);
            if held.len() as u64 > records {
                let oldest = held.pop_front().unwrap();
                assert!(index.remove_exact(print(oldest), place(oldest)));
            }
            if n > records && n % 4_096 == 0 {
                worst = worst.max(index.memory() / index.len());
            }
        }
        assert!(worst <= BYTES_A_RECORD, "{worst} bytes each with {records}");
    }
}
