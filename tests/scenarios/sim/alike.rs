//! The same world once for each way into the node: every client is told the same.
//!
//! Left out is what is decided by lot or by the moment: who of several that wait wakes first,
//! how much of an answer a client has taken when it goes, and what has to go for want of room
//! or is lost in a crash, which hangs on how far the disk's writer, a thread of its own, is:
//! memory is large enough for everything, and nothing crashes.

use std::collections::BTreeMap;

use super::client::{Answer, Told};
use super::step::{Ask, Step};
use super::ways::Way;
use super::{STEPS, WORLD, World, number, steps_of};
use crate::support::Ended;

/// What was told to each request, by its number.
pub type Heard = BTreeMap<u64, String>;

/// Bytes of memory for all that one world's origins can say.
const ROOMY: u64 = 1 << 30;

/// Fields that say how a message travels, which is different by protocol (RFC 9113 8.2.2).
const FRAMING: [&str; 2] = ["connection", "transfer-encoding"];

/// What a client was told, without the marks of its protocol. How much of an answer is out
/// when it breaks is a matter of the moment: that it is broken counts.
pub fn gist(told: &Told) -> String {
    let Told { ask, answer, .. } = told;
    let whole = answer.as_ref().filter(|answer| answer.ended == Ended::Clean);
    let Some(Answer { status, fields, body, .. }) = whole else {
        return format!("{ask:?}\n  a broken answer");
    };
    let line = |(name, value): &(String, String)| format!("{}: {value}", name.to_lowercase());
    let mut fields: Vec<String> = fields.iter().map(line).collect();
    fields.retain(|line| !FRAMING.iter().any(|name| line.starts_with(name)));
    // The node dates its own words by a clock that is not the world's.
    let own = !fields.iter().any(|line| line.starts_with("x-reply"));
    fields.retain(|line| !(own && line.starts_with("date:")));
    // With HTTP/2 the end of the head may say it (RFC 9113 8.1).
    fields.retain(|line| line != "content-length: 0");
    fields.sort();
    let (length, body) = (body.len(), String::from_utf8_lossy(body));
    let text =
        format!("{ask:?}\n  {status}, {length} bytes\n    {}\n{body}", fields.join("\n    "));
    // The boundary between parts is drawn anew for each answer.
    match text.split_once("boundary=").and_then(|(_, rest)| rest.split_once('\n')) {
        Some((boundary, _)) => text.replace(boundary, "boundary"),
        None => text,
    }
}

/// The fingerprint `trace` with one more answer.
pub fn fold(trace: u64, told: &Told) -> u64 {
    let answer = told.answer.as_ref();
    let mut mixed = trace ^ told.id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let words = [
        answer.map_or(0, |answer| u64::from(answer.status)),
        answer.and_then(|answer| answer.number("x-reply")).unwrap_or(u64::MAX),
        answer.map_or(0, |answer| answer.body.len() as u64),
        answer.and_then(|answer| answer.number("age")).unwrap_or(u64::MAX),
    ];
    for word in words {
        mixed = (mixed ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
    mixed
}

fn plain(step: Step) -> Option<Step> {
    match step {
        Step::Hold { .. } | Step::Burst { .. } => None,
        Step::Crash { .. } | Step::Restart | Step::Disk(_) | Step::PutBack => None,
        Step::Ask(ask) => Some(Step::Ask(Ask { leaves: None, ..ask })),
        other => Some(other),
    }
}

fn heard(seed: u64, steps: &[Step], way: Way) -> Heard {
    let mut world = World::with_memory(seed, Some(way), ROOMY);
    world.heard = Some(Heard::new());
    let ran = steps.iter().try_for_each(|step| world.step(step)).and_then(|()| world.end());
    if let Err(violation) = ran {
        panic!("seed {seed}, {way:?}: {}", violation.what);
    }
    world.heard.unwrap_or_default()
}

#[test]
fn every_way_gives_the_same_answers() {
    let (worlds, count) = match number("BRINK_SIM_STEPS") {
        Some(steps) => (steps.div_ceil(3 * WORLD as u64), WORLD),
        None => (2, STEPS),
    };
    let first = number("BRINK_SIM_FROM").unwrap_or(1);
    // `hyper` against itself shows whether such a world can be repeated at all.
    let ways = super::way().map_or(vec![Way::Http1, Way::Http2], |way| vec![way]);
    let (mut answers, mut wrong) = (0, Vec::new());
    // A key is hashed alike in all worlds of one seed that have a disk, which knows its seed,
    // and the engine of these has no work of its own in the background (`setup`).
    for seed in (first..first + worlds).map(|number| number * 8 + 2) {
        let steps: Vec<Step> = steps_of(seed, count).into_iter().filter_map(plain).collect();
        let usual = heard(seed, &steps, Way::Hyper);
        for &way in &ways {
            let other = heard(seed, &steps, way);
            assert_eq!(usual.len(), other.len(), "seed {seed}, {way:?}: answers");
            for (id, text) in &usual {
                let found = other.get(id).map_or("nothing", String::as_str);
                if text != found {
                    let short = |text: &str| text.chars().take(1_500).collect::<String>();
                    let (one, two) = (short(text), short(found));
                    wrong.push(format!("seed {seed}, request {id}: {one}\n{way:?}: {two}"));
                }
            }
        }
        answers += (1 + ways.len()) * usual.len();
    }
    let first = wrong.iter().take(10).cloned().collect::<Vec<_>>().join("\n\n");
    assert!(wrong.is_empty(), "{} of {answers} answers differ:\n{first}", wrong.len());
    println!("{answers} answers in {worlds} worlds, alike by {ways:?} too");
}
