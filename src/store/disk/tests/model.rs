//! The tier against a map that is too simple to be wrong, thousands of seeded steps.
//!
//! The tier may forget, so the model says what may be found, not what must be: for each
//! key and variant the newest body, or nothing. Set `BRINK_SEED` to repeat a run.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const KEYS: u64 = 40;
const LANGUAGES: [&str; 3] = ["de", "en", "fr"];

/// Newest body of each key and variant.
type Model = HashMap<(u64, Option<usize>), (u64, usize)>;

struct Run {
    disk: Option<Disk>,
    options: Options,
    clock: Clock,
    model: Model,
    rng: StdRng,
    hits: usize,
}

#[test]
fn it_never_finds_what_a_naive_map_does_not_hold() {
    let seeds: Vec<u64> = match std::env::var("BRINK_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => vec![1, 2, rand::random()],
    };
    for seed in seeds {
        println!("BRINK_SEED={seed}");
        let dirs = [scratch(), scratch()];
        let mut options = options(dirs[0].path());
        options.directories.extend(super::options(dirs[1].path()).directories);
        options.admit = if seed % 2 == 0 { AdmitPolicy::All } else { AdmitPolicy::Evicted };
        let clock = clock();
        let disk = Some(open(&options, &clock));
        let rng = StdRng::seed_from_u64(seed);
        let mut run = Run { disk, options, clock, model: Model::new(), rng, hits: 0 };
        for step in 0..3_000 {
            run.step(seed, step);
        }
        assert!(run.hits > 300, "seed {seed}: {} hits", run.hits);
    }
}

impl Run {
    fn disk(&self) -> &Disk {
        self.disk.as_ref().unwrap()
    }

    fn step(&mut self, seed: u64, step: u64) {
        let at = format!("seed {seed}, step {step}");
        let n = self.rng.random_range(0..KEYS);
        let text = format!("http://a:80/{n}");
        match self.rng.random_range(0..100) {
            0..=39 => self.put(n, &text, step),
            40..=79 => self.get(n, &text, &at),
            80..=84 => {
                self.disk().remove(&key(self.disk(), &text));
                self.model.retain(|(key, _), _| *key != n);
                assert!(get(self.disk(), &text).is_none(), "{at}: removed");
            }
            85..=95 => assert!(sync(self.disk()), "{at}"),
            96 => self.sweep(n, &at),
            97..=98 => self.restart(true),
            _ => {
                // What was not written may be lost, and then an older version be found:
                // the model would have to know them all. So everything is written first.
                assert!(sync(self.disk()), "{at}");
                self.restart(false);
            }
        }
        for stats in self.disk().stats() {
            assert!(stats.used_bytes <= stats.capacity_bytes, "{at}: {stats:?}");
        }
    }

    fn put(&mut self, n: u64, text: &str, step: u64) {
        let language = n.is_multiple_of(3).then(|| self.rng.random_range(0..LANGUAGES.len()));
        let len = [0, 1, 700, 9_000, 25_000][self.rng.random_range(0..5)];
        let content = body(step, len);
        let one = match language {
            Some(which) => varied(text, LANGUAGES[which], content),
            None => entry(text, content),
        };
        // As the node does: what was stored is offered again when memory gives it up.
        let one = Arc::new(one);
        self.disk().put(Arc::clone(&one));
        if self.rng.random_bool(0.5) {
            self.disk().evicted(one, 1);
        }
        self.model.insert((n, language), (step, len));
    }

    fn get(&mut self, n: u64, text: &str, at: &str) {
        let Some(slot) = get(self.disk(), text) else { return };
        self.hits += 1;
        for found in &slot.variants {
            let language = found.vary.as_ref().map(|vary| {
                let value = vary.fields[0].1.as_deref().unwrap();
                LANGUAGES.iter().position(|known| known.as_bytes() == value).unwrap()
            });
            let Some((step, len)) = self.model.get(&(n, language)) else {
                panic!("{at}: {text} {language:?} should be gone");
            };
            assert!(bytes_of(found) == body(*step, *len), "{at}: {text} {language:?}");
        }
        assert!(slot.variants.len() <= LANGUAGES.len(), "{at}");
    }

    /// Drops every key that ends in the digit of `n`.
    fn sweep(&mut self, n: u64, at: &str) {
        use crate::rules::ledger::Verdict;
        let digit = n % 10;
        let hit = |key: &[u8]| key.ends_with(digit.to_string().as_bytes());
        let report = self.disk().sweep(0, &mut |facts| match hit(facts.key) {
            true => Verdict::Gone,
            false => Verdict::Live,
        });
        assert!(report.complete, "{at}");
        self.model.retain(|(key, _), _| *key % 10 != digit);
    }

    fn restart(&mut self, clean: bool) {
        let disk = self.disk.take().unwrap();
        if clean {
            disk.close()
        } else {
            drop(disk)
        }
        self.disk = Some(open(&self.options, &self.clock));
    }
}
