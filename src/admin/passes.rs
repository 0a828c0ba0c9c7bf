//! One pass over a tier: judge everything, drop what is gone, count for the callers.
//! Both block and run off the event loop.

use xxhash_rust::xxh3::xxh3_64;

use super::sweep::{Job, Sweeper};
use crate::rules::entry::{Entry, Slot};
use crate::rules::ledger::Verdict;
use crate::store::Keep;
use crate::telemetry::Count;

impl Sweeper {
    /// Passes over the memory tier. Returns the ledger's number that everything in it has
    /// been judged at, unless this was only a count.
    pub(super) fn memory_pass(&self, jobs: &mut [Job]) -> Option<u64> {
        let handles = &self.inner.handles;
        let ledger = &handles.ledger;
        let upto = ledger.seq();
        let remember = handles.disk.is_some();
        let judges = jobs.is_empty() || jobs.iter().any(|job| !job.is_dry());
        let (mut freed, mut bytes) = (0u64, 0u64);
        handles.memory.for_each(&mut |slot: &Slot| {
            for entry in &slot.variants {
                for job in jobs.iter_mut() {
                    job.look(entry, remember);
                }
            }
            if !judges {
                return Keep::Whole;
            }
            let gone = |entry: &Entry| ledger.verdict(entry) == Verdict::Gone;
            let doomed = slot.variants.iter().filter(|entry| gone(entry)).count();
            if doomed == 0 {
                return Keep::Whole;
            }
            for entry in slot.variants.iter().filter(|entry| gone(entry)) {
                self.dropped(|job| {
                    job.look(entry, remember);
                });
            }
            let mut kept = slot.clone();
            kept.variants.retain(|entry| !gone(entry));
            freed += doomed as u64;
            bytes += slot.weight().saturating_sub(kept.weight());
            if kept.variants.is_empty() { Keep::Nothing } else { Keep::Only(kept) }
        });
        self.freed(freed, bytes);
        judges.then_some(upto)
    }

    /// Passes over the disk tier. Whether everything there has been judged, durably.
    pub(super) fn disk_pass(&self, jobs: &mut [Job]) -> bool {
        let handles = &self.inner.handles;
        let Some(disk) = &handles.disk else { return true };
        let count = |jobs: &mut [Job], key: &[u8], tags: &[Box<str>], since, bytes| {
            for job in jobs {
                if job.hits(key, tags, since) && !job.seen.contains(&xxh3_64(key)) {
                    job.count(bytes);
                }
            }
        };
        if !jobs.is_empty() {
            disk.walk(&mut |facts, bytes| {
                count(jobs, facts.key, &facts.tags, facts.since, bytes);
                true
            });
            if jobs.iter().all(Job::is_dry) {
                return false;
            }
        }
        let upto = handles.ledger.seq();
        let report = disk.sweep(upto, &mut |facts| {
            handles.ledger.verdict_of(facts.key, &facts.tags, facts.since)
        });
        self.freed(report.dropped, report.bytes);
        report.complete
    }

    fn freed(&self, objects: u64, bytes: u64) {
        let counters = &self.inner.handles.telemetry.counters;
        counters.add(Count::PurgeFreed, objects);
        counters.add(Count::PurgeFreedBytes, bytes);
    }
}

impl Job {
    fn look(&mut self, entry: &Entry, remember: bool) {
        if self.hits(&entry.key, &entry.tags, entry.seq) {
            self.count(entry.weight());
            if remember {
                self.seen.insert(xxh3_64(&entry.key));
            }
        }
    }

    fn hits(&self, key: &[u8], tags: &[Box<str>], seq: u64) -> bool {
        (self.is_dry() || seq < self.seq) && self.tester.verdict_of(key, tags, 0) == Verdict::Gone
    }

    fn count(&self, bytes: u64) {
        let mut found = self.found.lock();
        found.matched += 1;
        if !self.soft {
            found.freed_bytes += bytes;
        }
    }
}
