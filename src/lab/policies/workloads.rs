//! What the node's policy must withstand, each as a generated workload and a ratio.
//!
//! Seeded, so the figures are always the same; the bars leave room for changes of the
//! policy, none for its failure.

use super::*;
use crate::lab::generate::{Workload, generate};
use crate::lab::trace::{Builder, NO_TTL};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};

fn misses(trace: &Trace, name: &str, capacity: u64) -> f64 {
    let mut policy = by_name(name, capacity, trace).unwrap();
    let mut gone = Vec::new();
    let missed = trace.requests.iter().filter(|request| {
        gone.clear();
        !policy.access(request, &mut gone)
    });
    missed.count() as f64 / trace.requests.len() as f64
}

/// Requests for objects of given names and sizes.
fn trace(requests: impl Iterator<Item = (u64, u64)>) -> Trace {
    let mut builder = Builder::default();
    for (at, (name, size)) in requests.enumerate() {
        let object = builder.object(&name.to_le_bytes());
        builder.push(Request { at_ms: at as u64, object, ttl_s: NO_TTL, size });
    }
    builder.finish()
}

fn zipf(seed: u64, objects: f64) -> impl FnMut() -> u64 {
    let (mut random, law) = (StdRng::seed_from_u64(seed), Zipf::new(objects, 0.9).unwrap());
    move || law.sample(&mut random) as u64
}

#[test]
fn a_scan_over_cold_objects_costs_little_more_than_itself() {
    let mut popular = zipf(1, 2_000.0);
    // Every second request of the middle third belongs to the scan.
    let scanned = |at: u64| (30_000..60_000).contains(&at) && at.is_multiple_of(2);
    let requests =
        (0..90_000).map(|at| if scanned(at) { (1 << 40 | at, 1000) } else { (popular(), 1000) });
    let with = trace(requests);
    let mut popular = zipf(1, 2_000.0);
    let without = trace((0..75_000).map(|_| (popular(), 1000)));
    let capacity = 300_000;
    let scan = 15_000.0 / 90_000.0;
    let cost = |name: &str| {
        misses(&with, name, capacity) - scan - misses(&without, name, capacity) * (1.0 - scan)
    };
    let (own, lru) = (cost("auto"), cost("lru"));
    assert!(own < 0.02 && own < lru / 2.0, "auto {own:.4}, lru {lru:.4}");
}

#[test]
fn objects_asked_for_once_do_not_push_out_the_others() {
    let mut popular = zipf(2, 2_000.0);
    let requests = (0..100_000).map(|at| match at % 2 {
        0 => (popular(), 1000),
        _ => (1 << 40 | at, 1000),
    });
    let trace = trace(requests);
    let (own, lru, best) = (
        misses(&trace, "auto", 300_000),
        misses(&trace, "lru", 300_000),
        misses(&trace, "belady", 300_000),
    );
    assert!(own < lru - 0.05, "auto {own:.4}, lru {lru:.4}, belady {best:.4}");
    assert!(own - best < 0.1, "auto {own:.4}, belady {best:.4}");
}

#[test]
fn a_shift_of_popularity_is_followed() {
    let mut popular = zipf(3, 2_000.0);
    // Everything popular is replaced at once, halfway.
    let trace = trace((0..120_000).map(|at| (popular() + at / 60_000 * 1_000_000, 1000)));
    let (own, lru) = (misses(&trace, "auto", 400_000), misses(&trace, "lru", 400_000));
    assert!(own < lru + 0.005, "auto {own:.4}, lru {lru:.4}");
}

#[test]
fn very_large_objects_do_not_flush_the_tiny_ones() {
    let (mut popular, mut huge) = (zipf(4, 3_000.0), StdRng::seed_from_u64(5));
    let requests = (0..100_000).map(|at| match at % 20 {
        0 => (1 << 40 | huge.random_range(0..200), 1_000_000),
        _ => (popular(), 1000),
    });
    let trace = trace(requests);
    let (own, lru, best) = (
        misses(&trace, "auto", 3_000_000),
        misses(&trace, "lru", 3_000_000),
        misses(&trace, "gdsf", 3_000_000),
    );
    assert!(own < lru / 2.0, "auto {own:.4}, lru {lru:.4}");
    assert!(own < best * 1.05, "auto {own:.4}, gdsf {best:.4}");
}

#[test]
fn on_a_mixed_workload_the_choice_is_as_good_as_the_best_single_policy() {
    let workload = Workload { requests: 150_000, objects: 15_000, ..Workload::default() };
    let trace = generate(&workload, 6);
    let capacity = trace.footprint() / 100;
    let own = misses(&trace, "auto", capacity);
    for name in ["lru", "fifo", "sieve", "s3-fifo", "gdsf"] {
        let other = misses(&trace, name, capacity);
        assert!(own < other * 1.02 + 0.002, "auto {own:.4}, {name} {other:.4}");
    }
    let (bound, _) = bound(&trace, capacity);
    assert!(bound < own, "the bound {bound:.4} is one");
    assert!(bound <= misses(&trace, "belady", capacity) + 1e-9);
}

#[test]
fn variants_of_a_name_stay_and_go_together() {
    let mut builder = Builder::default();
    for at in 0..40_000u64 {
        let name = (at * 7919 % 997).to_le_bytes();
        let variant: &[u8] = if at % 3 == 0 { b"br" } else { b"gzip" };
        let object = builder.variant(&name, variant);
        builder.push(Request { at_ms: at, object, ttl_s: NO_TTL, size: 1000 });
    }
    let trace = builder.finish();
    assert_eq!(trace.variants.as_ref().unwrap().varying(), 997);
    // Room for all of both variants: only first requests miss.
    let all = misses(&trace, "auto", 4_000_000);
    assert_eq!(all, 1994.0 / 40_000.0);
    // Room for half: whole slots go, so more is missed than that.
    assert!(misses(&trace, "auto", 1_000_000) > 0.3);
}
