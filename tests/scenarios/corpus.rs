//! The seed corpus of the fuzz targets, replayed; and the same properties on bytes that
//! proptest makes out of the seeds.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;

#[path = "../../fuzz/properties.rs"]
mod properties;

#[path = "../../fuzz/formats.rs"]
mod formats;

#[path = "../../fuzz/streams.rs"]
mod streams;

/// A property, the name of its corpus, and the corpus.
type Target = (&'static str, fn(&[u8]), Vec<Vec<u8>>);

/// Every one of them, read once.
static ALL: LazyLock<Vec<Target>> = LazyLock::new(|| {
    let all = properties::ALL.into_iter().chain(formats::ALL).chain(streams::ALL);
    all.map(|(target, property)| (target, property, seeds(target))).collect()
});

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = std::fs::read_dir(&corpus).expect("every target has a corpus");
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn the_seed_corpus_holds() {
    let mut broken = Vec::new();
    for (target, property, seeds) in ALL.iter() {
        assert!(!seeds.is_empty(), "{target}");
        for seed in seeds {
            if std::panic::catch_unwind(|| property(seed)).is_err() {
                broken.push((target, String::from_utf8_lossy(seed).into_owned()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// One change to a seed: a byte put, taken or replaced, or a piece of another seed.
fn change(seed: &mut Vec<u8>, at: &Index, kind: u8, byte: u8, other: &[u8]) {
    let place = at.index(seed.len() + 1);
    match kind % 4 {
        0 => seed.insert(place, byte),
        1 if place < seed.len() => drop(seed.remove(place)),
        2 if place < seed.len() => seed[place] = byte,
        _ => drop(seed.splice(place..place, other.iter().copied())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn changed_seeds_hold_too(
        from in any::<[Index; 2]>(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>(), any::<u8>()), 1..8),
    ) {
        for (_, property, seeds) in ALL.iter() {
            let mut input = from[0].get(seeds).clone();
            for (at, kind, byte) in &changes {
                change(&mut input, at, *kind, *byte, from[1].get::<Vec<u8>>(seeds));
            }
            property(&input);
        }
    }
}
