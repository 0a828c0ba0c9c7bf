//! Who goes first: the rounded greedy-dual order (CAMP).
//!
//! Greedy-dual gives an object the priority `H = L + worth`, where `worth` is hits per
//! byte (or just hits) and `L`, the floor, rises to the priority of whatever is evicted,
//! so that an object nobody asks for sinks to the bottom by itself. The exact form needs
//! a heap. Rounding the worth down to two bits below its leading one leaves at most 256
//! distinct values, usually 40 to 80 alive; with one list for each value, and the floor
//! never falling, every list is sorted by itself and the least priority is at the tail
//! of one of them. So a hit is one list move and a victim one look at each live list,
//! with the miss ratio of the exact form within a third of a point.
//!
//! Nodes live in one vector and link by index: no pointers, no allocation a node.

/// What the order maximises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Hits by request: worth is hits per byte.
    Objects,
    /// Hits by byte: worth is hits.
    Bytes,
}

/// No node: the end of a list.
pub(super) const NIL: u32 = u32::MAX;

/// The list of the probation queue, beyond all lists of worths.
pub(super) const PROBATION: u8 = u8::MAX;

/// One resident. Aligned, so that a hit waits for one line of memory and not for two.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Node<V> {
    /// High half, then low half of the key. Two words, as `u128` would pad the node.
    pub(super) key: [u64; 2],
    pub(super) priority: u64,
    prev: u32,
    next: u32,
    /// Bytes, in three pieces: with 48 bits a node and a slot of the memory tier fill 64
    /// bytes, one line of the processor's cache.
    weight: [u16; 3],
    /// Times it was asked for while here, the first included; stops at 255.
    pub(super) hits: u8,
    pub(super) list: u8,
    pub(super) value: V,
}

impl<V> Node<V> {
    /// Bytes.
    pub(super) fn weight(&self) -> u64 {
        let [low, middle, high] = self.weight.map(u64::from);
        low | middle << 16 | high << 32
    }

    /// Sets the bytes, 256 TiB at most, and returns the old ones.
    pub(super) fn set_weight(&mut self, weight: u64) -> u64 {
        let old = self.weight();
        self.weight = pieces(weight);
        old
    }
}

fn pieces(weight: u64) -> [u16; 3] {
    let weight = weight.min((1 << 48) - 1);
    [weight as u16, (weight >> 16) as u16, (weight >> 32) as u16]
}

/// All nodes and all lists.
#[derive(Debug)]
pub(super) struct Order<V> {
    pub(super) nodes: Vec<Node<V>>,
    free: Vec<u32>,
    heads: Box<[u32; 256]>,
    tails: Box<[u32; 256]>,
    /// One bit for each list that is not empty, the probation queue excepted.
    live: [u64; 4],
    /// The floor `L`.
    pub(super) floor: u64,
    goal: Goal,
}

impl<V: Default> Order<V> {
    pub(super) fn new(goal: Goal) -> Self {
        Order {
            nodes: Vec::new(),
            free: Vec::new(),
            heads: Box::new([NIL; 256]),
            tails: Box::new([NIL; 256]),
            live: [0; 4],
            floor: 0,
            goal,
        }
    }

    pub(super) fn goal(&self) -> Goal {
        self.goal
    }

    /// Bytes of the nodes' bookkeeping, values excluded.
    pub(super) fn bytes(&self) -> usize {
        self.nodes.capacity() * (size_of::<Node<V>>() - size_of::<V>())
            + self.free.capacity() * size_of::<u32>()
    }

    /// A node in no list yet.
    pub(super) fn add(&mut self, key: [u64; 2], weight: u64, value: V) -> u32 {
        let weight = pieces(weight);
        let node = Node { key, priority: 0, prev: NIL, next: NIL, weight, hits: 1, list: 0, value };
        if let Some(index) = self.free.pop() {
            self.nodes[index as usize] = node;
            return index;
        }
        assert!(self.nodes.len() < NIL as usize, "a shard holds fewer than 2^32 objects");
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    /// Gives up a node that is in no list and returns its value.
    pub(super) fn release(&mut self, index: u32) -> V {
        self.free.push(index);
        std::mem::take(&mut self.nodes[index as usize].value)
    }

    /// The list and the rounded worth of an object with this frequency and weight.
    pub(super) fn worth(&self, frequency: u8, weight: u64) -> (u8, u64) {
        let frequency = u64::from(frequency.max(1));
        let exact = match self.goal {
            Goal::Objects => (frequency << 32) / weight.max(1),
            Goal::Bytes => frequency << 16,
        };
        round(exact.max(1))
    }

    /// Files the node under its worth at the current floor, in front.
    pub(super) fn file(&mut self, index: u32, frequency: u8) {
        let (list, worth) = self.worth(frequency, self.nodes[index as usize].weight());
        self.nodes[index as usize].priority = self.floor.saturating_add(worth);
        self.push_front(index, list);
    }

    /// A hit: files the node anew unless it would rise by less than an eighth of its worth.
    /// What is asked for all the time then moves as often as the floor rises by that much,
    /// and not with every hit; the order among near equals is all that it loses.
    pub(super) fn refile(&mut self, index: u32, frequency: u8) {
        let node = &self.nodes[index as usize];
        let (list, worth) = self.worth(frequency, node.weight());
        let priority = self.floor.saturating_add(worth);
        if node.list == list && priority - node.priority.min(priority) <= worth >> 3 {
            return;
        }
        self.unlink(index);
        self.nodes[index as usize].priority = priority;
        self.push_front(index, list);
    }

    /// The node with the least priority.
    pub(super) fn least(&self) -> Option<u32> {
        let mut least = (u64::MAX, NIL);
        for (word, bits) in self.live.iter().enumerate() {
            let mut bits = *bits;
            while bits != 0 {
                let tail = self.tails[word * 64 + bits.trailing_zeros() as usize];
                let priority = self.nodes[tail as usize].priority;
                if priority < least.0 || least.1 == NIL {
                    least = (priority, tail);
                }
                bits &= bits - 1;
            }
        }
        (least.1 != NIL).then_some(least.1)
    }

    /// The oldest node of the probation queue.
    pub(super) fn oldest_on_probation(&self) -> Option<u32> {
        let tail = self.tails[usize::from(PROBATION)];
        (tail != NIL).then_some(tail)
    }

    /// Puts the node at the young end of a list.
    pub(super) fn push_front(&mut self, index: u32, list: u8) {
        let head = self.heads[usize::from(list)];
        let node = &mut self.nodes[index as usize];
        (node.list, node.prev, node.next) = (list, NIL, head);
        match head {
            NIL => self.tails[usize::from(list)] = index,
            _ => self.nodes[head as usize].prev = index,
        }
        self.heads[usize::from(list)] = index;
        self.mark(list, true);
    }

    /// Puts back a node that was the tail of its list and has just been taken out.
    pub(super) fn restore(&mut self, index: u32) {
        let list = self.nodes[index as usize].list;
        let tail = self.tails[usize::from(list)];
        let node = &mut self.nodes[index as usize];
        (node.prev, node.next) = (tail, NIL);
        match tail {
            NIL => self.heads[usize::from(list)] = index,
            _ => self.nodes[tail as usize].next = index,
        }
        self.tails[usize::from(list)] = index;
        self.mark(list, true);
    }

    /// Takes a node out of its list.
    pub(super) fn unlink(&mut self, index: u32) {
        let Node { prev, next, list, .. } = self.nodes[index as usize];
        match prev {
            NIL => self.heads[usize::from(list)] = next,
            _ => self.nodes[prev as usize].next = next,
        }
        match next {
            NIL => self.tails[usize::from(list)] = prev,
            _ => self.nodes[next as usize].prev = prev,
        }
        if self.heads[usize::from(list)] == NIL {
            self.mark(list, false);
        }
    }

    fn mark(&mut self, list: u8, live: bool) {
        if list == PROBATION {
            return;
        }
        let bit = 1u64 << (list % 64);
        let word = &mut self.live[usize::from(list / 64)];
        *word = if live { *word | bit } else { *word & !bit };
    }
}

/// Rounds down to the leading one and two bits below it; returns the list as well. The
/// largest worth, 255 hits of one byte, is below 2^40, so no list reaches 165.
fn round(worth: u64) -> (u8, u64) {
    let exponent = 63 - worth.leading_zeros();
    if exponent < 2 {
        return (worth as u8, worth);
    }
    let shift = exponent - 2;
    let kept = worth >> shift;
    ((exponent * 4 + (kept as u32 & 3)) as u8, kept << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_keeps_the_order_and_loses_less_than_a_quarter() {
        let mut last = (0, 0);
        for worth in (1..5_000).chain((33..40).map(|shift| 255 << (shift - 8))) {
            let (list, rounded) = round(worth);
            assert!(rounded <= worth && worth < rounded + rounded.div_ceil(4).max(1));
            assert!((list, rounded) >= last);
            last = (list, rounded);
        }
    }

    #[test]
    fn the_least_priority_leaves_first_and_equal_ones_in_order_of_age() {
        let mut order: Order<u8> = Order::new(Goal::Objects);
        for (n, weight) in [(0, 1000), (1, 10), (2, 1000)] {
            let index = order.add([0, n], weight, n as u8);
            order.file(index, 1);
        }
        let mut left = Vec::new();
        while let Some(index) = order.least() {
            order.unlink(index);
            left.push(order.release(index));
        }
        assert_eq!(left, [0, 2, 1]);
    }
}
