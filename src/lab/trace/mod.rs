//! A trace: who was asked for when, how large it is and how long it is fresh.
//!
//! Read in one pass from any of the known formats and kept compactly (24 bytes a
//! request), because offline bounds look ahead and several policies run over it. Names
//! are hashed and forgotten: nothing of a client or a path stays in memory.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128_with_seed;

mod lines;
mod read;
#[cfg(test)]
mod tests;
mod time;
mod variants;

pub use variants::Variants;

pub use read::{Query, ReadError, ReadOptions, Summary, read};
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
    /// Which variants there are, if the trace tells them apart.
    pub variants: Option<Variants>,
    /// Set if this is not all of the requests but a sample by key.
    pub sample: Option<Sampled>,
}

/// How a sampled trace was drawn, and of what.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Sampled {
    /// Share of the keys.
    pub rate: f64,
    /// Size above which objects were preferred in proportion.
    pub mean: f64,
    /// All requests, sampled or not.
    pub requests: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Sampled {
    /// The chance an object of this size had.
    pub fn share(&self, size: u64) -> f64 {
        (self.rate * (size as f64 / self.mean).max(1.0)).clamp(1e-9, 1.0)
    }
}

impl Trace {
    /// Number of objects.
    pub fn objects(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of all distinct objects, each at the size it had first; of a sample, what it
    /// stands for.
    pub fn footprint(&self) -> u64 {
        self.firsts().1 as u64
    }

    /// Objects and their bytes, each counted for as many as it stands for.
    fn firsts(&self) -> (f64, f64) {
        let mut seen = vec![false; self.objects()];
        let first =
            |request: &&Request| !std::mem::replace(&mut seen[request.object as usize], true);
        self.requests.iter().filter(first).fold((0.0, 0.0), |(objects, bytes), request| {
            let weight = 1.0 / self.sample.map_or(1.0, |sample| sample.share(request.size));
            (objects + weight, bytes + weight * request.size as f64)
        })
    }

    /// Bytes of all requests.
    pub fn bytes(&self) -> u64 {
        match self.sample {
            Some(sample) => sample.bytes,
            // A trace may say any sizes.
            None => self.requests.iter().fold(0, |sum, one| one.size.saturating_add(sum)),
        }
    }

    /// All requests, of which a sample holds some.
    pub fn asked(&self) -> u64 {
        self.sample.map_or(self.requests.len() as u64, |sample| sample.requests)
    }

    /// Share of requests and of bytes that no cache can save: first requests.
    pub fn compulsory(&self) -> (f64, f64) {
        let (objects, bytes) = self.firsts();
        let share = |part: f64, all: u64| (part / all.max(1) as f64).min(1.0);
        (share(objects, self.asked()), share(bytes, self.bytes()))
    }

    /// A share of the objects with all their requests, each object `shrink` times smaller.
    pub fn thinned(&self, share: f64, shrink: f64) -> Trace {
        let stays = |object: u32| {
            let draw = (self.keys[object as usize] as u64 >> 11) as f64 / (1u64 << 53) as f64;
            draw < share
        };
        let smaller = |size: u64| ((size as f64 / shrink.max(1.0)) as u64).max(1);
        let mut trace = Trace { requests: Vec::new(), ..self.clone() };
        let kept = self.requests.iter().filter(|request| share >= 1.0 || stays(request.object));
        trace.requests.extend(kept.map(|one| Request { size: smaller(one.size), ..*one }));
        trace
    }

    /// The objects of a sample that are in it whatever their size: a small model of the
    /// whole, `rate` times its size, that policies can be run on.
    pub fn model(&self) -> Trace {
        let Some(sample) = self.sample else { return self.clone() };
        let mut stays: Vec<Option<bool>> = vec![None; self.objects()];
        let mut model = Trace { sample: None, requests: Vec::new(), ..self.clone() };
        for request in &self.requests {
            let object = request.object as usize;
            let stays = *stays[object].get_or_insert_with(|| {
                let draw = (self.keys[object] as u64 >> 11) as f64 / (1u64 << 53) as f64;
                draw < sample.rate / sample.share(request.size)
            });
            if stays {
                model.requests.push(*request);
            }
        }
        model
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
        let object = self.number(key);
        if let Some(variants) = &mut self.trace.variants {
            variants.learn(object, key, b"");
        }
        object
    }

    /// The number of one variant of a name.
    ///
    /// # Panics
    /// Beyond 2^32 objects.
    pub fn variant(&mut self, name: &[u8], variant: &[u8]) -> u32 {
        if self.trace.variants.is_none() {
            // What came before had none.
            let variants = self.trace.variants.insert(Variants::default());
            for (object, key) in self.trace.keys.iter().enumerate() {
                variants.learn(object as u32, *key, b"");
            }
        }
        let object = self.number(xxh3_128_with_seed(&[name, b"\0", variant].concat(), 0));
        if let Some(variants) = &mut self.trace.variants {
            variants.learn(object, xxh3_128_with_seed(name, 0), variant);
        }
        object
    }

    fn number(&mut self, key: u128) -> u32 {
        let keys = &mut self.trace.keys;
        *self.index.entry(key).or_insert_with(|| {
            keys.push(key);
            u32::try_from(keys.len() - 1).expect("fewer than 2^32 objects")
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
