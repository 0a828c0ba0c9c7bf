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
//! One sample is one draw: the curve is the mean of five of this rate (of short traces, up
//! to sixty) with different hashes, and the half-width of its interval the standard
//! deviation among them (2.2 standard errors of the mean of five).

use std::collections::HashMap;

use serde::Serialize;

use super::simulate::Weigh;
use super::trace::{Sampled, Trace};

/// How the sample is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Share of the keys, above 0, at most 1.
    pub rate: f64,
    /// Keys at most; lowers the rate if there are more. Fixed size instead of fixed rate.
    pub keys_max: Option<usize>,
}

/// One point of the curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
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

/// The curve at `sizes`, with an interval unless every key is in the sample. A trace that
/// is a sample already is taken as it is.
pub fn curve(trace: &Trace, sampling: Sampling, weigh: Weigh, sizes: &[u64]) -> Vec<Point> {
    let whole = Whole {
        asked: trace.asked() as f64,
        bytes: trace.bytes() as f64,
        floor: trace.compulsory(),
        weigh,
    };
    if let Some(sample) = trace.sample {
        return recorded(trace, &sample, &whole, sizes);
    }
    let objects = trace.objects().max(1) as f64;
    let mean = trace.footprint() as f64 / objects;
    let rate = sampling.rate.min(sampling.keys_max.map_or(1.0, |keys| keys as f64 / objects));
    // Short traces, whose samples differ more, can afford more of them.
    let sampled = (trace.requests.len() as f64 * rate).max(1.0);
    let wanted = ((DRAWN_MIN / sampled) as u64).clamp(DRAWS.0, DRAWS.1);
    let draws = if rate < 1.0 { wanted } else { 1 };
    let draw = |seed| whole.estimate(&drawn(trace, rate, mean, seed), sizes);
    let samples: Vec<Vec<Point>> = (0..draws).map(draw).collect();
    let mut points = vec![Point::default(); sizes.len()];
    spread(&samples, 1.0, &mut points);
    whole.clamp(&mut points);
    points
}

/// Samples whose mean is the curve: at least, at most.
const DRAWS: (u64, u64) = (5, 60);
/// Requests that all samples together should have.
const DRAWN_MIN: f64 = 200_000.0;
/// Parts of a recorded sample whose spread gives the interval.
const PARTS: u32 = 4;

/// The curve of a recorded sample; its interval from four disjoint parts of it, each
/// taken as a sample of a quarter of the rate.
fn recorded(trace: &Trace, sample: &Sampled, whole: &Whole, sizes: &[u64]) -> Vec<Point> {
    let kept: Vec<Kept> = first_shares(trace, |_, size| sample.share(size));
    let mut points = whole.estimate(&kept, sizes);
    whole.clamp(&mut points);
    if sample.rate >= 1.0 {
        return points;
    }
    let part = |part: u32| {
        let mine = kept.iter().filter(|kept| kept.object % PARTS == part);
        let thinner = mine.map(|kept| Kept { share: kept.share / f64::from(PARTS), ..*kept });
        whole.estimate(&thinner.collect::<Vec<_>>(), sizes)
    };
    let parts: Vec<Vec<Point>> = (0..PARTS).map(part).collect();
    let means = points.clone();
    // Half the deviation among four is that of their mean; 3.2 of those are 95 %.
    spread(&parts, 1.6, &mut points);
    for (point, mean) in points.iter_mut().zip(means) {
        (point.objects, point.bytes) = (mean.objects, mean.bytes);
    }
    points
}

/// Mean of the samples at each size, and their deviation times `factor` as the error.
fn spread(samples: &[Vec<Point>], factor: f64, points: &mut [Point]) {
    for (at, point) in points.iter_mut().enumerate() {
        let over = |pick: fn(&Point) -> f64| {
            let values = samples.iter().map(|sample| pick(&sample[at]));
            let mean = values.clone().sum::<f64>() / samples.len() as f64;
            let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
            (mean, (squares / (samples.len().max(2) - 1) as f64).sqrt() * factor)
        };
        point.size = samples[0][at].size;
        (point.objects, point.objects_error) = over(|point| point.objects);
        (point.bytes, point.bytes_error) = over(|point| point.bytes);
    }
}

/// One request of a sample.
#[derive(Clone, Copy)]
struct Kept {
    object: u32,
    size: u64,
    /// The chance its object had.
    share: f64,
}

/// A fresh sample of a whole trace.
fn drawn(trace: &Trace, rate: f64, mean: f64, seed: u64) -> Vec<Kept> {
    first_shares(trace, |object, size| {
        let share = (rate * (size as f64 / mean).max(1.0)).min(1.0);
        let hash = (trace.keys[object as usize] as u64 ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let draw = (hash >> 11) as f64 / (1u64 << 53) as f64;
        if draw < share { share } else { 0.0 }
    })
}

/// The requests whose objects have a share; it is that of the size an object has first, so
/// that it is kept or not for good.
fn first_shares(trace: &Trace, share_of: impl Fn(u32, u64) -> f64) -> Vec<Kept> {
    let mut shares: Vec<f64> = vec![-1.0; trace.objects()];
    let mut kept = Vec::new();
    for request in &trace.requests {
        let (object, size) = (request.object, request.size);
        let share = &mut shares[object as usize];
        if *share < 0.0 {
            *share = share_of(object, size);
        }
        if *share > 0.0 {
            kept.push(Kept { object, size, share: *share });
        }
    }
    kept
}

/// What is known of all requests.
struct Whole {
    asked: f64,
    bytes: f64,
    floor: (f64, f64),
    weigh: Weigh,
}

impl Whole {
    /// Ratios within what is possible. Of the mean and not of each sample: cutting off what
    /// one of them is too high would make the mean too low.
    fn clamp(&self, points: &mut [Point]) {
        for point in points {
            point.objects = point.objects.clamp(self.floor.0.min(1.0), 1.0);
            point.bytes = point.bytes.clamp(self.floor.1.min(1.0), 1.0);
        }
    }

    fn estimate(&self, kept: &[Kept], sizes: &[u64]) -> Vec<Point> {
        let mut tree = Fenwick(vec![0.0; kept.len() + 1]);
        let mut last: HashMap<u32, (usize, f64)> = HashMap::new();
        let mut reuses = Vec::new();
        let (mut requests, mut bytes) = (0.0, 0.0);
        for (at, Kept { object, size, share }) in kept.iter().enumerate() {
            let weight = self.weigh.of(*size) as f64;
            if let Some((before, held)) = last.insert(*object, (at, weight / share)) {
                tree.add(before, -held);
                // Its own bytes must fit as well, counted once and not scaled.
                let distance = tree.sum(at) - tree.sum(before) + weight;
                reuses.push((distance, 1.0 / share, *size as f64 / share));
            }
            tree.add(at, weight / share);
            requests += 1.0 / share;
            bytes += *size as f64 / share;
        }
        reuses.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        let (mut hits, mut hit_bytes) = (self.asked - requests, self.bytes - bytes);
        let mut next = reuses.iter().peekable();
        let point = |size: &u64| {
            while let Some((_, count, bytes)) = next.next_if(|reuse| reuse.0 <= *size as f64) {
                hits += count;
                hit_bytes += bytes;
            }
            Point {
                size: *size,
                objects: 1.0 - hits / self.asked.max(1.0),
                bytes: 1.0 - hit_bytes / self.bytes.max(1.0),
                ..Point::default()
            }
        };
        sizes.iter().map(point).collect()
    }
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

    #[test]
    fn the_whole_sample_is_exactly_lru_and_a_tenth_of_it_is_near() {
        let workload = Workload { requests: 60_000, objects: 8_000, ..Workload::default() };
        let trace = generate(&workload, 3);
        let footprint = trace.footprint();
        let sizes = [footprint / 50, footprint / 10, footprint / 3];
        let exact = curve(&trace, Sampling { rate: 1.0, keys_max: None }, Weigh::Body, &sizes);
        let near = curve(&trace, Sampling { rate: 0.2, keys_max: None }, Weigh::Body, &sizes);
        for ((size, exact), near) in sizes.into_iter().zip(&exact).zip(&near) {
            let setup = Setup::memory_only("lru", size);
            let lru = simulate(&trace, &setup, &|_| ()).unwrap().total;
            assert!((exact.objects - lru.miss_ratio()).abs() < 0.004, "{exact:?} {lru:?}");
            assert!((exact.bytes - lru.byte_miss_ratio()).abs() < 0.03, "{exact:?} {lru:?}");
            assert!((near.objects - exact.objects).abs() < 0.05, "{near:?} {exact:?}");
        }
    }
}
