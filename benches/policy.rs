//! What the memory tier's policy costs: nanoseconds of one `get` by number of residents and
//! by settings, and of the always-on sample beside it.
//!
//! `cargo bench --bench policy`. One thread; values shared by reference count, each a
//! memory line of its own, as entries are; keys in an order that no prefetcher guesses. The
//! least of some rounds is given, because other work on the machine only ever adds.

use std::hint::black_box;
use std::sync::Arc;

use brink::base::clock::instant;
use brink::store::policy::{Change, Goal, Sharded, Tuning};
use brink::telemetry::Sample;

const GETS: usize = 1 << 20;
const ROUNDS: usize = 5;
/// Bytes an object is said to weigh.
const WEIGHT: u64 = 1500;

type Value = Arc<[u64; 8]>;

fn main() {
    println!("ns a get      uniform: auto    fixed   Zipf 0.9: auto    fixed    M gets/s (auto)");
    for residents in [1_000, 10_000, 100_000, 1_000_000] {
        let mut cells = Vec::new();
        for exponent in [0.0, 0.9] {
            let keys = keys(residents, exponent);
            cells.push(get(&filled(residents, true), &keys));
            cells.push(get(&filled(residents, false), &keys));
        }
        println!(
            "{residents:>9} {:>14.1} {:>8.1} {:>16.1} {:>8.1} {:>11.1} {:.1}",
            cells[0],
            cells[1],
            cells[2],
            cells[3],
            1e3 / cells[0],
            1e3 / cells[2]
        );
    }
    let keys = keys(100_000, 0.9);
    let sample = Sample::default();
    let note = |key: &u128| sample.note(*key as u64, WEIGHT, 1, 60);
    keys.iter().for_each(note);
    println!("the always-on sample: {:.1} ns a request", least(|| keys.iter().for_each(note)));
}

fn least(mut round: impl FnMut()) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let start = instant();
        round();
        start.elapsed().as_secs_f64() * 1e9 / GETS as f64
    });
    times.fold(f64::MAX, f64::min)
}

fn get(cache: &Sharded<Value>, keys: &[u128]) -> f64 {
    let mut victims = Vec::new();
    let mut round = || {
        for key in keys {
            black_box(cache.get(*key, &mut victims));
        }
    };
    // The shadows settle first.
    (0..4).for_each(|_| round());
    least(round)
}

fn filled(residents: u64, auto: bool) -> Sharded<Value> {
    let room = residents * WEIGHT * 2;
    let cache = match auto {
        true => Sharded::auto(room, Goal::Objects),
        false => Sharded::fixed(room, Goal::Objects, Tuning::DEFAULT),
    };
    let mut victims = Vec::new();
    for n in 0..residents {
        cache.update(key(n), |_| Change::Store(Value::default(), WEIGHT), &mut victims);
    }
    cache
}

fn key(n: u64) -> u128 {
    let half = |n: u64| {
        let mixed = (n ^ n >> 31).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        (mixed ^ mixed >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    };
    u128::from(half(n + 1)) << 64 | u128::from(half(n + (1 << 40)))
}

/// Keys with popularity falling by this exponent, by inversion of its integral.
fn keys(residents: u64, exponent: f64) -> Vec<u128> {
    let power = 1.0 - exponent;
    let most = (residents as f64).powf(power);
    let mut state = 7_u64;
    let draw = |_| {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        let share = (state >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = ((share * (most - 1.0) + 1.0).powf(1.0 / power)) as u64;
        key(rank.min(residents - 1))
    };
    (0..GETS).map(draw).collect()
}
