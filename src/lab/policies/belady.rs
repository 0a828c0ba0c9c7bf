//! What a cache that knows the future would do.
//!
//! [`Belady`] is a feasible schedule: it evicts what has the largest product of size and
//! time to its next use, out of 64 residents drawn with a fixed seed, and lets a newcomer
//! pass by that is itself the largest. [`bound`] is a true lower bound of the miss ratio
//! that need not be reachable (PFOO-L; Berger and others, SIGMETRICS 2018): each reuse
//! needs its bytes for its span, and the cheapest ones share the whole room over the
//! whole time.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Gone, Policy};
use crate::lab::trace::{Request, Trace};

const NEVER: u32 = u32::MAX;
const SAMPLE: usize = 64;

/// For each request, the index of the next one for the same object.
fn next_uses(trace: &Trace) -> Vec<u32> {
    let mut next = vec![NEVER; trace.requests.len()];
    let mut last = vec![NEVER; trace.objects()];
    for (at, request) in trace.requests.iter().enumerate().rev() {
        next[at] = std::mem::replace(&mut last[request.object as usize], at as u32);
    }
    next
}

#[derive(Clone, Copy)]
struct State {
    next: u32,
    size: u64,
    hits: u32,
    /// Place among the residents.
    place: u32,
}

pub(super) struct Belady {
    next: Vec<u32>,
    at: usize,
    states: Vec<State>,
    residents: Vec<u32>,
    capacity: u64,
    used: u64,
    random: SmallRng,
}

impl Belady {
    pub(super) fn new(capacity: u64, trace: &Trace) -> Self {
        Belady {
            next: next_uses(trace),
            at: 0,
            states: vec![State { next: NEVER, size: 0, hits: 0, place: NEVER }; trace.objects()],
            residents: Vec::new(),
            capacity,
            used: 0,
            random: SmallRng::seed_from_u64(1),
        }
    }

    fn cost(&self, object: u32) -> u128 {
        let state = &self.states[object as usize];
        u128::from(state.next) * u128::from(state.size)
            - u128::from(state.size) * (self.at as u128).min(u128::from(state.next))
    }

    /// The costliest of a sample, and of all if there are few.
    fn costliest(&mut self) -> Option<u32> {
        let count = self.residents.len();
        if count <= SAMPLE {
            return self.residents.iter().copied().max_by_key(|object| self.cost(*object));
        }
        let drawn: [u32; SAMPLE] =
            std::array::from_fn(|_| self.residents[self.random.random_range(0..count)]);
        drawn.into_iter().max_by_key(|object| self.cost(*object))
    }

    fn remove(&mut self, object: u32) -> Gone {
        let State { size, hits, place, .. } = self.states[object as usize];
        self.residents.swap_remove(place as usize);
        if let Some(moved) = self.residents.get(place as usize) {
            self.states[*moved as usize].place = place;
        }
        self.states[object as usize].place = NEVER;
        self.used -= size;
        Gone { object, size, hits }
    }
}

impl Policy for Belady {
    fn access(&mut self, request: &Request, gone: &mut Vec<Gone>) -> bool {
        let object = request.object;
        let next = self.next[self.at];
        self.at += 1;
        let state = &mut self.states[object as usize];
        state.next = next;
        let hit = state.place != NEVER;
        if hit {
            state.hits += 1;
            return true;
        }
        if next == NEVER || request.size > self.capacity {
            gone.push(Gone { object, size: request.size, hits: 0 });
            return false;
        }
        (state.size, state.hits, state.place) = (request.size, 0, self.residents.len() as u32);
        self.residents.push(object);
        self.used += request.size;
        while self.used > self.capacity {
            let Some(victim) = self.costliest() else { break };
            // The newcomer may not be in the sample, and may be the worst of all.
            let victim = if self.states[object as usize].place != NEVER
                && self.cost(object) >= self.cost(victim)
            {
                object
            } else {
                victim
            };
            let victim = self.remove(victim);
            gone.push(victim);
        }
        false
    }
}

/// A lower bound of the object and of the byte miss ratio of any cache of `capacity`
/// bytes, knowing the future or not.
pub fn bound(trace: &Trace, capacity: u64) -> (f64, f64) {
    let mut reuses: Vec<(u128, u64)> = next_uses(trace)
        .into_iter()
        .enumerate()
        .filter(|(_, next)| *next != NEVER)
        .map(|(at, next)| {
            let size = trace.requests[at].size;
            (u128::from(size) * u128::from(next - at as u32), size)
        })
        .filter(|(_, size)| *size <= capacity)
        .collect();
    let room = u128::from(capacity) * trace.requests.len() as u128;
    reuses.sort_unstable();
    let fits = |room: u128, reuses: &[(u128, u64)]| {
        let (mut used, mut count, mut bytes) = (0, 0u64, 0u64);
        for (cost, size) in reuses {
            used += cost;
            if used > room {
                break;
            }
            count += 1;
            bytes += size;
        }
        (count, bytes)
    };
    let hits = fits(room, &reuses).0;
    // By byte, each reuse is worth its size, so the shortest spans come first.
    reuses.sort_unstable_by_key(|(cost, size)| cost / u128::from((*size).max(1)));
    let bytes = fits(room, &reuses).1;
    let requests = trace.requests.len().max(1) as f64;
    (1.0 - hits as f64 / requests, 1.0 - bytes as f64 / trace.bytes().max(1) as f64)
}
