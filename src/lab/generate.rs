//! A seeded workload like a CDN's, for those who have no trace to hand.
//!
//! | property | parameter | source |
//! |---|---|---|
//! | popularity | Zipf, exponent 0.8 | 0.64 to 0.83: Breslau, INFOCOM 1999 |
//! | churn | 2 % of the ranks get a new object an hour | Huang, SOSP 2013: age decay of photos |
//! | one-hit wonders | 15 % of requests are for objects nobody asks for again | three quarters of objects: Maggs and Sitaraman, CCR 2015 |
//! | sizes | log-normal, median 24 kB, and 2 % with a Pareto tail from 1 MB, exponent 1.1 | nine orders of magnitude: Berger, NSDI 2017 |
//! | time of day | three to one between evening and night | Huang, SOSP 2013 |
//! | scans | a crawler that walks over old objects for a while each day | |
//!
//! The same workload and seed give the same trace, on any machine.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, LogNormal, Pareto, Zipf};

use super::trace::{Builder, NO_TTL, Request, Trace};

/// What to generate.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Number of requests.
    pub requests: usize,
    /// Popular objects at any one time.
    pub objects: usize,
    /// Exponent of the Zipf law.
    pub zipf: f64,
    /// Share of ranks that get a new object an hour.
    pub churn: f64,
    /// Share of requests for objects that are asked for once.
    pub one_hit: f64,
    /// Median size in bytes.
    pub median: f64,
    /// Standard deviation of the logarithm of the size.
    pub spread: f64,
    /// Share of objects from the Pareto tail.
    pub tail: f64,
    /// Bytes no object exceeds.
    pub size_max: u64,
    /// Hours the trace spans.
    pub hours: f64,
    /// Share of requests that belong to scans.
    pub scans: f64,
}

impl Default for Workload {
    fn default() -> Self {
        Workload {
            requests: 1_000_000,
            objects: 100_000,
            zipf: 0.8,
            churn: 0.02,
            one_hit: 0.15,
            median: 24_000.0,
            spread: 1.6,
            tail: 0.02,
            size_max: 1 << 30,
            hours: 24.0,
            scans: 0.03,
        }
    }
}

/// Generates the workload of this seed.
///
/// # Panics
/// If the parameters describe no distribution (a negative exponent, no objects).
pub fn generate(workload: &Workload, seed: u64) -> Trace {
    let mut random = StdRng::seed_from_u64(seed);
    let zipf = Zipf::new(workload.objects.max(1) as f64, workload.zipf).expect("a Zipf law");
    let body = LogNormal::new(workload.median.max(1.0).ln(), workload.spread).expect("log-normal");
    let tail = Pareto::new(1e6, 1.1).expect("a Pareto law");
    let mut builder = Builder::default();
    let mut sizes: Vec<u64> = Vec::new();
    // Which object has each rank, and how many objects there have been.
    let mut ranks: Vec<u64> = (0..workload.objects as u64).collect();
    let mut named = workload.objects as u64;
    let mut scan_at = 0;
    let span_ms = workload.hours * 3_600_000.0;
    let replaced =
        workload.churn * workload.objects as f64 * workload.hours / workload.requests.max(1) as f64;
    for at in 0..workload.requests {
        if random.random::<f64>() < replaced {
            let rank = random.random_range(0..ranks.len());
            ranks[rank] = named;
            named += 1;
        }
        let share = at as f64 / workload.requests as f64;
        let name = if random.random::<f64>() < workload.one_hit {
            named += 1;
            named - 1
        } else if scanning(share, workload.scans) {
            scan_at = (scan_at + 1) % named;
            scan_at
        } else {
            ranks[(zipf.sample(&mut random) as usize - 1).min(ranks.len() - 1)]
        };
        let object = builder.object(&name.to_le_bytes());
        if object as usize == sizes.len() {
            let size = match random.random::<f64>() < workload.tail {
                true => tail.sample(&mut random),
                false => body.sample(&mut random),
            };
            sizes.push((size as u64).clamp(1, workload.size_max));
        }
        let at_ms = (clock(share) * span_ms) as u64;
        builder.push(Request { at_ms, object, ttl_s: NO_TTL, size: sizes[object as usize] });
    }
    builder.finish()
}

/// A scan runs at full rate in the middle of every eighth of the trace.
fn scanning(share: f64, scans: f64) -> bool {
    let phase = (share * 8.0).fract();
    (0.5..0.5 + scans).contains(&phase)
}

/// When the request at this share of the trace happens, as a share of its span: the rate
/// swings by three to one once over the span.
fn clock(share: f64) -> f64 {
    use std::f64::consts::TAU;
    share + 0.5 * (share * TAU).sin() / TAU
}

/// The trace as csv with a header: `time,id,size`, time in seconds.
pub fn write_csv(trace: &Trace, out: &mut impl std::io::Write) -> std::io::Result<()> {
    writeln!(out, "time,id,size")?;
    for request in &trace.requests {
        let (seconds, millis) = (request.at_ms / 1000, request.at_ms % 1000);
        writeln!(out, "{seconds}.{millis:03},{},{}", request.object, request.size)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_trace_and_another_one_another() {
        let workload = Workload { requests: 5_000, objects: 500, ..Workload::default() };
        let (one, same, other) =
            (generate(&workload, 1), generate(&workload, 1), generate(&workload, 2));
        assert_eq!(one.requests, same.requests);
        assert_ne!(one.requests, other.requests);
        assert_eq!(one.requests.len(), 5_000);
        assert!(one.requests.is_sorted_by_key(|request| request.at_ms));
        assert!(one.objects() > 500, "one-hit objects come on top");
    }
}
