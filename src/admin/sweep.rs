//! Frees what purges have overtaken, counts it, and lets the ledger forget.
//!
//! ```text
//! call -> line of the memory tier -> pass -> line of the disk tier -> pass -> forget
//! ```
//! A purge is in effect before any sweep. One pass over a tier judges everything stored
//! once, drops what is gone, and counts for every waiting call what its own items match,
//! so ten calls at a time cost one pass. The tiers have a line each, because a pass over
//! a large disk takes minutes and one over memory does not. Calls that name only URLs
//! need no pass; a timer makes one now and then so that the ledger stays short.
//!
//! The thread of a pass has the priority of all others: it takes short locks that lookups take
//! too, and one that steps back would hold them longer.
//!
//! An object that a lookup dropped between purge and pass is not counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use super::handles::Handles;
use super::job::{AnyOf, Counting, Found, Job};
use super::passes::{self, Progress, Shown};
use crate::rules::purge::What;

/// How often the ledger is emptied when no call asked for a pass.
const IDLE_PASS_EVERY: Duration = Duration::from_secs(10);
/// Calls served by one pass.
const JOBS_MAX: usize = 4096;
/// Reports kept for `/v1/purges`.
const REPORTS_MAX: usize = 256;

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
    /// What was found so far.
    pub(super) found: Found,
}

/// Hands calls to passes.
#[derive(Clone)]
pub(super) struct Sweeper {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    handles: Handles,
    memory: Mutex<Line>,
    disk: Mutex<Line>,
    reports: Mutex<VecDeque<Report>>,
}

/// What waits for the next pass of a tier.
#[derive(Default)]
struct Line {
    jobs: Vec<Job>,
    /// What those want that came in since the running pass began.
    later: AnyOf,
    /// For the disk tier: the memory tier is swept up to here.
    upto: u64,
    running: bool,
    progress: Arc<Progress>,
}

/// How far the passes are.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Sweeps {
    memory: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<Shown>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tier {
    Memory,
    Disk,
}

impl Sweeper {
    pub(super) fn new(handles: &Handles) -> Self {
        let inner = Arc::new(Inner {
            handles: handles.clone(),
            memory: Mutex::default(),
            disk: Mutex::default(),
            reports: Mutex::default(),
        });
        let sweeper = Sweeper { inner };
        let weak = Arc::downgrade(&sweeper.inner);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(IDLE_PASS_EVERY).await;
                let Some(inner) = weak.upgrade() else { return };
                if !inner.handles.ledger.is_empty() {
                    Sweeper { inner }.start(Tier::Memory);
                }
            }
        });
        sweeper
    }

    /// Has the next passes count what `whats` match. `seq` is zero for a dry run. `effect`
    /// takes the purge into effect once the call stands in line, so that a pass that drops
    /// its objects always knows whom to count them for.
    pub(super) fn count(
        &self,
        whats: Vec<What>,
        seq: u64,
        soft: bool,
        effect: impl FnOnce(),
    ) -> Counting {
        let (job, counting) = Job::new(whats, seq, soft);
        {
            let mut line = self.inner.memory.lock();
            line.later.add(&job);
            line.jobs.push(job);
            effect();
        }
        self.start(Tier::Memory);
        counting
    }

    /// Remembers a call for `/v1/purges`.
    pub(super) fn report(&self, report: Report) {
        let mut reports = self.inner.reports.lock();
        if reports.len() >= REPORTS_MAX {
            reports.pop_front();
        }
        reports.push_back(report);
    }

    /// Calls after number `since`, newest first.
    pub(super) fn reports(&self, since: u64) -> Vec<Report> {
        let reports = self.inner.reports.lock();
        reports.iter().rev().filter(|report| report.seq > since).cloned().collect()
    }

    /// How far the passes are.
    pub(super) fn sweeps(&self) -> Sweeps {
        let shown = |tier| {
            let line = self.line(tier).lock();
            line.progress.shown(line.running)
        };
        let disk = self.inner.handles.disk.is_some().then(|| shown(Tier::Disk));
        Sweeps { memory: shown(Tier::Memory), disk }
    }

    /// Keys that running passes have not looked at yet, by tier.
    pub(super) fn left(&self) -> Vec<(&'static str, u64)> {
        let Sweeps { memory, disk } = self.sweeps();
        let disk = disk.map(|disk| ("disk", disk.left()));
        [("memory", memory.left())].into_iter().chain(disk).collect()
    }

    fn line(&self, tier: Tier) -> &Mutex<Line> {
        match tier {
            Tier::Memory => &self.inner.memory,
            Tier::Disk => &self.inner.disk,
        }
    }

    /// Starts passes over a tier unless they run already.
    fn start(&self, tier: Tier) {
        if std::mem::replace(&mut self.line(tier).lock().running, true) {
            return;
        }
        let sweeper = self.clone();
        let thread = std::thread::Builder::new().name("brink-sweep".to_owned());
        let started = thread.spawn(move || {
            let line = sweeper.line(tier);
            loop {
                let (jobs, upto) = {
                    let mut line = line.lock();
                    let some = line.jobs.len().min(JOBS_MAX);
                    let jobs: Vec<Job> = line.jobs.drain(..some).collect();
                    line.later = Job::all(&line.jobs);
                    (jobs, line.upto)
                };
                match tier {
                    Tier::Memory => sweeper.memory(jobs),
                    Tier::Disk => sweeper.disk(jobs, upto),
                }
                let mut line = line.lock();
                if line.jobs.is_empty() && line.upto == upto {
                    line.running = false;
                    return;
                }
            }
        });
        if let Err(error) = started {
            tracing::warn!(%error, "no thread for a sweep; the next purge tries again");
            self.line(tier).lock().running = false;
        }
    }

    fn memory(&self, mut jobs: Vec<Job>) {
        let handles = &self.inner.handles;
        let (progress, later) = {
            let line = self.inner.memory.lock();
            (line.progress.clone(), line.later.clone())
        };
        let upto = passes::memory(handles, &mut jobs, &progress, &later);
        if handles.disk.is_none() {
            self.done(jobs);
            if let Some(upto) = upto {
                self.forget(upto);
            }
            return;
        }
        for job in &jobs {
            self.progress(job.seq, job.found());
        }
        let mut line = self.inner.disk.lock();
        line.jobs.append(&mut jobs);
        line.upto = line.upto.max(upto.unwrap_or(0));
        drop(line);
        self.start(Tier::Disk);
    }

    fn disk(&self, mut jobs: Vec<Job>, upto: u64) {
        let progress = self.inner.disk.lock().progress.clone();
        let complete = passes::disk(&self.inner.handles, &mut jobs, &progress);
        self.done(jobs);
        if complete {
            self.forget(upto);
        }
    }

    /// The calls are through every tier.
    fn done(&self, jobs: Vec<Job>) {
        for job in jobs {
            // Reported first: who waits for it looks at the report next.
            let found = Found { swept: true, ..job.found() };
            self.progress(job.seq, found);
            job.finish();
        }
    }

    fn progress(&self, seq: u64, found: Found) {
        let mut reports = self.inner.reports.lock();
        if let Some(report) = reports.iter_mut().rev().find(|report| report.seq == seq) {
            report.found = found;
        }
    }

    /// Every tier has been judged up to `upto`.
    fn forget(&self, upto: u64) {
        let handles = &self.inner.handles;
        if upto <= handles.ledger.floor() {
            return;
        }
        handles.ledger.forget(upto);
        if let Some(durable) = &handles.durable
            && let Err(error) = durable.forgotten(upto, &handles.ledger)
        {
            tracing::warn!(%error, "the purge ledger's file was not shortened");
        }
    }
}
