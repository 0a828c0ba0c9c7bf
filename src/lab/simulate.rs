//! Runs one trace through one or two tiers and counts.
//!
//! A request for something stored but expired is a revalidation: the origin is asked, no
//! policy can save that, and usually no body comes. It is counted apart from hits and
//! misses.

use serde::Serialize;

use super::disk::Disk;
use super::policies::{self, Policy};
use super::trace::{NO_TTL, Request, Trace};
use crate::rules::entry;
use crate::store::policy::admission::AdmitPolicy;

/// One cell: which tiers, how large.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Policy of the memory tier, one of [`policies::NAMES`].
    pub policy: String,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk; none without a disk tier.
    pub disk: Option<u64>,
    /// What is written to disk.
    pub admit: AdmitPolicy,
    /// Share of the requests, from the start, that are not counted.
    pub warmup: f64,
    /// Whether lifetimes in the trace are heeded.
    pub ttl: bool,
    /// What an object takes up in memory.
    pub weigh: Weigh,
}

impl Setup {
    /// Memory alone, everything counted, lifetimes not heeded.
    pub fn memory_only(policy: &str, memory: u64) -> Setup {
        Setup {
            policy: policy.to_owned(),
            memory,
            disk: None,
            admit: AdmitPolicy::All,
            warmup: 0.0,
            ttl: false,
            weigh: Weigh::Body,
        }
    }
}

/// What an object takes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weigh {
    /// Its body alone, as other simulators count.
    #[default]
    Body,
    /// What the node weighs: body buffers, this many bytes of key and head, bookkeeping.
    Node {
        /// Bytes of key and head.
        head: u64,
    },
}

impl Weigh {
    /// The weight of an object of `size` bytes.
    pub fn of(self, size: u64) -> u64 {
        match self {
            Weigh::Body => size,
            Weigh::Node { head } => entry::weight_of(head, size),
        }
    }
}

/// Sums over a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Requests.
    pub requests: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Found fresh in memory.
    pub memory_hits: u64,
    /// Bytes of those.
    pub memory_bytes: u64,
    /// Found fresh on disk.
    pub disk_hits: u64,
    /// Bytes of those.
    pub disk_bytes: u64,
    /// Found expired in either.
    pub revalidations: u64,
    /// Bytes of those.
    pub revalidated_bytes: u64,
}

impl Tally {
    fn counts(&mut self) -> [&mut u64; 8] {
        [
            &mut self.requests,
            &mut self.bytes,
            &mut self.memory_hits,
            &mut self.memory_bytes,
            &mut self.disk_hits,
            &mut self.disk_bytes,
            &mut self.revalidations,
            &mut self.revalidated_bytes,
        ]
    }

    /// Requests not found at all.
    pub fn misses(&self) -> u64 {
        self.requests - self.memory_hits - self.disk_hits - self.revalidations
    }

    /// Bytes not found at all: what the origin has to send.
    pub fn missed_bytes(&self) -> u64 {
        self.bytes - self.memory_bytes - self.disk_bytes - self.revalidated_bytes
    }

    /// Share of requests not found.
    pub fn miss_ratio(&self) -> f64 {
        self.misses() as f64 / self.requests.max(1) as f64
    }

    /// Share of bytes not found.
    pub fn byte_miss_ratio(&self) -> f64 {
        self.missed_bytes() as f64 / self.bytes.max(1) as f64
    }
}

/// What came of one setup.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// The policy's name.
    pub policy: String,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk.
    pub disk: Option<u64>,
    /// Everything after the warm-up.
    pub total: Tally,
    /// Every hour of the trace, the warm-up included.
    pub hours: Vec<Tally>,
    /// Objects memory gave up or did not let in.
    pub memory_evictions: u64,
    /// Objects the disk gave up.
    pub disk_evictions: u64,
    /// Bytes written to disk, the rewriting of what is kept included.
    pub disk_written: u64,
    /// Bytes written to disk for the first time; the quotient of the two is the write
    /// amplification.
    pub disk_admitted: u64,
    /// Requests simulated a second.
    pub speed: f64,
}

impl Outcome {
    fn scale(&mut self, by: f64) {
        let scale = |count: &mut u64| *count = (*count as f64 * by) as u64;
        for tally in self.hours.iter_mut().chain([&mut self.total]) {
            tally.counts().into_iter().for_each(scale);
        }
        [
            &mut self.memory_evictions,
            &mut self.disk_evictions,
            &mut self.disk_written,
            &mut self.disk_admitted,
        ]
        .into_iter()
        .for_each(scale);
    }
}

/// Runs `trace` through `setup`; `progress` hears of requests done. `None` if there is no
/// policy of that name. A sampled trace is run as a small model of the whole: caches in
/// proportion, and the counts scaled back.
pub fn simulate(trace: &Trace, setup: &Setup, progress: &dyn Fn(u64)) -> Option<Outcome> {
    let Some(sample) = trace.sample else { return run(trace, setup, progress) };
    let small = |bytes: u64| ((bytes as f64 * sample.rate) as u64).max(1);
    let (memory, disk) = (small(setup.memory), setup.disk.map(small));
    let scaled = Setup { memory, disk, ..setup.clone() };
    let mut outcome = run(&trace.model(), &scaled, progress)?;
    (outcome.memory, outcome.disk) = (setup.memory, setup.disk);
    outcome.scale(1.0 / sample.rate);
    Some(outcome)
}

fn run(trace: &Trace, setup: &Setup, progress: &dyn Fn(u64)) -> Option<Outcome> {
    let mut memory = policies::by_name(&setup.policy, setup.memory, trace)?;
    let footprint = if setup.disk.is_some() { trace.footprint() } else { 0 };
    let disk = setup.disk.map(|bytes| Disk::new(bytes, setup.admit, &trace.keys, footprint));
    let mut run = Run { disk, weigh: setup.weigh, ..Run::default() };
    if setup.ttl {
        run.fresh_until = vec![u64::MAX; trace.objects()];
    }
    let warm = (trace.requests.len() as f64 * setup.warmup.clamp(0.0, 1.0)) as usize;
    let start = crate::base::clock::instant();
    run.all(trace, memory.as_mut(), warm, progress);
    let seconds = start.elapsed().as_secs_f64().max(1e-9);
    Some(Outcome {
        policy: setup.policy.clone(),
        memory: setup.memory,
        disk: setup.disk,
        total: run.total,
        hours: run.hours,
        memory_evictions: run.memory_evictions,
        disk_evictions: run.disk.as_ref().map_or(0, |disk| disk.evictions),
        disk_written: run.disk.as_ref().map_or(0, |disk| disk.written),
        disk_admitted: run.disk.as_ref().map_or(0, |disk| disk.admitted),
        speed: trace.requests.len() as f64 / seconds,
    })
}

#[derive(Default)]
struct Run<'a> {
    disk: Option<Disk<'a>>,
    /// When each object expires; empty without lifetimes.
    fresh_until: Vec<u64>,
    weigh: Weigh,
    total: Tally,
    hours: Vec<Tally>,
    memory_evictions: u64,
}

enum Found {
    Memory,
    Disk,
    Nowhere,
}

const HOUR_MS: u64 = 3_600_000;
/// Hours kept apart; a month.
const HOURS_MAX: u64 = 744;
const PROGRESS_EVERY: usize = 1 << 16;

impl Run<'_> {
    fn all(&mut self, trace: &Trace, memory: &mut dyn Policy, warm: usize, progress: &dyn Fn(u64)) {
        let mut gone = Vec::new();
        for (at, request) in trace.requests.iter().enumerate() {
            let weighed = Request { size: self.weigh.of(request.size), ..*request };
            let mut found = match memory.access(&weighed, &mut gone) {
                true => Found::Memory,
                false => Found::Nowhere,
            };
            if let (Found::Nowhere, Some(disk)) = (&found, &mut self.disk) {
                if disk.get(request.object) {
                    found = Found::Disk;
                } else {
                    disk.stored(request.object, weighed.size);
                }
            }
            self.memory_evictions += gone.len() as u64;
            for gone in gone.drain(..) {
                if let Some(disk) = &mut self.disk {
                    disk.evicted(gone);
                }
            }
            let expired = self.expires(request, &found);
            let hour = (request.at_ms / HOUR_MS).min(HOURS_MAX) as usize;
            if self.hours.len() <= hour {
                self.hours.resize(hour + 1, Tally::default());
            }
            count(&mut self.hours[hour], request.size, &found, expired);
            if at >= warm {
                count(&mut self.total, request.size, &found, expired);
            }
            if at % PROGRESS_EVERY == PROGRESS_EVERY - 1 {
                progress(PROGRESS_EVERY as u64);
            }
        }
    }

    /// Whether what was found is too old; what comes from the origin starts anew.
    fn expires(&mut self, request: &Request, found: &Found) -> bool {
        let Some(until) = self.fresh_until.get_mut(request.object as usize) else { return false };
        let stored = !matches!(found, Found::Nowhere);
        if stored && request.at_ms <= *until {
            return false;
        }
        *until = match request.ttl_s {
            NO_TTL => u64::MAX,
            ttl => request.at_ms + u64::from(ttl) * 1000,
        };
        stored
    }
}

fn count(tally: &mut Tally, size: u64, found: &Found, expired: bool) {
    tally.requests += 1;
    tally.bytes += size;
    match found {
        Found::Memory | Found::Disk if expired => {
            tally.revalidations += 1;
            tally.revalidated_bytes += size;
        }
        Found::Memory => {
            tally.memory_hits += 1;
            tally.memory_bytes += size;
        }
        Found::Disk => {
            tally.disk_hits += 1;
            tally.disk_bytes += size;
        }
        Found::Nowhere => {}
    }
}
