//! Heavy hitters: which URLs cause most requests, bytes, misses and missed bytes.
//!
//! Each thread keeps four bounded tables (space-saving in batches): a known URL is one
//! probe and an addition; a new one starts at the floor, the largest count thrown out so
//! far; a table that reaches twice its size is cut to the heaviest half. So the count
//! shown is never too low by more than nothing and never too high by more than `floor`.
//! Tables turn over every five minutes and the last two are shown, so the list is about
//! now. A sketch of hashed counters (count-min) was rejected: it cannot name the URLs.

use hashbrown::HashTable;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thread_local::ThreadLocal;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::exchange::Exchange;

/// URLs kept per table after a cut; twice as many before it.
const KEPT: usize = 512;
/// Length of one window in monotonic milliseconds.
pub const WINDOW_MS: u64 = 300_000;
/// Longer URLs are cut to this many bytes.
const NAME_MAX: usize = 512;

/// What to rank by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Exchanges.
    Requests,
    /// Body bytes to clients.
    Bytes,
    /// Exchanges that had to go to the origin.
    Misses,
    /// Body bytes of those.
    MissBytes,
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hitter {
    /// Host and target.
    pub url: String,
    /// How much, in what was asked for.
    pub count: u64,
    /// How much of `count` may be somebody else's.
    pub error: u64,
}

/// All threads' tables.
#[derive(Debug, Default)]
pub struct Top {
    tables: ThreadLocal<Mutex<Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    started_ms: u64,
    now: [Table; 4],
    before: [Table; 4],
}

#[derive(Debug, Default)]
struct Table {
    items: HashTable<Item>,
    floor: u64,
}

#[derive(Debug)]
struct Item {
    hash: u64,
    host: usize,
    url: Box<str>,
    count: u64,
    error: u64,
}

impl Top {
    /// Counts one exchange.
    pub fn count(&self, exchange: &Exchange<'_>) {
        if exchange.host.is_empty() {
            return;
        }
        let (host, target) = (exchange.host, cut(exchange.target));
        let seed = xxh3_64_with_seed(host.as_bytes(), 0);
        let hash = xxh3_64_with_seed(target.as_bytes(), seed);
        let miss = exchange.is_miss();
        let mut tables = self.tables.get_or_default().lock();
        tables.turn(exchange.now.mono_ms);
        let weights = [1, exchange.bytes, u64::from(miss), if miss { exchange.bytes } else { 0 }];
        for (table, weight) in tables.now.iter_mut().zip(weights) {
            if weight > 0 {
                table.add(hash, host, target, weight);
            }
        }
    }

    /// The `limit` heaviest of the last five to ten minutes, heaviest first.
    pub fn list(&self, by: By, limit: usize) -> Vec<Hitter> {
        let mut all: std::collections::HashMap<String, Hitter> = std::collections::HashMap::new();
        for tables in self.tables.iter() {
            let tables = tables.lock();
            let both = [tables.now.get(by as usize), tables.before.get(by as usize)];
            for item in both.into_iter().flatten().flat_map(|table| table.items.iter()) {
                let url = item.url.to_string();
                let hitter = all.entry(url.clone()).or_insert(Hitter { url, count: 0, error: 0 });
                hitter.count += item.count;
                hitter.error += item.error;
            }
        }
        let mut list: Vec<Hitter> = all.into_values().collect();
        list.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.url.cmp(&b.url)));
        list.truncate(limit);
        list
    }
}

impl Tables {
    fn turn(&mut self, mono_ms: u64) {
        if mono_ms.saturating_sub(self.started_ms) < WINDOW_MS {
            return;
        }
        let stale = mono_ms.saturating_sub(self.started_ms) >= 2 * WINDOW_MS;
        self.before = std::mem::take(&mut self.now);
        if stale {
            self.before = Default::default();
        }
        self.started_ms = mono_ms;
    }
}

impl Table {
    fn add(&mut self, hash: u64, host: &str, target: &str, weight: u64) {
        let same = |item: &Item| {
            item.hash == hash
                && item.host == host.len()
                && item.url.strip_prefix(host) == Some(target)
        };
        if let Some(item) = self.items.find_mut(hash, same) {
            item.count += weight;
            return;
        }
        if self.items.len() >= 2 * KEPT {
            self.shrink();
        }
        let url = [host, target].concat().into_boxed_str();
        let (count, error) = (self.floor + weight, self.floor);
        let item = Item { hash, host: host.len(), url, count, error };
        self.items.insert_unique(hash, item, |item| item.hash);
    }

    /// Keeps the heaviest half; the heaviest of the others becomes the floor.
    fn shrink(&mut self) {
        let mut counts: Vec<u64> = self.items.iter().map(|item| item.count).collect();
        let (_, cut, _) = counts.select_nth_unstable(KEPT);
        self.floor = (*cut).max(self.floor);
        let floor = self.floor;
        self.items.retain(|item| item.count > floor);
    }
}

fn cut(target: &str) -> &str {
    let mut end = target.len().min(NAME_MAX);
    while !target.is_char_boundary(end) {
        end -= 1;
    }
    target.get(..end).unwrap_or("")
}
