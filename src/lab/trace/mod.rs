//! A trace: who was asked for when, how large it is and how long it is fresh.
//!
//! Read in one pass from any of the known formats and kept compactly (24 bytes a
//! request), because offline bounds look ahead and several policies run over it. Names
//! are hashed and forgotten: nothing of a client or a path stays in memory.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128_with_seed;

mod lines;
mod read;
mod time;

pub use read::{ReadError, ReadOptions, Summary, read};
// Public for its fuzz target alone.
#[doc(hidden)]
pub use read::read_bytes;

/// No lifetime known: never expires.
pub const NO_TTL: u32 = u32::MAX;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Milliseconds since the first request.
    pub at_ms: u64,
    /// Index of the object, in order of first appearance.
    pub object: u32,
    /// Seconds it stays fresh, or [`NO_TTL`].
    pub ttl_s: u32,
    /// Bytes of the object.
    pub size: u64,
}

/// All requests in order.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The requests.
    pub requests: Vec<Request>,
    /// The hash of each object, by its index.
    pub keys: Vec<u128>,
}

impl Trace {
    /// Number of objects.
    pub fn objects(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of all distinct objects, each at the size it had first.
    pub fn footprint(&self) -> u64 {
        let mut seen = vec![false; self.objects()];
        let first =
            |request: &&Request| !std::mem::replace(&mut seen[request.object as usize], true);
        self.requests.iter().filter(first).map(|request| request.size).sum()
    }

    /// Bytes of all requests.
    pub fn bytes(&self) -> u64 {
        self.requests.iter().map(|request| request.size).sum()
    }

    /// Share of requests and of bytes that no cache can save: first requests.
    pub fn compulsory(&self) -> (f64, f64) {
        let requests = self.requests.len().max(1) as f64;
        (self.objects() as f64 / requests, self.footprint() as f64 / self.bytes().max(1) as f64)
    }
}

/// Gives objects their numbers while a trace is made.
#[derive(Debug, Default)]
pub struct Builder {
    trace: Trace,
    index: HashMap<u128, u32>,
}

impl Builder {
    /// The number of an object by name.
    ///
    /// # Panics
    /// Beyond 2^32 objects.
    pub fn object(&mut self, name: &[u8]) -> u32 {
        let key = xxh3_128_with_seed(name, 0);
        let trace = &mut self.trace;
        *self.index.entry(key).or_insert_with(|| {
            trace.keys.push(key);
            u32::try_from(trace.keys.len() - 1).expect("fewer than 2^32 objects")
        })
    }

    /// Appends a request.
    pub fn push(&mut self, request: Request) {
        self.trace.requests.push(request);
    }

    /// Requests so far.
    pub fn len(&self) -> usize {
        self.trace.requests.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The trace.
    pub fn finish(self) -> Trace {
        self.trace
    }
}
