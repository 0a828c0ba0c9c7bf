//! `auto`: shadow caches that find out which settings suit the traffic.
//!
//! No one setting is best everywhere: a history of requests that outlives eviction helps
//! where popularity is stable and hurts where content is replaced often; a queue for
//! newcomers helps with bursts; recency without counting helps a cache that holds nearly
//! everything. So each candidate runs as a small cache without values on a sample of the
//! keys, chosen by hash, with its share of the room. The real cache takes the settings of
//! the one with the most hits lately.
//!
//! The sample is halved whenever the shadows hold more than `YOUNG_RESIDENTS_MAX` keys, and
//! after a while, when the choice has been made often enough, more than
//! `GROWN_RESIDENTS_MAX`, or still a large share of the keys. A small cache is modelled
//! exactly at first, a large one by some hundred keys, and the cost falls with the size of
//! the cache: memory stays under a MiB, and time under a hundredth of that of a request
//! (`benches/hit-ratio.md`). While everything fits there is nothing to choose: the shadows
//! rest until the cache gives something up.
//!
//! Rejected: shadows on a fixed eighth of the keys. With caches of a few hundred objects
//! they chose wrongly (a miss ratio 0.6 points worse on a web trace).

use super::order::Goal;
use super::shelf::{Evicted, Shelf};
use super::tuning::{CANDIDATES, Tuning};

/// Keys a shadow may hold before the sample is halved, at first.
const YOUNG_RESIDENTS_MAX: usize = 4096;
/// And after `YOUNG_WINDOWS` decisions.
const GROWN_RESIDENTS_MAX: usize = 1024;
/// From then on no more than an eighth of the keys, if that leaves enough of them.
const GROWN_HALVINGS: u32 = 3;
const GROWN_RESIDENTS_MIN: usize = 256;
const YOUNG_WINDOWS: u32 = 64;
/// Sampled requests between two decisions.
const WINDOW: u64 = 2048;
/// What earlier hits count for after each decision.
const DECAY: f64 = 0.7;
/// How much better than the present settings others must be to replace them.
const LEAD: f64 = 1.005;

/// The shadow caches and their scores.
#[derive(Debug)]
pub struct Tuner {
    shadows: Vec<Shelf<()>>,
    scores: [f64; CANDIDATES.len()],
    capacity: u64,
    halvings: u32,
    requests: u64,
    windows: u32,
    leader: usize,
    /// Whether a shadow had to give something up since the last decision.
    tight: bool,
    resting: bool,
    discarded: Vec<Evicted<()>>,
}

/// The mask of which no key is in the sample.
const NOTHING: u64 = u64::MAX;

impl Tuner {
    /// Shadows of a cache of `capacity` bytes.
    pub fn new(capacity: u64, goal: Goal) -> Self {
        let shadow = |tuning: &Tuning| Shelf::new(capacity, capacity, goal, *tuning);
        Tuner {
            shadows: CANDIDATES.iter().map(shadow).collect(),
            scores: [0.0; CANDIDATES.len()],
            capacity,
            halvings: 0,
            requests: 0,
            windows: 0,
            leader: 0,
            tight: false,
            resting: false,
            discarded: Vec::new(),
        }
    }

    /// The keys of the sample are those with none of these bits.
    pub fn mask(&self) -> u64 {
        if self.resting { NOTHING } else { (1 << self.halvings) - 1 }
    }

    /// Whether a tuner with this mask rests.
    pub fn rests(mask: u64) -> bool {
        mask == NOTHING
    }

    /// The cache has given something up: from now on there is something to choose.
    pub fn wake(&mut self) {
        self.resting = false;
    }

    /// Whether a key is in the sample of this mask.
    pub fn samples(mask: u64, key: u128) -> bool {
        (key >> 64) as u64 & mask == 0 && mask != NOTHING
    }

    /// The settings in the lead, as an index into [`CANDIDATES`].
    pub fn leader(&self) -> usize {
        self.leader
    }

    /// Bytes of the shadows.
    pub fn overhead(&self) -> usize {
        self.shadows.iter().map(Shelf::overhead).sum()
    }

    /// One request for a sampled key; returns the new settings if the lead changes.
    pub fn observe(&mut self, key: u128, weight: u64) -> Option<Tuning> {
        for (shadow, score) in self.shadows.iter_mut().zip(&mut self.scores) {
            if shadow.get(key).is_some() {
                *score += 1.0;
            } else {
                shadow.put(key, (), weight, &mut self.discarded);
                self.tight |= !self.discarded.is_empty();
                self.discarded.clear();
            }
        }
        self.requests += 1;
        let most = match (self.windows < YOUNG_WINDOWS, self.halvings < GROWN_HALVINGS) {
            (true, _) => YOUNG_RESIDENTS_MAX,
            (false, true) => GROWN_RESIDENTS_MIN,
            (false, false) => GROWN_RESIDENTS_MAX,
        };
        if self.shadows.iter().any(|shadow| shadow.len() > most) {
            self.halve();
        }
        (self.requests >= WINDOW).then(|| self.decide()).flatten()
    }

    fn decide(&mut self) -> Option<Tuning> {
        self.requests = 0;
        self.windows = self.windows.saturating_add(1);
        self.resting = !std::mem::take(&mut self.tight);
        let mut best = self.leader;
        let mut to_beat = self.scores[best] * LEAD;
        for (candidate, score) in self.scores.iter().enumerate() {
            if *score > to_beat {
                (best, to_beat) = (candidate, *score);
            }
        }
        for score in &mut self.scores {
            *score *= DECAY;
        }
        let changed = best != self.leader;
        self.leader = best;
        changed.then(|| CANDIDATES[best])
    }

    fn halve(&mut self) {
        self.halvings += 1;
        let mask = (1 << self.halvings) - 1;
        let capacity = self.capacity >> self.halvings;
        for shadow in &mut self.shadows {
            shadow.resample(capacity, |key| Tuner::samples(mask, key), &mut self.discarded);
            self.discarded.clear();
        }
    }
}
