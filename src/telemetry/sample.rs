//! What was asked for, as a sample of hashed keys: what `brink lab advise` computes with.
//!
//! Always on. A key is in the sample for good or not at all, by its hash (SHARDS;
//! Waldspurger and others, FAST 2015), with the chance `min(1, rate x max(1, size / mean))`,
//! so that large objects, which decide over bytes and are few, are not missed. The rate
//! starts at one and is halved whenever [`RECORDS_MAX`] requests are held; what is older
//! than the span goes. So a quiet node has all of its last day, a busy one as many
//! requests as fit into 3 MiB, and both numbers that the sample must add up to, all
//! requests and all bytes, are counted exactly beside it.
//!
//! Neither addresses nor URLs are kept: the key is the node's keyed hash. Of a request
//! outside the sample nothing is done but two additions to cells of the thread and one
//! comparison; one inside costs a short lock and a push.
//!
//! Rejected: a stack-distance tree kept up to date with every sampled request. It answers
//! one question (LRU) and costs a logarithm; the requests themselves can be run through
//! every policy when somebody asks.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use thread_local::ThreadLocal;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::histogram::bump;

/// Requests held at most; 24 bytes each.
pub const RECORDS_MAX: usize = 1 << 17;
/// A block is closed when it holds this many, or is this share of the span old.
const BLOCK_RECORDS: usize = RECORDS_MAX / 64;
const BLOCKS_A_SPAN: u64 = 64;
/// Below this share of [`RECORDS_MAX`] the rate is doubled for what comes.
const SPARSE: usize = 8;

/// Settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether the sample is kept.
    pub keep: bool,
    /// How far back it goes at most.
    pub span: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { keep: true, span: Duration::from_secs(24 * 3600) }
    }
}

/// One request of the sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Hash of the object's key and variant.
    pub key: u64,
    /// Bytes of the whole object.
    pub size: u64,
    /// Hundredths of a second since the sample began.
    pub at_cs: u32,
    /// Seconds it is fresh for when it comes from the origin.
    pub ttl_s: u32,
}

/// Which keys are in the sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// Share of the keys, at most 1.
    pub rate: f64,
    /// The size in bytes above which objects are preferred.
    pub mean: f64,
}

impl Gate {
    /// The chance of an object of this size.
    pub fn share(self, size: u64) -> f64 {
        (self.rate * (size as f64 / self.mean).max(1.0)).min(1.0)
    }

    /// Whether this key is in the sample.
    pub fn takes(self, key: u64, size: u64) -> bool {
        // Mixed, because parts of the hash choose shards and table places elsewhere.
        let mixed = (key ^ key >> 29).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let draw = (mixed >> 11) as f64 * (1.0 / (1u64 << 53) as f64);
        // The same as `draw < self.share(size)`, without its division.
        draw < self.rate || draw * self.mean < self.rate * size as f64
    }

    fn pack(self) -> u64 {
        u64::from((self.rate as f32).to_bits()) << 32 | u64::from((self.mean as f32).to_bits())
    }

    fn unpack(word: u64) -> Gate {
        let half = |bits: u64| f64::from(f32::from_bits(bits as u32));
        Gate { rate: half(word >> 32), mean: half(word) }
    }
}

/// The sample at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which keys are in it.
    pub gate: Gate,
    /// All requests in the span the sample covers, sampled or not.
    pub requests: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// The sampled ones, oldest first.
    pub seen: Vec<Seen>,
}

/// How the comment above a written sample begins.
pub const MARK: &str = "# brink sample ";

impl Snapshot {
    /// The sample as csv that `brink lab` reads. Keys are hashed once more with `secret`, so
    /// that what is written cannot be matched with the node or with another writing.
    pub fn csv(&self, secret: u64) -> String {
        let Gate { rate, mean } = self.gate;
        let (requests, bytes) = (self.requests, self.bytes);
        let mut out = format!("{MARK}rate={rate} mean={mean} requests={requests} bytes={bytes}\n");
        out.push_str("time,id,size,ttl\n");
        for Seen { key, size, at_cs, ttl_s } in &self.seen {
            let id = xxh3_64_with_seed(&key.to_le_bytes(), secret);
            let (seconds, rest) = (at_cs / 100, at_cs % 100);
            // Endless lifetimes are left empty.
            let ttl = if *ttl_s == u32::MAX { String::new() } else { ttl_s.to_string() };
            let _ = writeln!(out, "{seconds}.{rest:02},{id:016x},{size},{ttl}");
        }
        out
    }
}

/// The sample of a running node.
#[derive(Debug)]
pub struct Sample {
    options: Options,
    cells: ThreadLocal<Cells>,
    /// The gate of new requests, packed; rate zero when nothing is kept.
    gate: AtomicU64,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Cells {
    requests: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Window {
    start_ms: Option<u64>,
    blocks: VecDeque<Block>,
    held: usize,
}

/// What was seen in a stretch of time, all of it through one gate.
#[derive(Debug)]
struct Block {
    at_ms: u64,
    rate: f64,
    /// Totals when it was opened.
    before: (u64, u64),
    seen: Vec<Seen>,
}

impl Default for Sample {
    fn default() -> Self {
        Sample::new(Options::default())
    }
}

impl Sample {
    /// An empty sample.
    pub fn new(options: Options) -> Self {
        let rate = if options.keep { 1.0 } else { 0.0 };
        Sample {
            options,
            cells: ThreadLocal::new(),
            gate: AtomicU64::new(Gate { rate, mean: f64::from(f32::MAX) }.pack()),
            window: Mutex::default(),
        }
    }

    /// One request for an object that the cache stores: its hash, its whole size in bytes,
    /// when (monotonic milliseconds), and how long it is fresh.
    pub fn note(&self, key: u64, size: u64, mono_ms: u64, ttl_s: u32) {
        let gate = Gate::unpack(self.gate.load(Ordering::Relaxed));
        if gate.rate == 0.0 {
            return;
        }
        let cells = self.cells.get_or_default();
        bump(&cells.requests, 1);
        bump(&cells.bytes, size);
        if gate.takes(key, size) {
            self.keep(key, size, mono_ms, ttl_s);
        }
    }

    fn keep(&self, key: u64, size: u64, mono_ms: u64, ttl_s: u32) {
        let mut window = self.window.lock();
        // The gate may have changed while the lock was waited for.
        let gate = Gate::unpack(self.gate.load(Ordering::Relaxed));
        if !gate.takes(key, size) {
            return;
        }
        let start_ms = *window.start_ms.get_or_insert(mono_ms);
        let at_cs = u32::try_from(mono_ms.saturating_sub(start_ms) / 10).unwrap_or(u32::MAX);
        let span_ms = (self.options.span.as_millis() as u64).max(1);
        let block_ms = (span_ms / BLOCKS_A_SPAN).max(1);
        let full = |block: &Block| {
            block.seen.len() >= BLOCK_RECORDS || mono_ms.saturating_sub(block.at_ms) > block_ms
        };
        if window.blocks.back().is_none_or(full) {
            window.forget(mono_ms.saturating_sub(span_ms));
            let sparse = window.held < RECORDS_MAX / SPARSE && window.blocks.len() > 1;
            let rate = if sparse { (gate.rate * 2.0).min(1.0) } else { gate.rate };
            self.gate.store(Gate { rate, ..gate }.pack(), Ordering::Relaxed);
            let (requests, bytes) = self.totals();
            // This request is counted already, and belongs to the block.
            let before = (requests.saturating_sub(1), bytes.saturating_sub(size));
            let seen = Vec::with_capacity(BLOCK_RECORDS / 8);
            // What comes now passed the old gate, and is consistent with no higher one.
            window.blocks.push_back(Block { at_ms: mono_ms, rate: gate.rate, before, seen });
        }
        if let Some(block) = window.blocks.back_mut() {
            block.seen.push(Seen { key, size, at_cs, ttl_s });
            window.held += 1;
        }
        if window.held > RECORDS_MAX {
            let gate = Gate::unpack(self.gate.load(Ordering::Relaxed));
            let thinner = self.halve(gate, &mut window);
            self.gate.store(thinner.pack(), Ordering::Relaxed);
        }
    }

    fn halve(&self, gate: Gate, window: &mut Window) -> Gate {
        // Fixed by the first halving: chances must never rise for what was left out.
        let mean = if gate.mean < f64::from(f32::MAX) {
            gate.mean
        } else {
            let (requests, bytes) = self.totals();
            (bytes as f64 / requests.max(1) as f64).max(1.0)
        };
        let thinner = Gate { rate: gate.rate / 2.0, mean };
        window.held = 0;
        for block in &mut window.blocks {
            block.rate = block.rate.min(thinner.rate);
            block.seen.retain(|seen| thinner.takes(seen.key, seen.size));
            block.seen.shrink_to_fit();
            window.held += block.seen.len();
        }
        thinner
    }

    fn totals(&self) -> (u64, u64) {
        self.cells.iter().fold((0, 0), |(requests, bytes), cells| {
            let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
            (requests + load(&cells.requests), bytes + load(&cells.bytes))
        })
    }

    /// What is held now, cut down to the lowest rate in it. `None` if nothing is.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let window = self.window.lock();
        let first = window.blocks.front()?;
        let least = window.blocks.iter().map(|block| block.rate).fold(1.0, f64::min);
        let gate = Gate { rate: least, ..Gate::unpack(self.gate.load(Ordering::Relaxed)) };
        let all = window.blocks.iter().flat_map(|block| &block.seen);
        let seen: Vec<Seen> = all.filter(|seen| gate.takes(seen.key, seen.size)).copied().collect();
        let (requests, bytes) = self.totals();
        let since = (requests.saturating_sub(first.before.0), bytes.saturating_sub(first.before.1));
        (!seen.is_empty()).then_some(Snapshot { gate, requests: since.0, bytes: since.1, seen })
    }

    /// Bytes it occupies, and the share of the keys in it.
    pub fn size(&self) -> (usize, f64) {
        let window = self.window.lock();
        let bytes = window.blocks.iter().map(|block| block.seen.capacity() * size_of::<Seen>());
        (bytes.sum(), Gate::unpack(self.gate.load(Ordering::Relaxed)).rate)
    }
}

impl Window {
    /// Gives up whole blocks from before `since_ms`.
    fn forget(&mut self, since_ms: u64) {
        while self.blocks.len() > 1
            && self.blocks.get(1).is_some_and(|second| second.at_ms <= since_ms)
        {
            let gone = self.blocks.pop_front();
            self.held -= gone.map_or(0, |block| block.seen.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
    }

    #[test]
    fn few_requests_are_all_kept_and_the_totals_are_exact() {
        let sample = Sample::default();
        for n in 0..1000 {
            sample.note(hash(n % 100), 10, 5 + n, 60);
        }
        let snapshot = sample.snapshot().unwrap();
        assert_eq!((snapshot.requests, snapshot.bytes, snapshot.seen.len()), (1000, 10_000, 1000));
        assert_eq!(snapshot.gate.rate, 1.0);
    }

    #[test]
    fn many_keys_lower_the_rate_and_what_is_left_is_a_fair_share() {
        let sample = Sample::default();
        for n in 0..600_000u64 {
            let size = if n % 100 == 0 { 1_000_000 } else { 1_000 };
            sample.note(hash(n % 200_000), size, n / 100, 60);
        }
        let snapshot = sample.snapshot().unwrap();
        assert!(snapshot.seen.len() <= RECORDS_MAX && snapshot.gate.rate < 1.0);
        assert_eq!(snapshot.requests, 600_000);
        let weight = |seen: &Seen| 1.0 / snapshot.gate.share(seen.size);
        let requests: f64 = snapshot.seen.iter().map(weight).sum();
        let bytes: f64 = snapshot.seen.iter().map(|one| weight(one) * one.size as f64).sum();
        assert!((requests / 600_000.0 - 1.0).abs() < 0.03, "{requests}");
        assert!((bytes / snapshot.bytes as f64 - 1.0).abs() < 0.05, "{bytes}");
        assert!(sample.size().0 < 4 << 20, "{}", sample.size().0);
    }

    #[test]
    fn what_is_older_than_the_span_is_forgotten_with_its_share_of_the_totals() {
        let span = Duration::from_secs(100);
        let sample = Sample::new(Options { keep: true, span });
        for n in 0..10_000u64 {
            sample.note(hash(n), 1, n * 100, 60);
        }
        let snapshot = sample.snapshot().unwrap();
        assert_eq!(snapshot.requests as usize, snapshot.seen.len());
        assert!((1000..1100).contains(&snapshot.seen.len()), "{}", snapshot.seen.len());
    }

    #[test]
    fn switched_off_it_keeps_and_counts_nothing() {
        let sample = Sample::new(Options { keep: false, ..Options::default() });
        sample.note(1, 1, 1, 1);
        assert!(sample.snapshot().is_none());
    }
}
