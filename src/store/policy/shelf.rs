//! One shard of the size-aware cache: table, order, probation queue, admission test.
//!
//! ```text
//!  put --> probation (FIFO, a share of the room, may be nil)
//!              | oldest leaves
//!              v
//!          the test: displace residents of lesser priority, all or none
//!              |                         |
//!              v                         v
//!          main part (rounded           refused: a victim
//!          greedy-dual order) --displaced--> victims
//! ```
//! The test makes a newcomer worth its room: it must outrank *every* resident that would
//! have to go for it. If it cannot, nobody goes, and the floor rises a little so that
//! residents nobody asks for age until somebody can outrank them. That is what keeps one
//! large download from flushing a thousand small files.
//!
//! Single-threaded on purpose: the node puts each shelf behind a short lock, the
//! simulator and the shadow caches use it bare.

use hashbrown::HashTable;

use super::history::History;
use super::order::{Goal, NIL, Order, PROBATION};
use super::tuning::Tuning;

/// What had to go, or was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evicted<V> {
    /// Its key.
    pub key: u128,
    /// What was stored.
    pub value: V,
    /// Bytes.
    pub weight: u64,
    /// Times it was asked for after it was put; at most 254.
    pub hits: u8,
}

/// A cache for one thread.
#[derive(Debug)]
pub struct Shelf<V> {
    table: HashTable<u32>,
    order: Order<V>,
    history: Option<History>,
    tuning: Tuning,
    capacity: u64,
    weight_max: u64,
    main_used: u64,
    probation_used: u64,
    /// Scratch of the admission test, kept to spare the allocation.
    displaced: Vec<u32>,
}

impl<V: Default> Shelf<V> {
    /// An empty shelf for `capacity` bytes that takes nothing heavier than `weight_max`.
    pub fn new(capacity: u64, weight_max: u64, goal: Goal, tuning: Tuning) -> Self {
        Shelf {
            table: HashTable::new(),
            order: Order::new(goal),
            history: None,
            tuning,
            capacity,
            weight_max: weight_max.min(capacity),
            main_used: 0,
            probation_used: 0,
            displaced: Vec::new(),
        }
        .with_history(tuning.history)
    }

    fn with_history(mut self, wanted: bool) -> Self {
        self.history = wanted.then(History::new);
        self
    }

    /// A sketch that knows how often each resident was asked for.
    fn learned(&self) -> History {
        let mut history = History::new();
        let residents = self.table.len();
        for index in &self.table {
            let node = &self.order.nodes[*index as usize];
            history.learn(node.key, node.hits, residents);
        }
        history
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.main_used + self.probation_used
    }

    /// Number of residents.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The value, if it is here, and its weight; counts as a request for it.
    pub fn get(&mut self, key: u128) -> Option<(&V, u64)> {
        let index = self.find(key)?;
        let residents = self.table.len();
        let node = &mut self.order.nodes[index as usize];
        node.hits = node.hits.saturating_add(1);
        let mut frequency = node.hits;
        if let Some(history) = &mut self.history {
            frequency = history.count(node.key, residents);
        }
        if node.list != PROBATION {
            self.order.refile(index, frequency.min(self.tuning.frequency_max));
        }
        let node = &self.order.nodes[index as usize];
        Some((&node.value, node.weight()))
    }

    /// The value without counting a request.
    pub fn peek(&self, key: u128) -> Option<&V> {
        self.find(key).map(|index| &self.order.nodes[index as usize].value)
    }

    /// How often the value was found since it came in, at most 254.
    pub fn hits(&self, key: u128) -> u8 {
        self.find(key).map_or(0, |index| self.order.nodes[index as usize].hits.saturating_sub(1))
    }

    /// Stores a value; what has to go for it is added to `victims`, the value itself if
    /// it is not let in. A value of the same key is replaced and keeps its rank; the old
    /// one and its weight are returned.
    pub fn put(
        &mut self,
        key: u128,
        value: V,
        weight: u64,
        victims: &mut Vec<Evicted<V>>,
    ) -> Option<(V, u64)> {
        if let Some(index) = self.find(key) {
            return Some(self.replace(index, value, weight, victims));
        }
        let halves = halves(key);
        if let Some(history) = &mut self.history {
            history.count(halves, self.table.len());
        }
        if weight > self.weight_max {
            victims.push(Evicted { key, value, weight, hits: 0 });
            return None;
        }
        let index = self.order.add(halves, weight, value);
        let nodes = &self.order.nodes;
        self.table.insert_unique(halves[1], index, |index| nodes[*index as usize].key[1]);
        if weight <= self.probation_max() {
            self.probation_used += weight;
            self.order.push_front(index, PROBATION);
            self.drain_probation(victims);
        } else {
            self.admit(index, victims);
        }
        None
    }

    /// Takes a value out; it is no victim.
    pub fn remove(&mut self, key: u128) -> Option<(V, u64)> {
        let index = self.find(key)?;
        self.detach(index);
        let gone = self.discard(index);
        Some((gone.value, gone.weight))
    }

    /// Empties it and returns what it was, so that the caller drops that outside of locks.
    pub fn take_all(&mut self) -> Self {
        let goal = self.order.goal();
        let empty = Shelf::new(self.capacity, self.weight_max, goal, self.tuning)
            .with_history(self.history.is_some());
        std::mem::replace(self, empty)
    }

    /// Keeps only the keys of a smaller sample, in less room.
    pub(super) fn resample(
        &mut self,
        capacity: u64,
        stays: impl Fn(u128) -> bool,
        victims: &mut Vec<Evicted<V>>,
    ) {
        for place in 0..self.order.nodes.len() {
            let key = whole(self.order.nodes[place].key);
            if !stays(key) {
                self.remove(key);
            }
        }
        self.capacity = capacity;
        self.weight_max = self.weight_max.min(capacity);
        self.drain_probation(victims);
        self.shrink_main(victims);
    }

    /// Changes the settings; what no longer fits is added to `victims`.
    pub fn tune(&mut self, tuning: Tuning, victims: &mut Vec<Evicted<V>>) {
        if tuning == self.tuning {
            return;
        }
        self.tuning = tuning;
        match (tuning.history, self.history.is_some()) {
            (true, false) => self.history = Some(self.learned()),
            (false, true) => self.history = None,
            _ => {}
        }
        self.drain_probation(victims);
        self.shrink_main(victims);
    }

    /// The settings in force.
    pub fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// The keys at the places `from..` of the table of nodes, at most `count` places, for
    /// sweeps in steps; `None` behind the last. Keys given up since show up no more.
    pub fn keys(&self, from: usize, count: usize) -> Option<Vec<u128>> {
        let nodes = self.order.nodes.get(from..).filter(|rest| !rest.is_empty())?;
        let keys = nodes.iter().take(count).map(|node| whole(node.key));
        Some(keys.filter(|key| self.find(*key).is_some()).collect())
    }

    /// Bytes of bookkeeping in use, values and weights excluded.
    pub fn overhead(&self) -> usize {
        self.order.bytes()
            + self.table.capacity() * 8 / 7 * (size_of::<u32>() + 1)
            + self.history.as_ref().map_or(0, History::bytes)
    }

    fn find(&self, key: u128) -> Option<u32> {
        let halves = halves(key);
        let nodes = &self.order.nodes;
        self.table.find(halves[1], |index| nodes[*index as usize].key == halves).copied()
    }

    fn probation_max(&self) -> u64 {
        (u128::from(self.capacity) * u128::from(self.tuning.probation) / 100) as u64
    }

    fn main_max(&self) -> u64 {
        self.capacity - self.probation_max()
    }

    fn frequency(&self, index: u32) -> u8 {
        let node = &self.order.nodes[index as usize];
        let frequency = match &self.history {
            Some(history) => history.estimate(node.key),
            None => node.hits,
        };
        frequency.min(self.tuning.frequency_max)
    }

    fn replace(
        &mut self,
        index: u32,
        value: V,
        weight: u64,
        victims: &mut Vec<Evicted<V>>,
    ) -> (V, u64) {
        let old = std::mem::replace(&mut self.order.nodes[index as usize].value, value);
        let old_weight = self.order.nodes[index as usize].set_weight(weight);
        if self.order.nodes[index as usize].list == PROBATION {
            self.probation_used = self.probation_used - old_weight + weight;
        } else {
            self.main_used = self.main_used - old_weight + weight;
            if weight != old_weight {
                let frequency = self.frequency(index);
                self.order.refile(index, frequency);
            }
        }
        if weight > self.weight_max {
            self.detach(index);
            let gone = self.discard(index);
            victims.push(gone);
        }
        self.drain_probation(victims);
        self.shrink_main(victims);
        (old, old_weight)
    }

    /// Tests what no longer fits into the probation queue.
    fn drain_probation(&mut self, victims: &mut Vec<Evicted<V>>) {
        let max = self.probation_max();
        while self.probation_used > max {
            let Some(index) = self.order.oldest_on_probation() else { break };
            self.detach(index);
            self.admit(index, victims);
        }
    }

    /// Evicts by rank until the main part fits, whoever it hits.
    fn shrink_main(&mut self, victims: &mut Vec<Evicted<V>>) {
        while self.main_used > self.main_max() {
            let Some(index) = self.order.least() else { break };
            self.order.floor = self.order.floor.max(self.order.nodes[index as usize].priority);
            self.detach(index);
            let gone = self.discard(index);
            victims.push(gone);
        }
    }

    /// Lets a node that is in no list into the main part, or makes it a victim.
    fn admit(&mut self, index: u32, victims: &mut Vec<Evicted<V>>) {
        let frequency = self.frequency(index);
        let weight = self.order.nodes[index as usize].weight();
        let room = self.main_max().saturating_sub(self.main_used);
        if weight > self.main_max()
            || (weight > room && !self.displace(weight - room, frequency, weight))
        {
            let gone = self.discard(index);
            victims.push(gone);
            return;
        }
        for index in std::mem::take(&mut self.displaced) {
            let gone = self.discard(index);
            self.main_used -= gone.weight;
            victims.push(gone);
        }
        self.main_used += weight;
        self.order.file(index, frequency);
    }

    /// Takes the residents of least priority out of their lists until `needed` bytes are
    /// free. Under the test, all of them must rank below a newcomer of this frequency
    /// and weight; if one does not, all return to their places.
    fn displace(&mut self, needed: u64, frequency: u8, weight: u64) -> bool {
        let newcomer = self.order.floor.saturating_add(self.order.worth(frequency, weight).1);
        let mut least_seen = u64::MAX;
        let mut freed = 0;
        while freed < needed {
            let Some(index) = self.order.least() else { break };
            let node = &self.order.nodes[index as usize];
            let (priority, weight) = (node.priority, node.weight());
            least_seen = least_seen.min(priority);
            if self.tuning.test && priority >= newcomer {
                break;
            }
            freed += weight;
            self.order.unlink(index);
            self.displaced.push(index);
        }
        if freed >= needed {
            let highest =
                self.displaced.last().map_or(0, |last| self.order.nodes[*last as usize].priority);
            self.order.floor = self.order.floor.max(highest);
            return true;
        }
        while let Some(index) = self.displaced.pop() {
            self.order.restore(index);
        }
        self.order.floor = self.order.floor.max(least_seen.min(newcomer));
        false
    }

    /// Takes a node out of its list and out of the sum of its part.
    fn detach(&mut self, index: u32) {
        self.order.unlink(index);
        let node = &self.order.nodes[index as usize];
        match node.list {
            PROBATION => self.probation_used -= node.weight(),
            _ => self.main_used -= node.weight(),
        }
    }

    /// Takes a node that is in no list out of the table.
    fn discard(&mut self, index: u32) -> Evicted<V> {
        let node = &self.order.nodes[index as usize];
        let (key, weight, hits) = (node.key, node.weight(), node.hits - 1);
        if let Ok(entry) = self.table.find_entry(key[1], |other| *other == index) {
            entry.remove();
        }
        debug_assert!(index != NIL);
        Evicted { key: whole(key), value: self.order.release(index), weight, hits }
    }
}

fn halves(key: u128) -> [u64; 2] {
    [(key >> 64) as u64, key as u64]
}

fn whole(halves: [u64; 2]) -> u128 {
    u128::from(halves[0]) << 64 | u128::from(halves[1])
}
