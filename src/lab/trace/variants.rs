//! Variants of one name (RFC 9111 4.1) in a trace that tells them apart.
//!
//! Each variant is an object; the node keeps all variants of a name in one slot, found by
//! one get and given up together. So the simulation must know which objects belong
//! together, and the report says what each value of the field costs.

use std::collections::HashMap;

use serde::Serialize;

/// Values told apart in the report; further ones are one.
const VALUES_MAX: usize = 32;

/// Which name and which value each object has.
#[derive(Clone, Debug, Default)]
pub struct Variants {
    /// Index of the name, by object.
    pub names: Vec<u32>,
    /// The hash of each name.
    pub keys: Vec<u128>,
    values: Vec<u8>,
    labels: Vec<String>,
    index: HashMap<u128, u32>,
}

/// What one value costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// The value, as the trace has it.
    pub value: String,
    /// Requests with it.
    pub requests: u64,
    /// Of them, first ones for a name that was asked for before with another value: what
    /// varying costs even in an endless cache.
    pub extra_misses: u64,
    /// Bytes that these add to the room needed.
    pub extra_bytes: u64,
}

impl Variants {
    /// Learns name and value of an object. Objects come in order of their numbers.
    pub(super) fn learn(&mut self, object: u32, name: u128, value: &[u8]) {
        if (object as usize) < self.names.len() {
            return;
        }
        let (keys, next) = (&mut self.keys, self.index.len() as u32);
        let name = *self.index.entry(name).or_insert_with(|| {
            keys.push(name);
            next
        });
        let label = String::from_utf8_lossy(value);
        let known = self.labels.iter().position(|known| *known == label);
        let value = known.unwrap_or_else(|| {
            if self.labels.len() < VALUES_MAX {
                self.labels.push(label.into_owned());
            }
            self.labels.len() - 1
        });
        self.names.push(name);
        self.values.push(value as u8);
    }

    /// Names that have more than one variant.
    pub fn varying(&self) -> usize {
        let mut counts = vec![0u32; self.keys.len()];
        self.names.iter().for_each(|name| counts[*name as usize] += 1);
        counts.iter().filter(|count| **count > 1).count()
    }

    /// What each value costs, over requests given as object and size.
    pub fn costs(&self, requests: impl Iterator<Item = (u32, u64)>) -> Vec<Cost> {
        let cost = |label: &String| Cost { value: label.clone(), ..Cost::default() };
        let mut costs: Vec<Cost> = self.labels.iter().map(cost).collect();
        let mut seen = vec![false; self.names.len()];
        let mut named = vec![false; self.keys.len()];
        for (object, size) in requests {
            let object = object as usize;
            let cost = &mut costs[usize::from(self.values[object])];
            cost.requests += 1;
            let known = std::mem::replace(&mut named[self.names[object] as usize], true);
            if !std::mem::replace(&mut seen[object], true) && known {
                cost.extra_misses += 1;
                cost.extra_bytes += size;
            }
        }
        costs
    }
}
