//! The counters themselves.
//!
//! Hot ones are plain cells of the thread that counts, added up when somebody asks: a
//! count is a load and a store, no shared cache line, no locked instruction. Events with
//! open label sets (origins, limits) are rare and go through a read lock. Numbers that
//! other parts keep anyway (bytes stored, connections open) are asked for at scrape
//! through closures registered with [`Counters::observe`]. A shared histogram or a
//! global recorder was rejected: both put a lock or a hash on every hit.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use thread_local::ThreadLocal;

use super::exchange::Exchange;
use super::histogram::{Histogram, Merged, bump};
use super::table;
use crate::rules::outcome::{Class, Source};

/// Sites counted by name; further ones are counted together as `other`.
pub const SITES_MAX: usize = 256;
/// Label values remembered per event; further ones are counted as `other`.
const LABELS_MAX: usize = 512;

/// Unlabelled counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A client connection was accepted.
    Connection,
    /// A TLS handshake was completed.
    TlsHandshake,
    /// A TLS handshake failed.
    TlsFailure,
    /// A fetch for the cache began.
    Flight,
    /// A request joined a running fetch.
    Collapsed,
    /// An answer was stored.
    Stored,
    /// A range of an object in pieces was asked for at the origin.
    PieceRun,
    /// A piece was stored.
    PieceStored,
    /// Objects freed by a sweep.
    PurgeFreed,
    /// Bytes freed by a sweep.
    PurgeFreedBytes,
    /// The memory tier gave up a key for want of room, or did not let it in.
    Evicted,
}

impl Count {
    /// Every one with its row in the table, in order of declaration.
    pub const ALL: [(Count, &'static str); 11] = [
        (Count::Connection, "brink_connections_total"),
        (Count::TlsHandshake, "brink_tls_handshakes_total"),
        (Count::TlsFailure, "brink_tls_failures_total"),
        (Count::Flight, "brink_flights_total"),
        (Count::Collapsed, "brink_collapsed_requests_total"),
        (Count::Stored, "brink_stored_total"),
        (Count::PieceRun, "brink_piece_runs_total"),
        (Count::PieceStored, "brink_pieces_stored_total"),
        (Count::PurgeFreed, "brink_purge_freed_objects_total"),
        (Count::PurgeFreedBytes, "brink_purge_freed_bytes_total"),
        (Count::Evicted, "brink_memory_evictions_total"),
    ];
}

/// Labelled events. The labels' values are given with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A limit or deadline was hit: `[limit]`.
    Limit,
    /// An answer was not stored: `[reason]`.
    Uncacheable,
    /// The origin was asked: `[origin, code]`.
    OriginRequest,
    /// A purge was applied: `[kind]`.
    Purge,
    /// A disk operation failed: `[what]`.
    DiskError,
    /// The admin listener answered: `[code]`.
    Admin,
}

impl Event {
    /// Every one with its row in the table, in order of declaration.
    pub const ALL: [(Event, &'static str); 6] = [
        (Event::Limit, "brink_limits_total"),
        (Event::Uncacheable, "brink_uncacheable_total"),
        (Event::OriginRequest, "brink_origin_requests_total"),
        (Event::Purge, "brink_purges_total"),
        (Event::DiskError, "brink_disk_errors_total"),
        (Event::Admin, "brink_admin_requests_total"),
    ];
}

/// Receives the values of one observed metric: label values in the table's order.
pub type Emit<'a> = dyn FnMut(&[&str], f64) + 'a;
type Observer = Box<dyn Fn(&mut Emit<'_>) + Send + Sync>;
type Labelled = RwLock<HashMap<Box<str>, HashMap<Box<str>, AtomicU64>>>;

/// Everything that is counted.
#[derive(Default)]
pub struct Counters {
    cells: ThreadLocal<Cells>,
    sites: ArcSwap<hashbrown::HashMap<Box<str>, usize>>,
    sites_writer: Mutex<()>,
    events: [Labelled; Event::ALL.len()],
    faults: Labelled,
    observers: RwLock<Vec<(&'static str, Observer)>>,
}

/// One thread's cells.
#[derive(Debug)]
struct Cells {
    counts: [AtomicU64; Count::ALL.len()],
    aborted: AtomicU64,
    sites: Box<[OnceLock<Box<SiteCells>>]>,
    duration: [Histogram; Class::ALL.len()],
    ttfb: [Histogram; Class::ALL.len()],
}

/// One thread's cells for one site.
#[derive(Debug, Default)]
struct SiteCells {
    requests: [[[AtomicU64; 5]; 2]; Class::ALL.len()],
    bytes: [AtomicU64; SOURCES.len()],
}

/// Sources in the order of the cells.
pub const SOURCES: [Source; 4] = [Source::Memory, Source::Disk, Source::Origin, Source::Node];

impl Default for Cells {
    fn default() -> Self {
        Cells {
            counts: Default::default(),
            aborted: AtomicU64::new(0),
            sites: (0..=SITES_MAX).map(|_| OnceLock::new()).collect(),
            duration: Default::default(),
            ttfb: Default::default(),
        }
    }
}

impl Counters {
    /// All zero.
    pub fn new() -> Self {
        Counters::default()
    }

    /// Adds to an unlabelled counter.
    pub fn add(&self, count: Count, by: u64) {
        if let Some(cell) = self.cells.get_or_default().counts.get(count as usize) {
            bump(cell, by);
        }
    }

    /// Adds to a labelled event; `labels` in the order of the table, one or two of them.
    pub fn note(&self, event: Event, labels: &[&str], by: u64) {
        if let Some(rows) = self.events.get(event as usize) {
            note(rows, labels, by);
        }
    }

    /// Counts a finished exchange.
    pub fn exchange(&self, exchange: &Exchange<'_>) {
        let (class, source) = (exchange.outcome.class() as usize, exchange.outcome.source as usize);
        let site = self.site(exchange.site);
        let cells = self.cells.get_or_default();
        if let Some(site) = cells.sites.get(site) {
            let site = site.get_or_init(Box::default);
            let status = usize::from(exchange.status / 100).clamp(1, 5) - 1;
            let protocol = usize::from(exchange.http2);
            if let Some(cell) = site
                .requests
                .get(class)
                .and_then(|row| row.get(protocol))
                .and_then(|row| row.get(status))
            {
                bump(cell, 1);
            }
            if let Some(cell) = site.bytes.get(source) {
                bump(cell, exchange.bytes);
            }
        }
        if let (Some(duration), Some(ttfb)) = (cells.duration.get(class), cells.ttfb.get(class)) {
            duration.record(exchange.duration);
            ttfb.record(exchange.ttfb);
        }
        if !exchange.complete {
            bump(&cells.aborted, 1);
        }
        if let Some(fault) = exchange.outcome.fault {
            note(&self.faults, &[fault.word()], 1);
        }
    }

    /// Has `observer` asked for the values of the table's row `name` at every scrape. A
    /// name outside the table is a bug of ours and is refused loudly.
    pub fn observe(
        &self,
        name: &'static str,
        observer: impl Fn(&mut Emit<'_>) + Send + Sync + 'static,
    ) {
        assert!(table::metric(name).is_some(), "metric {name} is not in the table");
        self.observers.write().push((name, Box::new(observer)));
    }

    /// The index of a site's cells; the name is learned when first seen.
    fn site(&self, name: &str) -> usize {
        if let Some(index) = self.sites.load().get(name) {
            return *index;
        }
        let _one_writer = self.sites_writer.lock();
        let known = self.sites.load_full();
        if let Some(index) = known.get(name) {
            return *index;
        }
        if known.len() >= SITES_MAX {
            return SITES_MAX;
        }
        let mut sites = hashbrown::HashMap::clone(&known);
        let index = sites.len();
        sites.insert(name.into(), index);
        self.sites.store(sites.into());
        index
    }

    /// Adds everything up.
    pub(super) fn merged(&self) -> Totals {
        let mut totals = Totals::default();
        let mut names: Vec<(usize, Box<str>)> =
            self.sites.load().iter().map(|(name, index)| (*index, name.clone())).collect();
        names.push((SITES_MAX, "other".into()));
        names.sort_unstable();
        let mut sites: Vec<(Box<str>, SiteTotals)> =
            names.iter().map(|(_, name)| (name.clone(), SiteTotals::default())).collect();
        for cells in self.cells.iter() {
            for (total, cell) in totals.counts.iter_mut().zip(&cells.counts) {
                *total += cell.load(Ordering::Relaxed);
            }
            totals.aborted += cells.aborted.load(Ordering::Relaxed);
            for ((index, _), (_, total)) in names.iter().zip(&mut sites) {
                if let Some(site) = cells.sites.get(*index).and_then(OnceLock::get) {
                    total.add(site);
                }
            }
            for (total, part) in totals.duration.iter_mut().zip(&cells.duration) {
                total.add(part);
            }
            for (total, part) in totals.ttfb.iter_mut().zip(&cells.ttfb) {
                total.add(part);
            }
        }
        sites.retain(|(_, total)| total.requests.iter().flatten().flatten().any(|n| *n > 0));
        totals.sites = sites;
        totals
    }

    /// Calls `row` with label values and count for each row of an event.
    pub(super) fn rows(&self, event: Event, row: &mut Emit<'_>) {
        if let Some(rows) = self.events.get(event as usize) {
            emit_rows(rows, row);
        }
    }

    /// Calls `row` with each fault's word and count.
    pub(super) fn fault_rows(&self, row: &mut Emit<'_>) {
        emit_rows(&self.faults, row);
    }

    /// Asks every observer of `name`.
    pub fn observed(&self, name: &str, row: &mut Emit<'_>) {
        for (_, observer) in self.observers.read().iter().filter(|(of, _)| *of == name) {
            observer(row);
        }
    }
}

fn note(rows: &Labelled, labels: &[&str], by: u64) {
    let first = labels.first().copied().unwrap_or("");
    let second = labels.get(1).copied().unwrap_or("");
    if let Some(cell) = rows.read().get(first).and_then(|row| row.get(second)) {
        cell.fetch_add(by, Ordering::Relaxed);
        return;
    }
    let mut rows = rows.write();
    let known: usize = rows.values().map(HashMap::len).sum();
    let (first, second) = if known < LABELS_MAX { (first, second) } else { ("other", "other") };
    rows.entry(first.into())
        .or_default()
        .entry(second.into())
        .or_default()
        .fetch_add(by, Ordering::Relaxed);
}

fn emit_rows(rows: &Labelled, emit: &mut Emit<'_>) {
    for (first, row) in rows.read().iter() {
        for (second, cell) in row {
            emit(&[first, second], cell.load(Ordering::Relaxed) as f64);
        }
    }
}

/// All threads' cells added up.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) counts: [u64; Count::ALL.len()],
    pub(super) aborted: u64,
    pub(super) sites: Vec<(Box<str>, SiteTotals)>,
    pub(super) duration: [Merged; Class::ALL.len()],
    pub(super) ttfb: [Merged; Class::ALL.len()],
}

/// One site's numbers: requests by class, protocol (h1, h2) and status class.
#[derive(Clone, Debug, Default)]
pub(super) struct SiteTotals {
    pub(super) requests: [[[u64; 5]; 2]; Class::ALL.len()],
    pub(super) bytes: [u64; SOURCES.len()],
}

impl SiteTotals {
    fn add(&mut self, cells: &SiteCells) {
        let totals = self.requests.iter_mut().flatten().flatten();
        for (total, cell) in totals.zip(cells.requests.iter().flatten().flatten()) {
            *total += cell.load(Ordering::Relaxed);
        }
        for (total, cell) in self.bytes.iter_mut().zip(&cells.bytes) {
            *total += cell.load(Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters").finish_non_exhaustive()
    }
}
