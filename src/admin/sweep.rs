//! Frees what purges have overtaken, counts it, and lets the ledger forget.
//!
//! A purge is in effect before any sweep. One pass over the memory tier judges every
//! entry once, drops what is gone, and counts for every waiting call what its own items
//! match, so ten calls at a time cost one pass. Calls that name only URLs need no pass;
//! a timer makes one now and then so that the ledger stays short.
//!
//! An object that a lookup dropped between purge and pass is not counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::oneshot;

use super::handles::Handles;
use crate::rules::entry::{Entry, Slot};
use crate::rules::ledger::{Ledger, Verdict};
use crate::rules::purge::What;
use crate::store::Keep;

/// How often the ledger is emptied when no call asked for a pass.
const IDLE_PASS_EVERY: Duration = Duration::from_secs(10);
/// Calls served by one pass.
const JOBS_MAX: usize = 64;
/// Reports kept for `/v1/purges`.
const REPORTS_MAX: usize = 256;

/// What a pass found for one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Found {
    /// Stored answers the call's items match.
    pub(super) matched: u64,
    /// Bytes freed (would be, in a dry run; zero for a soft purge).
    pub(super) freed_bytes: u64,
}

/// A call as `/v1/purges` shows it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// Number of its last item.
    pub(super) seq: u64,
    /// When, Unix time in milliseconds.
    pub(super) at_ms: u64,
    /// Token that asked.
    pub(super) who: String,
    /// Items, as asked for, the first few.
    pub(super) items: Vec<String>,
    /// How many items.
    pub(super) items_total: usize,
    /// Marked stale instead of dropped.
    pub(super) soft: bool,
    /// What the sweep found; `None` while it runs.
    pub(super) found: Option<Found>,
}

/// Hands calls to passes.
#[derive(Clone)]
pub(super) struct Sweeper {
    inner: Arc<Inner>,
}

struct Inner {
    handles: Handles,
    waiting: Mutex<Waiting>,
    reports: Mutex<VecDeque<Report>>,
}

#[derive(Default)]
struct Waiting {
    jobs: Vec<Job>,
    running: bool,
}

struct Job {
    seq: u64,
    soft: bool,
    dry: bool,
    /// The call's items in a ledger of their own: exact maps instead of a list.
    tester: Ledger,
    found: Found,
    done: oneshot::Sender<Found>,
}

impl Sweeper {
    pub(super) fn new(handles: &Handles) -> Self {
        let inner = Arc::new(Inner {
            handles: handles.clone(),
            waiting: Mutex::default(),
            reports: Mutex::default(),
        });
        let sweeper = Sweeper { inner };
        let weak = Arc::downgrade(&sweeper.inner);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(IDLE_PASS_EVERY).await;
                let Some(inner) = weak.upgrade() else { return };
                let sweeper = Sweeper { inner };
                if !sweeper.inner.handles.ledger.is_empty() {
                    sweeper.start();
                }
            }
        });
        sweeper
    }

    /// Has the next pass count what `whats` match. `seq` is zero for a dry run.
    pub(super) fn count(&self, whats: Vec<What>, seq: u64, soft: bool) -> oneshot::Receiver<Found> {
        let tester = Ledger::new();
        tester.apply(tester.number(whats, false, 0));
        let (done, receiver) = oneshot::channel();
        let job = Job { seq, soft, dry: seq == 0, tester, found: Found::default(), done };
        self.inner.waiting.lock().jobs.push(job);
        self.start();
        receiver
    }

    /// Remembers a call for `/v1/purges`.
    pub(super) fn report(&self, report: Report) {
        let mut reports = self.inner.reports.lock();
        if reports.len() >= REPORTS_MAX {
            reports.pop_front();
        }
        reports.push_back(report);
    }

    /// Notes what a call found.
    pub(super) fn found(&self, seq: u64, found: Found) {
        let mut reports = self.inner.reports.lock();
        if let Some(report) = reports.iter_mut().rev().find(|report| report.seq == seq) {
            report.found = Some(found);
        }
    }

    /// Calls after number `since`, newest first.
    pub(super) fn reports(&self, since: u64) -> Vec<Report> {
        let reports = self.inner.reports.lock();
        reports.iter().rev().filter(|report| report.seq > since).cloned().collect()
    }

    /// Starts passes unless they run already.
    fn start(&self) {
        {
            let mut waiting = self.inner.waiting.lock();
            if waiting.running {
                return;
            }
            waiting.running = true;
        }
        let sweeper = self.clone();
        tokio::task::spawn_blocking(move || {
            loop {
                let jobs = {
                    let mut waiting = sweeper.inner.waiting.lock();
                    let some = waiting.jobs.len().min(JOBS_MAX);
                    waiting.jobs.drain(..some).collect()
                };
                sweeper.pass(jobs);
                let mut waiting = sweeper.inner.waiting.lock();
                if waiting.jobs.is_empty() {
                    waiting.running = false;
                    return;
                }
            }
        });
    }

    fn pass(&self, mut jobs: Vec<Job>) {
        let handles = &self.inner.handles;
        let ledger = &handles.ledger;
        let upto = ledger.seq();
        let purged = jobs.is_empty() || jobs.iter().any(|job| !job.dry);
        let (mut freed, mut bytes) = (0u64, 0u64);
        handles.memory.for_each(&mut |slot: &Slot| {
            for entry in &slot.variants {
                count(&mut jobs, entry);
            }
            if !purged {
                return Keep::Whole;
            }
            let gone = |entry: &Entry| ledger.verdict(entry) == Verdict::Gone;
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
        if purged {
            self.swept(upto, freed, bytes);
        }
        for job in jobs {
            self.found(job.seq, job.found);
            // The caller may have stopped waiting.
            let _ = job.done.send(job.found);
        }
    }

    fn swept(&self, upto: u64, freed: u64, bytes: u64) {
        let handles = &self.inner.handles;
        let counters = &handles.telemetry.counters;
        counters.add(crate::telemetry::Count::PurgeFreed, freed);
        counters.add(crate::telemetry::Count::PurgeFreedBytes, bytes);
        if !handles.forgets {
            return;
        }
        handles.ledger.forget(upto);
        if let Some(durable) = &handles.durable {
            if let Err(error) = durable.forgotten(upto, &handles.ledger) {
                tracing::warn!(%error, "the purge ledger's file was not shortened");
            }
        }
    }
}

fn count(jobs: &mut [Job], entry: &Entry) {
    for job in jobs {
        let older = job.dry || entry.seq < job.seq;
        if older && job.tester.verdict_of(&entry.key, &entry.tags, 0) == Verdict::Gone {
            job.found.matched += 1;
            if !job.soft {
                job.found.freed_bytes += entry.weight();
            }
        }
    }
}
