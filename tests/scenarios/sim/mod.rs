//! The seeded world: many exchanges, purges, faults and crashes against a naive model.
//!
//! ```text
//! seed -> dice -> steps -> world (node, origins, clients, disk, clock) -> judge (law, parts)
//! ```
//! The node is the real one from its configuration to its admin API, built by
//! `node::seams`; only sockets, disks and the clock are ours. A violation prints its seed
//! and the shortest list of steps found that still shows it.
//!
//! The ordinary test replays the seeds in `seeds.txt` and a few more. The long mode:
//!
//! ```text
//! BRINK_SIM_STEPS=1000000 cargo test --release --test scenarios sim:: -- --nocapture
//! BRINK_SIM_SEED=42 BRINK_SIM_STEPS=3000 cargo test --test scenarios sim:: -- --nocapture
//! ```
//! One client reaches the handler by hyper alone, the others by the front's own ways (`ways`);
//! `BRINK_SIM_WAY` sends all by one, and `alike` holds the ways against each other.
//!
//! Without a seed the kept seeds and then worlds of [`WORLD`] steps are run one after the
//! other from seed 1 on (from `BRINK_SIM_FROM` on, without the kept ones) until that many
//! steps are done; with one just that world.

mod alike;
mod client;
mod device;
mod dice;
mod judge;
mod law;
mod origin;
mod parts;
mod scene;
mod setup;
mod status;
mod step;
mod ways;
mod world;

use std::collections::BTreeMap;

use dice::Dice;
use step::Step;
use ways::Way;
use world::{Violation, World};

/// Steps of one world in the long mode.
const WORLD: usize = 2_000;
/// Seeds run by the ordinary test beside the kept ones, and steps of each.
const FRESH: std::ops::Range<u64> = 1..5;
const STEPS: usize = 300;
/// Kept seeds of more steps are for the long mode.
const KEPT_MAX: usize = 400;
/// Runs spent on making a failing list shorter, if `BRINK_SIM_TRIES` says nothing else.
const TRIES: u64 = 200;
/// Seeds that once failed: `seed steps`, and why.
const KEPT: &str = include_str!("seeds.txt");

fn steps_of(seed: u64, count: usize) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    (0..count).map(|_| step::roll(&mut dice)).collect()
}

/// Runs `steps`; where and how it failed.
fn run(seed: u64, steps: &[Step]) -> Result<World, (usize, Violation)> {
    let mut world = World::new(seed, way());
    for (place, step) in steps.iter().enumerate() {
        world.step(step).map_err(|violation| (place, violation))?;
    }
    world.end().map_err(|violation| (steps.len(), violation))?;
    Ok(world)
}

/// Leaves steps away as long as it still fails: first what is about other URLs, then one
/// piece after the other.
fn shorten(seed: u64, mut steps: Vec<Step>, mut last: Violation) -> (Vec<Step>, Violation) {
    let about = |step: &Step| match step {
        Step::Ask(ask) | Step::Burst { ask, .. } => Some(ask.url),
        Step::Change { url, .. } => Some(*url),
        _ => None,
    };
    let others = |step: &&Step| about(step).is_none_or(|url| Some(url) == last.url);
    let own: Vec<Step> = steps.iter().filter(others).cloned().collect();
    if let Err((place, violation)) = run(seed, &own)
        && kind(&violation) == kind(&last)
    {
        (steps, last) = (own, violation);
        steps.truncate(place + 1);
    }
    let mut chunk = steps.len().div_ceil(2);
    let most = number("BRINK_SIM_TRIES").unwrap_or(TRIES);
    let mut tries = 0;
    while chunk > 0 && tries < most {
        let mut at = 0;
        let mut shorter = false;
        while at < steps.len() && tries < most {
            let end = (at + chunk).min(steps.len());
            let less: Vec<Step> = [&steps[..at], &steps[end..]].concat();
            tries += 1;
            match run(seed, &less) {
                Err((place, violation)) if kind(&violation) == kind(&last) => {
                    steps = less;
                    steps.truncate(place + 1);
                    last = violation;
                    shorter = true;
                }
                _ => at = end,
            }
        }
        if !shorter || chunk > 1 {
            chunk /= 2;
        }
    }
    (steps, last)
}

/// The first words of what is wrong: a shorter list must show the same.
fn kind(violation: &Violation) -> &str {
    let what = violation.what.as_str();
    what.split(|c: char| c.is_ascii_digit() || ":\n".contains(c)).next().unwrap_or(what)
}

fn report(seed: u64, count: usize, (place, violation): (usize, Violation)) -> String {
    let mut steps = steps_of(seed, count);
    steps.truncate(place + 1);
    let (steps, last) = shorten(seed, steps, violation.clone());
    let lines: Vec<String> =
        steps.iter().enumerate().map(|(place, step)| format!("  {place}: {step:?}")).collect();
    format!(
        "BRINK_SIM_SEED={seed} BRINK_SIM_STEPS={count} fails at step {place}:\n{}\n\
         shortest list found:\n{}\n{}",
        violation.what,
        lines.join("\n"),
        last.what
    )
}

/// The way that all clients go, if `BRINK_SIM_WAY` names one.
fn way() -> Option<Way> {
    match std::env::var("BRINK_SIM_WAY").ok()?.as_str() {
        "hyper" => Some(Way::Hyper),
        "http1" => Some(Way::Http1),
        "http2" => Some(Way::Http2),
        other => panic!("no such way: {other}"),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn kept() -> Vec<(u64, usize)> {
    let lines = KEPT.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        })
        .collect()
}

#[test]
fn a_seeded_world_agrees_with_the_naive_model() {
    let seed = number("BRINK_SIM_SEED");
    let wanted = number("BRINK_SIM_STEPS").map(|steps| steps as usize);
    let worlds: Vec<(u64, usize)> = match (seed, wanted) {
        (Some(seed), steps) => vec![(seed, steps.unwrap_or(WORLD))],
        (None, Some(steps)) => {
            let from = number("BRINK_SIM_FROM");
            let first = from.unwrap_or(1);
            let fresh = first..first + steps.div_ceil(WORLD) as u64;
            let long = kept().into_iter().filter(|_| from.is_none());
            long.chain(fresh.map(|seed| (seed, WORLD))).collect()
        }
        (None, None) => {
            let short = kept().into_iter().filter(|(_, steps)| *steps <= KEPT_MAX);
            short.chain(FRESH.map(|seed| (seed, STEPS))).collect()
        }
    };
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut failures = Vec::new();
    for (seed, steps) in worlds {
        match run(seed, &steps_of(seed, steps)) {
            Ok(world) => tally(&steps_of(seed, steps), &world, &mut counts),
            Err(failure) => {
                let text = report(seed, steps, failure);
                println!("{text}\n");
                failures.push(text);
            }
        }
    }
    println!("{counts:#?}");
    assert!(failures.is_empty(), "{} seeds fail:\n{}", failures.len(), failures.join("\n\n"));
}

/// Tokio draws by lot in which order the followers of one fetch wake up; but for that,
/// nothing in a world depends on anything but its seed.
#[test]
fn the_same_seed_is_the_same_world() {
    let mut steps = steps_of(3, 300);
    steps.retain(|step| !matches!(step, Step::Hold { .. } | Step::Burst { .. }));
    let trace = || run(3, &steps).map(|world| world.trace).map_err(|failure| failure.1.what);
    let (one, two) = (trace(), trace());
    assert!(one.is_ok() && one == two, "{one:?} and {two:?}");
}

fn tally(steps: &[Step], world: &World, counts: &mut BTreeMap<String, u64>) {
    for step in steps {
        let text = format!("{step:?}");
        let word = text.split([' ', '(', '{']).next().unwrap_or_default();
        *counts.entry(format!("step {word}")).or_default() += 1;
    }
    let tally = world.judge.tally;
    for (name, count) in [
        ("answer own", tally.own),
        ("answer shared", tally.shared),
        ("answer fresh", tally.fresh),
        ("answer stale", tally.stale),
        ("answer error", tally.errors),
        ("answer cut", tally.cut),
    ] {
        *counts.entry(name.to_owned()).or_default() += count;
    }
}
