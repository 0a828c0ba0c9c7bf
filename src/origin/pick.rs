//! Which server gets a request: pure functions over a list of candidates.
//!
//! Least loaded is the power of two choices: two random candidates, the cheaper one wins.
//! Cost is (in flight + 1) * latency / weight, so a server that answers slowly gets fewer
//! requests before it queues. Taking the best of all was rejected: every thread would
//! herd to the same one. A latency that was not measured for a while counts less and less:
//! else a server that was slow once would never be asked again.
//!
//! Consistent hashing is rendezvous hashing, which needs no ring and moves only the keys of a
//! server that goes, with a bound on the load.

/// A server as the pickers see it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Identity that survives reloads (hash of the name).
    pub id: u64,
    /// Effective weight, at least 1 (a slow start lowers it); 100 is weight 1.
    pub weight: u64,
    /// Requests in flight.
    pub outstanding: u64,
    /// Average time to a head in microseconds, 0 when unknown.
    pub latency_us: u64,
}

/// The candidate at `ticket` of a weighted circle; `ticket` counts requests.
pub fn round_robin(candidates: &[Candidate], ticket: u64) -> Option<usize> {
    // Weights 100 and 300 are a circle of 4 places, so that 4 requests share exactly.
    let common = candidates.iter().fold(0, |so_far, one| divisor(so_far, one.weight)).max(1);
    let total: u64 = candidates.iter().map(|one| one.weight / common).sum();
    // Steps of an odd stride spread equal weights evenly instead of in runs.
    let mut at = ticket.wrapping_mul(STRIDE) % total.max(1);
    for (index, one) in candidates.iter().enumerate() {
        if at < one.weight / common {
            return Some(index);
        }
        at -= one.weight / common;
    }
    None
}

/// Greatest common divisor.
fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// The cheaper of two random ones.
pub fn least_loaded(candidates: &[Candidate], random: u64) -> Option<usize> {
    let count = candidates.len() as u64;
    if count < 2 {
        return (count == 1).then_some(0);
    }
    let first = (random & 0xffff_ffff) % count;
    let step = 1 + (random >> 32) % (count - 1);
    let second = (first + step) % count;
    let cost = |index: u64| candidates.get(index as usize).map(cost);
    Some(if cost(second) < cost(first) { second as usize } else { first as usize })
}

/// A latency last measured so long ago.
pub fn faded(latency_us: u64, silent_ms: u64) -> u64 {
    latency_us >> (silent_ms / HALF_LIFE_MS).min(63)
}

fn cost(one: &Candidate) -> u64 {
    // Latencies below a tenth of a millisecond differ by noise.
    let latency = one.latency_us.max(100);
    (one.outstanding + 1).saturating_mul(latency).saturating_mul(1000) / one.weight.max(1)
}

/// The highest score for this key among those below the bound on load.
pub fn consistent_hash(candidates: &[Candidate], key: u64) -> Option<usize> {
    let weights: u64 = candidates.iter().map(|one| one.weight).sum();
    let in_flight: u64 = candidates.iter().map(|one| one.outstanding).sum::<u64>() + 1;
    let full = |one: &Candidate| {
        let share = (in_flight * one.weight * LOAD_PERCENT).div_ceil(weights.max(1) * 100);
        one.outstanding >= share.max(1)
    };
    let best = |all: bool| {
        let open = candidates.iter().enumerate().filter(|(_, one)| all || !full(one));
        open.max_by(|(_, a), (_, b)| score(a, key).total_cmp(&score(b, key)))
            .map(|(index, _)| index)
    };
    best(false).or_else(|| best(true))
}

/// Weighted rendezvous score: -weight / ln(u) with u uniform in (0, 1).
fn score(one: &Candidate, key: u64) -> f64 {
    let mixed = mix(key ^ one.id.rotate_left(32));
    let uniform = ((mixed >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -(one.weight as f64) / uniform.ln()
}

/// The finaliser of SplitMix64.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A latency that is not measured any more counts half after this time.
const HALF_LIFE_MS: u64 = 500;
/// How far above its share a server may go before a key moves on.
const LOAD_PERCENT: u64 = 125;
/// Prime, so that it visits every place of circles of ordinary size.
const STRIDE: u64 = 7919;

#[cfg(test)]
mod tests {
    use super::*;

    fn some(weights: &[u64]) -> Vec<Candidate> {
        let one = |(index, &weight): (usize, &u64)| Candidate {
            id: mix(index as u64 + 1),
            weight: weight * 100,
            outstanding: 0,
            latency_us: 1000,
        };
        weights.iter().enumerate().map(one).collect()
    }

    #[test]
    fn round_robin_follows_the_weights() {
        let list = some(&[1, 2, 1]);
        let mut counts = [0; 3];
        for ticket in 0..4000 {
            counts[round_robin(&list, ticket).unwrap()] += 1;
        }
        assert_eq!(counts, [1000, 2000, 1000]);
        assert_eq!(round_robin(&[], 3), None);
    }

    #[test]
    fn least_loaded_prefers_the_cheaper_of_two() {
        let mut list = some(&[1, 1]);
        list[0].outstanding = 9;
        assert!((0..100).all(|random| least_loaded(&list, mix(random)) == Some(1)));
        list[1].latency_us = 100_000;
        assert!((0..100).all(|random| least_loaded(&list, mix(random)) == Some(0)));
        assert_eq!(least_loaded(&list[..1], 5), Some(0));
    }

    #[test]
    fn a_latency_fades_while_nobody_measures_it() {
        assert_eq!(faded(400_000, 499), 400_000);
        assert_eq!(faded(400_000, 1000), 100_000);
        assert_eq!(faded(400_000, u64::MAX), 0);
    }

    #[test]
    fn consistent_hash_moves_only_the_keys_of_the_server_that_goes() {
        let list = some(&[1, 1, 1, 1]);
        let mut counts = [0; 4];
        for key in 0..4000 {
            let before = consistent_hash(&list, mix(key)).unwrap();
            counts[before] += 1;
            let after = consistent_hash(&list[..3], mix(key)).unwrap();
            assert!(before == 3 || before == after);
        }
        assert!(counts.iter().all(|&count| (850..1150).contains(&count)), "{counts:?}");
    }

    #[test]
    fn consistent_hash_leaves_a_server_that_has_more_than_its_share() {
        let mut list = some(&[1, 1, 1]);
        let first = consistent_hash(&list, 7).unwrap();
        list[first].outstanding = 30;
        assert_ne!(consistent_hash(&list, 7), Some(first));
    }
}
