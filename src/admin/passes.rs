//! One pass over a tier: judge everything, drop what is gone, count for the callers. Both
//! block and run off the event loop.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::handles::Handles;
use super::job::{AnyOf, Job};
use crate::rules::entry::{Entry, Slot};
use crate::rules::ledger::Verdict;
use crate::store::Keep;
use crate::telemetry::Count;

/// How far the running pass over one tier is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    examined: AtomicU64,
    total: AtomicU64,
}

/// A pass as `/v1/purges` and `/v1/stats` show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Shown {
    /// Whether a pass is running.
    pub(super) running: bool,
    /// Keys looked at by this pass, or by the last one.
    pub(super) examined: u64,
    /// Keys there were when it began.
    pub(super) total: u64,
}

impl Shown {
    /// Keys not looked at yet.
    pub(super) fn left(&self) -> u64 {
        if self.running { self.total.saturating_sub(self.examined) } else { 0 }
    }
}

impl Progress {
    fn begin(&self, total: u64) {
        self.examined.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    fn step(&self) {
        self.examined.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn shown(&self, running: bool) -> Shown {
        let examined = self.examined.load(Ordering::Relaxed);
        // What came in during the pass is looked at too.
        let total = self.total.load(Ordering::Relaxed).max(examined);
        Shown { running, examined, total }
    }
}

/// Passes over the memory tier. Returns the ledger's number that everything in it has been
/// judged at, unless this was only a count.
///
/// What calls that came in meanwhile want (`later`) stays for the pass that counts for them:
/// it is purged already, so nobody is shown it. Counting it here instead was tried and
/// rejected: it needs the lock that a new purge takes, a thousand times a pass, and purges
/// then waited for the sweep.
pub(super) fn memory(
    handles: &Handles,
    jobs: &mut [Job],
    progress: &Progress,
    later: &AnyOf,
) -> Option<u64> {
    let ledger = &handles.ledger;
    let upto = ledger.seq();
    let remember = handles.disk.is_some();
    let judges = jobs.is_empty() || jobs.iter().any(|job| !job.is_dry());
    let any = Job::all(&*jobs);
    let (mut freed, mut bytes) = (0u64, 0u64);
    progress.begin(handles.memory.len());
    handles.memory.for_each(&mut |slot: &Slot| {
        progress.step();
        for entry in slot.variants.iter().filter(|entry| any.wants(&entry.key, &entry.tags)) {
            for job in jobs.iter_mut() {
                job.look(entry, remember);
            }
        }
        if !judges {
            return Keep::Whole;
        }
        let gone = |entry: &Entry| {
            ledger.verdict(entry) == Verdict::Gone && !later.wants(&entry.key, &entry.tags)
        };
        let doomed = slot.variants.iter().filter(|entry| gone(entry)).count();
        if doomed == 0 {
            return Keep::Whole;
        }
        let mut kept = slot.clone();
        kept.variants.retain(|entry| !gone(entry));
        freed += doomed as u64;
        bytes += slot.weight().saturating_sub(kept.weight());
        if kept.variants.is_empty() { Keep::Nothing } else { Keep::Only(kept) }
    });
    count(handles, freed, bytes);
    judges.then_some(upto)
}

/// Passes over the disk tier. Whether everything there has been judged, durably.
pub(super) fn disk(handles: &Handles, jobs: &mut [Job], progress: &Progress) -> bool {
    let Some(disk) = &handles.disk else { return true };
    let records = disk.stats().iter().map(|one| one.records).sum::<u64>();
    let judges = jobs.is_empty() || jobs.iter().any(|job| !job.is_dry());
    progress.begin(records * if judges && !jobs.is_empty() { 2 } else { 1 });
    if !jobs.is_empty() {
        let any = Job::all(&*jobs);
        disk.walk(&mut |facts, bytes| {
            progress.step();
            if !any.wants(facts.key, &facts.tags) {
                return true;
            }
            for job in jobs.iter_mut() {
                job.look_on_disk(facts.key, &facts.tags, facts.since, bytes);
            }
            true
        });
        if !judges {
            return false;
        }
    }
    let upto = handles.ledger.seq();
    let report = disk.sweep(upto, &mut |facts| {
        progress.step();
        handles.ledger.verdict_of(facts.key, &facts.tags, facts.since)
    });
    count(handles, report.dropped, report.bytes);
    report.complete
}

fn count(handles: &Handles, objects: u64, bytes: u64) {
    let counters = &handles.telemetry.counters;
    counters.add(Count::PurgeFreed, objects);
    counters.add(Count::PurgeFreedBytes, bytes);
}
