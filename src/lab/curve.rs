//! The miss-ratio curve of LRU over all cache sizes at once, from a sample of the keys.
//!
//! A key is kept with probability `p = min(1, rate x max(1, size / mean size))`, decided by
//! its hash; it then stands for `1/p` requests and `size/p` bytes. Large objects decide
//! the byte curve and are few, so sampling them like all others (plain SHARDS) errs by
//! 0.03 to 0.14 on the study's traces. What the sample over- or underestimates of all
//! requests and bytes, whose true totals are known, is added to the hits at the least
//! distance (SHARDS-adj; Waldspurger and others, FAST 2015).
//!
//! The distance of a request is the number of bytes asked for since the last one for the
//! same key; the cache hits it if it is larger. A Fenwick tree over the sampled requests
//! sums them in a logarithm of steps.
//!
//! One sample is one draw: the curve is the mean of five of this rate with different
//! hashes, and the half-width of its interval the standard deviation among them (2.2
//! standard errors of the mean).

use std::collections::HashMap;

use serde::Serialize;

use super::trace::Trace;

/// How the sample is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Share of the keys, above 0, at most 1.
    pub rate: f64,
    /// Keys at most; lowers the rate if there are more. Fixed size instead of fixed rate.
    pub keys_max: Option<usize>,
}

/// One point of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Bytes of cache.
    pub size: u64,
    /// Share of requests missed.
    pub objects: f64,
    /// Share of bytes missed.
    pub bytes: f64,
    /// Half the width of the interval of `objects`; zero without one.
    pub objects_error: f64,
    /// Half the width of the interval of `bytes`.
    pub bytes_error: f64,
}

/// `count` sizes from a thousandth of the footprint to all of it, evenly on a log scale.
pub fn sizes(footprint: u64, count: usize) -> Vec<u64> {
    let steps = count.max(2) - 1;
    let size = |step: usize| {
        let exponent = -3.0 + 3.0 * step as f64 / steps as f64;
        ((footprint as f64 * 10f64.powf(exponent)) as u64).max(1)
    };
    (0..=steps).map(size).collect()
}

/// The curve at `sizes`, with an interval unless every key is in the sample.
pub fn curve(trace: &Trace, sampling: Sampling, sizes: &[u64]) -> Vec<Point> {
    let mean = trace.footprint() as f64 / trace.objects().max(1) as f64;
    let rate = sampling.keys_max.map_or(sampling.rate, |keys| {
        let share = keys as f64 / trace.objects().max(1) as f64;
        share.min(sampling.rate)
    });
    let draws = if rate < 1.0 { DRAWS } else { 1 };
    let samples: Vec<Vec<Point>> =
        (0..draws).map(|seed| sampled(trace, rate, mean, seed, sizes)).collect();
    let point = |(at, size): (usize, &u64)| {
        let over = |pick: fn(&Point) -> f64| {
            let values = samples.iter().map(|sample| pick(&sample[at]));
            let mean = values.clone().sum::<f64>() / draws as f64;
            let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
            (mean, (squares / (draws.max(2) - 1) as f64).sqrt())
        };
        let (objects, objects_error) = over(|point| point.objects);
        let (bytes, bytes_error) = over(|point| point.bytes);
        Point { size: *size, objects, bytes, objects_error, bytes_error }
    };
    sizes.iter().enumerate().map(point).collect()
}

/// Samples whose mean is the curve.
const DRAWS: u64 = 5;

fn sampled(trace: &Trace, rate: f64, mean: f64, seed: u64, sizes: &[u64]) -> Vec<Point> {
    let keep = |object: u32, size: u64| {
        let share = (rate * (size as f64 / mean).max(1.0)).min(1.0);
        let hash = (trace.keys[object as usize] as u64 ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let draw = (hash >> 11) as f64 / (1u64 << 53) as f64;
        (draw < share).then_some(share)
    };
    // The share is that of the size an object has first, so that it is kept or not for good.
    let mut shares: Vec<f64> = vec![-1.0; trace.objects()];
    let mut kept = Vec::new();
    for request in &trace.requests {
        let share = &mut shares[request.object as usize];
        if *share < 0.0 {
            *share = keep(request.object, request.size).unwrap_or(0.0);
        }
        if *share > 0.0 {
            kept.push((request.object, request.size, *share));
        }
    }
    let mut tree = Fenwick(vec![0.0; kept.len() + 1]);
    let mut last: HashMap<u32, (usize, f64)> = HashMap::new();
    let mut reuses = Vec::new();
    let (mut requests, mut bytes) = (0.0, 0.0);
    for (at, (object, size, share)) in kept.iter().enumerate() {
        let stands_for = *size as f64 / share;
        if let Some((before, weight)) = last.insert(*object, (at, stands_for)) {
            tree.add(before, -weight);
            // Its own bytes must fit as well, counted once and not scaled.
            let distance = tree.sum(at) - tree.sum(before) + *size as f64;
            reuses.push((distance, 1.0 / share, stands_for));
        }
        tree.add(at, stands_for);
        requests += 1.0 / share;
        bytes += stands_for;
    }
    reuses.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let (all, all_bytes) = (trace.requests.len() as f64, trace.bytes() as f64);
    let (mut hits, mut hit_bytes) = (all - requests, all_bytes - bytes);
    let floor = trace.compulsory();
    let mut next = reuses.iter().peekable();
    let point = |size: &u64| {
        while let Some((_, count, bytes)) = next.next_if(|reuse| reuse.0 <= *size as f64) {
            hits += count;
            hit_bytes += bytes;
        }
        Point {
            size: *size,
            objects: (1.0 - hits / all.max(1.0)).clamp(floor.0, 1.0),
            bytes: (1.0 - hit_bytes / all_bytes.max(1.0)).clamp(floor.1.min(1.0), 1.0),
            objects_error: 0.0,
            bytes_error: 0.0,
        }
    };
    sizes.iter().map(point).collect()
}

/// Sums of prefixes that can be changed.
struct Fenwick(Vec<f64>);

impl Fenwick {
    fn add(&mut self, at: usize, value: f64) {
        let mut at = at + 1;
        while at < self.0.len() {
            self.0[at] += value;
            at += at & at.wrapping_neg();
        }
    }

    /// The sum of the first `count` values.
    fn sum(&self, count: usize) -> f64 {
        let (mut at, mut sum) = (count, 0.0);
        while at > 0 {
            sum += self.0[at];
            at &= at - 1;
        }
        sum
    }
}

/// Both ratios at `size`, between the points next to it on the log scale; `None` outside.
fn at(points: &[Point], size: u64) -> Option<(f64, f64)> {
    let after = points.iter().position(|point| point.size >= size)?;
    let (low, high) = (points.get(after.checked_sub(1)?)?, points.get(after)?);
    let log = |size: u64| (size.max(1) as f64).ln();
    let share = (log(size) - log(low.size)) / (log(high.size) - log(low.size)).max(1e-9);
    let between = |low: f64, high: f64| low + (high - low) * share;
    Some((between(low.objects, high.objects), between(low.bytes, high.bytes)))
}

/// What more room would bring, in one sentence: where the curve is now and where it stops
/// paying.
pub fn advice(points: &[Point], now: u64, human: impl Fn(u64) -> String) -> Option<String> {
    let here = at(points, now)?;
    let double = at(points, now.saturating_mul(2));
    let floor = points.last()?.objects;
    let enough = points.iter().find(|point| point.objects - floor < 0.005)?;
    let mut text = format!(
        "With {}, LRU would miss {:.1} % of requests and {:.1} % of bytes",
        human(now),
        here.0 * 100.0,
        here.1 * 100.0
    );
    if let Some(double) = double {
        text += &format!(
            "; {} more would save {:.1} and {:.1} points",
            human(now),
            (here.0 - double.0) * 100.0,
            (here.1 - double.1) * 100.0
        );
    }
    text += &format!("; beyond {} more room saves less than half a point.", human(enough.size));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::generate::{Workload, generate};
    use crate::lab::simulate::{Setup, simulate};
    use crate::store::policy::admission::AdmitPolicy;

    #[test]
    fn the_whole_sample_is_exactly_lru_and_a_tenth_of_it_is_near() {
        let workload = Workload { requests: 60_000, objects: 8_000, ..Workload::default() };
        let trace = generate(&workload, 3);
        let footprint = trace.footprint();
        let sizes = [footprint / 50, footprint / 10, footprint / 3];
        let exact = curve(&trace, Sampling { rate: 1.0, keys_max: None }, &sizes);
        let near = curve(&trace, Sampling { rate: 0.2, keys_max: None }, &sizes);
        for ((size, exact), near) in sizes.into_iter().zip(&exact).zip(&near) {
            let setup = Setup {
                policy: "lru".to_owned(),
                memory: size,
                disk: None,
                admit: AdmitPolicy::All,
                warmup: 0.0,
                ttl: false,
            };
            let lru = simulate(&trace, &setup, &|_| ()).unwrap().total;
            assert!((exact.objects - lru.miss_ratio()).abs() < 0.004, "{exact:?} {lru:?}");
            assert!((exact.bytes - lru.byte_miss_ratio()).abs() < 0.03, "{exact:?} {lru:?}");
            assert!((near.objects - exact.objects).abs() < 0.05, "{near:?} {exact:?}");
        }
    }
}
