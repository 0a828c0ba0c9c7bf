//! The figures an operator looks at first, made from the counters: `brink stats`,
//! `/v1/stats`, the dashboard and the closing words of the demo.

use serde::{Deserialize, Serialize};

use super::counters::{Count, Counters, Event, Totals};
use super::histogram::Merged;
use crate::rules::outcome::{Class, Source};

/// Totals since start.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Summary {
    /// Finished exchanges.
    pub requests: u64,
    /// Answered fresh from the cache.
    pub hits: u64,
    /// Answered stale by the rules.
    pub stale: u64,
    /// Answered from the cache after the origin confirmed it.
    pub revalidated: u64,
    /// Fetched.
    pub misses: u64,
    /// Passed through without the cache.
    pub passes: u64,
    /// Refused by the node.
    pub refused: u64,
    /// Failed at the origin.
    pub failed: u64,
    /// Share of hits and stale hits in all but refused and failed, 0..=1.
    pub request_hit_ratio: f64,
    /// Share of body bytes from memory or disk in all that did not originate here, 0..=1.
    pub byte_hit_ratio: f64,
    /// Body bytes handed to clients.
    pub bytes: u64,
    /// Of these, from memory.
    pub bytes_memory: u64,
    /// Of these, from disk.
    pub bytes_disk: u64,
    /// Of these, relayed from the origin.
    pub bytes_origin: u64,
    /// Requests sent to origins.
    pub origin_requests: u64,
    /// Body bytes received from origins.
    pub origin_bytes: u64,
    /// Client connections accepted.
    pub connections: u64,
    /// Requests that waited on another's fetch.
    pub collapsed: u64,
    /// Responses cut short.
    pub aborted: u64,
    /// Latency of hits and of everything else.
    pub latency: Latency,
    /// The same by site.
    pub sites: Vec<SiteSummary>,
}

/// Durations in microseconds, request head to end of body.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Latency {
    /// Median of hits.
    pub hit_p50_us: u64,
    /// 99th percentile of hits.
    pub hit_p99_us: u64,
    /// Median of misses, passes and revalidations.
    pub miss_p50_us: u64,
    /// 99th percentile of the same.
    pub miss_p99_us: u64,
}

/// One site's share.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct SiteSummary {
    /// Its name; empty for exchanges no site served.
    pub site: String,
    /// Finished exchanges.
    pub requests: u64,
    /// Hits and stale hits.
    pub hits: u64,
    /// Body bytes to clients.
    pub bytes: u64,
    /// Of these, from memory or disk.
    pub bytes_saved: u64,
    /// Share of hits as in [`Summary::request_hit_ratio`].
    pub request_hit_ratio: f64,
}

impl Counters {
    /// Adds up the totals since start.
    pub fn summary(&self) -> Summary {
        let totals = self.merged();
        let mut summary = summarise(&totals);
        self.rows(Event::OriginRequest, &mut |_, count| summary.origin_requests += count as u64);
        self.observed("brink_origin_bytes_total", &mut |_, count| {
            summary.origin_bytes += count as u64;
        });
        // Listeners count their connections themselves.
        self.observed("brink_connections_total", &mut |_, count| {
            summary.connections += count as u64;
        });
        summary
    }
}

pub(super) fn summarise(totals: &Totals) -> Summary {
    let mut summary = Summary { aborted: totals.aborted, ..Summary::default() };
    let mut classes = [0u64; Class::ALL.len()];
    for (name, site) in &totals.sites {
        let mut own = [0u64; Class::ALL.len()];
        for ((total, own), cells) in classes.iter_mut().zip(&mut own).zip(&site.requests) {
            *own = cells.iter().flatten().sum();
            *total += *own;
        }
        let bytes = |source: Source| site.bytes.get(source as usize).copied().unwrap_or(0);
        let saved = bytes(Source::Memory) + bytes(Source::Disk);
        summary.bytes += site.bytes.iter().sum::<u64>();
        summary.bytes_memory += bytes(Source::Memory);
        summary.bytes_disk += bytes(Source::Disk);
        summary.bytes_origin += bytes(Source::Origin);
        summary.sites.push(SiteSummary {
            site: name.to_string(),
            requests: own.iter().sum(),
            hits: of(&own, Class::Hit) + of(&own, Class::Stale),
            bytes: site.bytes.iter().sum(),
            bytes_saved: saved,
            request_hit_ratio: hit_ratio(&own),
        });
    }
    summary.requests = classes.iter().sum();
    summary.hits = of(&classes, Class::Hit);
    summary.stale = of(&classes, Class::Stale);
    summary.revalidated = of(&classes, Class::Revalidated);
    summary.misses = of(&classes, Class::Miss);
    summary.passes = of(&classes, Class::Pass);
    summary.refused = of(&classes, Class::Refused);
    summary.failed = of(&classes, Class::Failed);
    summary.request_hit_ratio = hit_ratio(&classes);
    let saved = summary.bytes_memory + summary.bytes_disk;
    summary.byte_hit_ratio = ratio(saved, saved + summary.bytes_origin);
    let count = |count: Count| totals.counts.get(count as usize).copied().unwrap_or(0);
    summary.connections = count(Count::Connection);
    summary.collapsed = count(Count::Collapsed);
    summary.latency = latency(totals);
    summary
}

fn latency(totals: &Totals) -> Latency {
    let merged = |classes: &[Class]| {
        let mut all = Merged::default();
        for class in classes {
            if let Some(part) = totals.duration.get(*class as usize) {
                all.merge(part);
            }
        }
        all
    };
    let hit = merged(&[Class::Hit, Class::Stale]);
    let miss = merged(&[Class::Miss, Class::Pass, Class::Revalidated]);
    Latency {
        hit_p50_us: hit.quantile_us(0.5),
        hit_p99_us: hit.quantile_us(0.99),
        miss_p50_us: miss.quantile_us(0.5),
        miss_p99_us: miss.quantile_us(0.99),
    }
}

fn of(classes: &[u64; Class::ALL.len()], class: Class) -> u64 {
    classes.get(class as usize).copied().unwrap_or(0)
}

fn hit_ratio(classes: &[u64; Class::ALL.len()]) -> f64 {
    let hits = of(classes, Class::Hit) + of(classes, Class::Stale);
    let rest =
        of(classes, Class::Revalidated) + of(classes, Class::Miss) + of(classes, Class::Pass);
    ratio(hits, hits + rest)
}

/// `part / whole`, zero when there is nothing.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
