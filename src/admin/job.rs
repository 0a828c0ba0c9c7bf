//! Purge calls on their way through the tiers: what they match, and what was found so far.
//!
//! Calls that share a pass are asked about an entry only if any of them wants it, which one
//! look into a ledger of all their items tells: a pass costs the same for one call as for
//! a thousand.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_64;

use crate::rules::entry::Entry;
use crate::rules::ledger::{Ledger, Verdict};
use crate::rules::pieces;
use crate::rules::purge::What;

/// What passes found for one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Found {
    /// Stored answers the call's items match.
    pub(super) matched: u64,
    /// Bytes freed (would be, in a dry run; zero for a soft purge).
    pub(super) freed_bytes: u64,
    /// Whether every tier has been looked through.
    pub(super) swept: bool,
}

/// One call on its way through the tiers.
pub(super) struct Job {
    /// Number of its last item; zero counts what would be purged and changes nothing.
    pub(super) seq: u64,
    soft: bool,
    whats: Vec<What>,
    /// The call's items in a ledger of their own: exact maps instead of a list.
    tester: Ledger,
    /// Hashes of the keys found in memory, so that the disk's copies count once.
    seen: HashSet<u64>,
    found: Arc<Mutex<Found>>,
    done: oneshot::Sender<()>,
}

/// A call's count while it grows.
pub(super) struct Counting {
    found: Arc<Mutex<Found>>,
    done: oneshot::Receiver<()>,
}

impl Counting {
    /// Waits for the passes, at most `wait`, and says what was found by then.
    pub(super) async fn wait(self, wait: Duration) -> Found {
        let _ = tokio::time::timeout(wait, self.done).await;
        *self.found.lock()
    }
}

/// What a number of calls want. Asking takes no lock.
#[derive(Clone, Default)]
pub(super) struct AnyOf(Arc<Ledger>);

impl AnyOf {
    /// One more call.
    pub(super) fn add(&self, job: &Job) {
        self.0.apply(self.0.number(job.whats.clone(), false, 0));
    }

    /// Whether one of them may want this.
    pub(super) fn wants(&self, key: &[u8], tags: &[Box<str>]) -> bool {
        self.0.verdict_of(key, tags, 0) == Verdict::Gone
    }
}

fn tester<'a>(whats: impl Iterator<Item = &'a What>) -> Ledger {
    let tester = Ledger::new();
    tester.apply(tester.number(whats.cloned().collect(), false, 0));
    tester
}

impl Job {
    pub(super) fn new(whats: Vec<What>, seq: u64, soft: bool) -> (Job, Counting) {
        let tester = tester(whats.iter());
        let (sender, done) = oneshot::channel();
        let found = Arc::new(Mutex::new(Found::default()));
        let own = found.clone();
        let seen = HashSet::new();
        let job = Job { seq, soft, whats, tester, seen, found: own, done: sender };
        (job, Counting { found, done })
    }

    /// What any of `jobs` may want.
    pub(super) fn all<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> AnyOf {
        let any = AnyOf::default();
        jobs.into_iter().for_each(|job| any.add(job));
        any
    }

    /// Counts nothing but what would be purged.
    pub(super) fn is_dry(&self) -> bool {
        self.seq == 0
    }

    /// What was found so far.
    pub(super) fn found(&self) -> Found {
        *self.found.lock()
    }

    /// The call is through every tier: tells who waits for it.
    pub(super) fn finish(self) {
        self.found.lock().swept = true;
        // The caller may have stopped waiting.
        let _ = self.done.send(());
    }

    /// Counts an entry of the memory tier if it is one of the call's; `remember` it if the
    /// disk tier is looked through next.
    pub(super) fn look(&mut self, entry: &Entry, remember: bool) {
        if self.hits(&entry.key, &entry.tags, entry.seq) {
            self.count(&entry.key, entry.weight());
            if remember {
                self.seen.insert(xxh3_64(&entry.key));
            }
        }
    }

    /// Counts a record of the disk tier unless its copy in memory was counted.
    pub(super) fn look_on_disk(&mut self, key: &[u8], tags: &[Box<str>], seq: u64, bytes: u64) {
        if self.hits(key, tags, seq) && !self.seen.contains(&xxh3_64(key)) {
            self.count(key, bytes);
        }
    }

    fn hits(&self, key: &[u8], tags: &[Box<str>], seq: u64) -> bool {
        (self.is_dry() || seq < self.seq) && self.tester.verdict_of(key, tags, 0) == Verdict::Gone
    }

    /// A piece counts with its bytes alone: the answer it belongs to is its manifest.
    fn count(&self, key: &[u8], bytes: u64) {
        let mut found = self.found.lock();
        found.matched += u64::from(!pieces::is_piece(key));
        if !self.soft {
            found.freed_bytes += bytes;
        }
    }
}
