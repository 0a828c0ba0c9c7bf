//! A recorded byte stream read by the guard in pieces of chosen sizes, as a connection
//! would: what tests and the fuzz target compare, because no cut may change the outcome.

use super::{Guard, HeadLimits, Then};

/// What came of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The bytes hyper would have seen.
    pub passed: Vec<u8>,
    /// Heads among them.
    pub heads: u32,
    /// The last verdict.
    pub last: Then,
}

/// Reads `bytes` in pieces of the sizes `cuts`, and what is left in one.
pub fn replay(bytes: &[u8], cuts: &[usize], limits: HeadLimits) -> Replayed {
    let mut guard = Guard::new(limits);
    let mut held = Vec::new();
    let mut outcome = Replayed { passed: Vec::new(), heads: 0, last: Then::Done };
    let mut rest = bytes;
    let mut cuts = cuts.iter().copied();
    while !rest.is_empty() {
        let n = cuts.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let (piece, later) = rest.split_at(n);
        rest = later;
        let seen = held.len();
        held.extend_from_slice(piece);
        if outcome.last == Then::Partial && !guard.may_be_complete(&held, seen) {
            continue;
        }
        loop {
            let scan = guard.scan(&held);
            outcome.passed.extend(held.drain(..scan.pass));
            outcome.heads += scan.heads;
            outcome.last = scan.then;
            if outcome.last != Then::Alone {
                break;
            }
        }
        if matches!(outcome.last, Then::Refuse(_) | Then::Break(_)) {
            break;
        }
    }
    outcome
}
