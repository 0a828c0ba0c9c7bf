//! Greedy-dual size frequency (Cherkasova, HP Labs 1998), exact, with an ordered set.
//!
//! With the all-victims test in front, as libCacheSim has it and the figures this is
//! compared with were made: a newcomer that ranks below what it would displace is not
//! let in.

use std::collections::BTreeSet;

use super::{Gone, Policy};
use crate::lab::trace::Request;

#[derive(Clone, Copy, Default)]
struct State {
    priority: f64,
    size: u64,
    frequency: u32,
    here: bool,
}

pub(super) struct Gdsf {
    states: Vec<State>,
    /// By the bits of the priority, which is positive, so that they sort as it does.
    order: BTreeSet<(u64, u32)>,
    capacity: u64,
    used: u64,
    floor: f64,
}

impl Gdsf {
    pub(super) fn new(capacity: u64, objects: usize) -> Self {
        Gdsf {
            states: vec![State::default(); objects],
            order: BTreeSet::new(),
            capacity,
            used: 0,
            floor: 0.0,
        }
    }

    fn priority(&self, frequency: u32, size: u64) -> f64 {
        self.floor + f64::from(frequency) * 1e6 / size.max(1) as f64
    }
}

impl Policy for Gdsf {
    fn access(&mut self, request: &Request, gone: &mut Vec<Gone>) -> bool {
        let object = request.object;
        let state = self.states[object as usize];
        if state.here {
            self.order.remove(&(state.priority.to_bits(), object));
            let priority = self.priority(state.frequency + 1, state.size);
            let state = &mut self.states[object as usize];
            (state.priority, state.frequency) = (priority, state.frequency + 1);
            self.order.insert((priority.to_bits(), object));
            return true;
        }
        let refused = Gone { object, size: request.size, hits: 0 };
        if request.size > self.capacity {
            gone.push(refused);
            return false;
        }
        let mine = self.priority(1, request.size);
        let needed = (self.used + request.size).saturating_sub(self.capacity);
        let (mut freed, mut count, mut least) = (0, 0, f64::INFINITY);
        for (bits, victim) in &self.order {
            if freed >= needed || f64::from_bits(*bits) >= mine {
                break;
            }
            least = least.min(f64::from_bits(*bits));
            freed += self.states[*victim as usize].size;
            count += 1;
        }
        if freed < needed {
            self.floor = self.floor.max(least.min(mine));
            gone.push(refused);
            return false;
        }
        for _ in 0..count {
            let Some((bits, victim)) = self.order.pop_first() else { break };
            self.floor = self.floor.max(f64::from_bits(bits));
            let state = &mut self.states[victim as usize];
            state.here = false;
            self.used -= state.size;
            gone.push(Gone { object: victim, size: state.size, hits: state.frequency - 1 });
        }
        let priority = self.priority(1, request.size);
        self.states[object as usize] =
            State { priority, size: request.size, frequency: 1, here: true };
        self.order.insert((priority.to_bits(), object));
        self.used += request.size;
        false
    }
}
