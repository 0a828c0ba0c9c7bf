//! The purge ledger: which stored answers a purge has overtaken.
//!
//! Every purge has a sequence number. An entry remembers the number at which its request
//! was sent (`seq`) and the last one it was judged at (`checked_seq`). A lookup compares
//! one integer; only when the ledger has moved does it look the entry's URL, host, path
//! and tags up in exact maps, once, and remembers. So a purge of a million objects takes
//! effect by storing one number, and a purge during a fetch dooms the result.
//!
//! ```text
//! layers, oldest first:   [ 8192 purges ][ 1024 ][ 64 ][ 8 ][ 1 ]
//! ```
//! Readers take no lock: the layers hang on one swapped pointer. A new purge becomes a
//! layer of its own and layers of like size are merged, so that adding one is cheap on
//! average, and an entry judged lately only meets the small young layers.
//!
//! *Forgetting.* After a sweep of all tiers has judged every entry, purges up to there are
//! forgotten and `floor` says so. An entry that was never judged at or after the floor (a
//! fetch that outlived a whole sweep) is gone: its judgement is no longer known. By the
//! same rule the ledger may forget without a sweep when it is full; that costs hits,
//! never correctness. Order of publication: layers, then `seq`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::entry::Entry;
use super::ledger_layer::{Layer, Marks};
use super::purge::{ITEMS_MAX, Purge, PurgeError, Subject, What};

/// Purges kept before the oldest half is forgotten unswept.
pub const PURGES_MAX: usize = 200_000;
/// Patterns kept; each one is run for each entry that is judged, so they are few.
pub const PATTERNS_MAX: usize = 256;
/// Purges remembered for `explain` and the list of purges after they were forgotten.
const RECENT_MAX: usize = 512;

/// What the ledger says of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No purge since it was asked for.
    Live,
    /// Soft-purged: usable as a stale answer only.
    Stale,
    /// Purged: must not be used, should be dropped.
    Gone,
}

/// The ledger in memory.
#[derive(Debug, Default)]
pub struct Ledger {
    seq: AtomicU64,
    state: ArcSwap<State>,
    one_writer: Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Oldest first; sequence numbers of neighbours do not overlap.
    layers: Vec<Arc<Layer>>,
    /// Purges up to here are forgotten.
    floor: u64,
    /// Newest last.
    recent: VecDeque<Arc<Purge>>,
}

impl Ledger {
    /// An empty ledger at sequence number zero.
    pub fn new() -> Self {
        Ledger::default()
    }

    /// The ledger as a file kept it: the newest number given out, the number up to which
    /// purges were forgotten, and the purges after that.
    pub fn restore(seq: u64, floor: u64, purges: Vec<Purge>) -> Self {
        let ledger = Ledger::new();
        ledger.state.store(Arc::new(State { floor, ..State::default() }));
        ledger.seq.store(floor, Ordering::Release);
        ledger.apply(purges);
        ledger.seq.fetch_max(seq, Ordering::AcqRel);
        ledger
    }

    /// The number of the newest purge. A fetch notes it when its request is sent.
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    /// Purges up to this number are forgotten.
    pub fn floor(&self) -> u64 {
        self.state.load().floor
    }

    /// Judges `entry`: one integer compare unless a purge came since it was last judged.
    pub fn verdict(&self, entry: &Entry) -> Verdict {
        // In this order: whoever wrote the mark had read a sequence number before, so the
        // one read here is not older.
        let checked = entry.checked_seq.load(Ordering::Acquire);
        let seq = self.seq.load(Ordering::Acquire);
        if checked == seq && entry.seq <= seq {
            return if entry.is_soft_purged() { Verdict::Stale } else { Verdict::Live };
        }
        self.judge(entry, checked.max(entry.seq), seq)
    }

    #[cold]
    fn judge(&self, entry: &Entry, since: u64, seq: u64) -> Verdict {
        let state = self.state.load();
        // Later than now: it comes from another ledger's numbering, so nothing is known.
        if since < state.floor || since > seq {
            return Verdict::Gone;
        }
        let Some(subject) = Subject::of(&entry.key, &entry.tags) else { return Verdict::Gone };
        let marks = state.marks(&subject, since);
        if marks.hard > since {
            return Verdict::Gone;
        }
        let stale = marks.soft > since || entry.is_soft_purged();
        if stale {
            entry.soft_purged.store(true, Ordering::Release);
        }
        entry.checked_seq.fetch_max(seq, Ordering::AcqRel);
        if stale { Verdict::Stale } else { Verdict::Live }
    }

    /// Judges what is known of an answer without an entry in memory (an index of the disk
    /// tier, a fetch on its way), asked for or judged last at `since`.
    pub fn verdict_of(&self, key: &[u8], tags: &[Box<str>], since: u64) -> Verdict {
        let seq = self.seq();
        let state = self.state.load();
        let Some(subject) = Subject::of(key, tags) else { return Verdict::Gone };
        if since < state.floor || since > seq {
            return Verdict::Gone;
        }
        let marks = state.marks(&subject, since);
        match (marks.hard > since, marks.soft > since) {
            (true, _) => Verdict::Gone,
            (false, true) => Verdict::Stale,
            (false, false) => Verdict::Live,
        }
    }

    /// Whether `whats` may be added now.
    pub fn accepts(&self, whats: &[What]) -> Result<(), PurgeError> {
        if whats.len() > ITEMS_MAX {
            return Err(PurgeError::TooMany { got: whats.len(), max: ITEMS_MAX });
        }
        let patterns = |what: &What| matches!(what, What::Pattern(_));
        let new = whats.iter().filter(|what| patterns(what)).count();
        let known: usize = self.state.load().layers.iter().map(|layer| layer.patterns()).sum();
        if new > 0 && known + new > PATTERNS_MAX {
            return Err(PurgeError::TooMany { got: known + new, max: PATTERNS_MAX });
        }
        Ok(())
    }

    /// Gives the next numbers to `whats` without applying them: the caller makes the
    /// purges durable first. One caller at a time.
    pub fn number(&self, whats: Vec<What>, soft: bool, wall_ms: u64) -> Vec<Purge> {
        let first = self.seq() + 1;
        let numbered = whats.into_iter().zip(first..);
        numbered.map(|(what, seq)| Purge { seq, wall_ms, soft, what }).collect()
    }

    /// Takes purges into effect, in order of their numbers; those not newer than the
    /// ledger are ignored, so a replay is harmless. Returns the newest number.
    pub fn apply(&self, purges: Vec<Purge>) -> u64 {
        let _writer = self.one_writer.lock();
        let mut newest = self.seq();
        let mut fresh: Vec<Arc<Purge>> = Vec::with_capacity(purges.len());
        for purge in purges {
            if purge.seq > newest {
                newest = purge.seq;
                fresh.push(Arc::new(purge));
            }
        }
        if fresh.is_empty() {
            return newest;
        }
        let mut state = State::clone(&self.state.load());
        state.recent.extend(fresh.iter().cloned());
        let surplus = state.recent.len().saturating_sub(RECENT_MAX);
        state.recent.drain(..surplus);
        state.push(fresh);
        self.state.store(Arc::new(state));
        self.seq.store(newest, Ordering::Release);
        newest
    }

    /// Forgets purges up to `upto`, after a sweep that began at or after that number has
    /// judged every stored entry with [`Ledger::verdict`] and dropped what was gone.
    pub fn forget(&self, upto: u64) {
        let _writer = self.one_writer.lock();
        let mut state = State::clone(&self.state.load());
        state.forget(upto.min(self.seq()));
        self.state.store(Arc::new(state));
    }

    /// Purges not forgotten yet.
    pub fn len(&self) -> usize {
        self.state.load().layers.iter().map(|layer| layer.purges().len()).sum()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The purges not forgotten, oldest first: what a compacted ledger file must hold.
    pub fn kept(&self) -> Vec<Arc<Purge>> {
        self.state.load().layers.iter().flat_map(|layer| layer.purges().iter().cloned()).collect()
    }

    /// The last few hundred purges after number `since`, oldest first.
    pub fn recent(&self, since: u64) -> Vec<Arc<Purge>> {
        let state = self.state.load();
        state.recent.iter().filter(|purge| purge.seq > since).cloned().collect()
    }

    /// The newest remembered purge that matches, for `explain`.
    pub fn last_match(&self, subject: &Subject<'_>) -> Option<Arc<Purge>> {
        let state = self.state.load();
        state.recent.iter().rev().find(|purge| purge.what.matches(subject)).cloned()
    }
}

impl State {
    /// The newest hard and soft purge after `since` that hits `subject`.
    fn marks(&self, subject: &Subject<'_>, since: u64) -> Marks {
        let mut marks = Marks::default();
        for layer in self.layers.iter().rev() {
            if layer.newest() <= since {
                break;
            }
            marks.join(layer.marks(subject, since));
        }
        marks
    }

    fn push(&mut self, mut purges: Vec<Arc<Purge>>) {
        while let Some(older) = self.layers.pop_if(|older| older.purges().len() <= purges.len()) {
            let mut both = older.purges().to_vec();
            both.append(&mut purges);
            purges = both;
        }
        self.layers.push(Arc::new(Layer::new(purges)));
        let kept: usize = self.layers.iter().map(|layer| layer.purges().len()).sum();
        if kept > PURGES_MAX {
            let all: Vec<_> = self.layers.iter().flat_map(|layer| layer.purges()).collect();
            if let Some(middle) = all.get(kept / 2).map(|purge| purge.seq) {
                self.forget(middle);
            }
        }
    }

    fn forget(&mut self, upto: u64) {
        self.floor = self.floor.max(upto);
        let layers = std::mem::take(&mut self.layers);
        for layer in layers {
            if layer.purges().first().is_some_and(|first| first.seq > upto) {
                self.layers.push(layer);
                continue;
            }
            let kept: Vec<_> =
                layer.purges().iter().filter(|purge| purge.seq > upto).cloned().collect();
            if !kept.is_empty() {
                self.layers.push(Arc::new(Layer::new(kept)));
            }
        }
    }
}
