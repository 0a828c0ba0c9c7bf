//! Both engines keep the same promises; every test here runs on each.

use std::sync::atomic::{AtomicBool, AtomicU64};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::*;
use crate::rules::entry::Extent;
use crate::rules::freshness::{Freshness, LifetimeSource};
use crate::rules::head::Head;
use crate::rules::key::KeySeed;
use crate::rules::vary::Vary;

const POLICIES: [MemoryPolicy; 2] = [MemoryPolicy::Auto, MemoryPolicy::TinyLfu];

fn key(name: &str) -> Key {
    Key::new(KeySeed(7), SmallVec::from_slice(name.as_bytes()))
}

fn entry(key: &Key, language: Option<&str>, body: usize) -> Arc<Entry> {
    let vary = language.map(|language| {
        let value = Some(language.as_bytes().into());
        Box::new(Vary { fields: vec![(http::header::ACCEPT_LANGUAGE, value)] })
    });
    Arc::new(Entry {
        key: key.text().into(),
        head: Head::pack(StatusCode::OK, &HeaderMap::new(), |_| true).unwrap(),
        body: SmallVec::from_iter([Bytes::from(vec![0; body])]),
        extent: Extent::Whole,
        freshness: Freshness {
            received_mono_ms: 0,
            initial_age_ms: 0,
            lifetime_ms: 0,
            while_revalidate_ms: 0,
            if_error_ms: 0,
            always_validate: false,
            never_stale: false,
            immutable: false,
            source: LifetimeSource::None,
        },
        vary,
        tags: Box::new([]),
        seq: 0,
        checked_seq: AtomicU64::new(0),
        soft_purged: AtomicBool::new(false),
    })
}

fn memory(policy: MemoryPolicy, capacity: u64) -> (Memory, Arc<Mutex<Vec<Victim>>>) {
    let victims: Arc<Mutex<Vec<Victim>>> = Arc::default();
    let seen = victims.clone();
    let options = MemoryOptions {
        capacity: ByteSize(capacity),
        policy,
        variants_max: 3,
        ..Default::default()
    };
    (Memory::new(&options, Some(Arc::new(move |victim| seen.lock().push(victim)))), victims)
}

#[test]
fn what_was_put_is_found_weighed_and_removed() {
    for policy in POLICIES {
        let (memory, _) = memory(policy, 1 << 20);
        let (a, b) = (key("a"), key("b"));
        memory.put(&a, entry(&a, None, 1000));
        assert_eq!(memory.get(&a).unwrap().variants.len(), 1, "{policy:?}");
        assert!(memory.get(&b).is_none());
        let weight = entry(&a, None, 1000).weight();
        assert_eq!((memory.len(), memory.bytes()), (1, weight));
        assert_eq!(memory.remove(&b), 0);
        assert_eq!(memory.remove(&a), weight);
        assert!(memory.is_empty() && memory.bytes() == 0);
    }
}

#[test]
fn another_key_of_the_same_hash_is_a_miss() {
    for policy in POLICIES {
        let (memory, _) = memory(policy, 1 << 20);
        let (a, stranger) = (key("a"), key("stranger"));
        memory.put(&a, entry(&stranger, None, 10));
        assert!(memory.get(&a).is_none(), "{policy:?}");
        assert_eq!(memory.remove(&a), 0);
        memory.put(&a, entry(&a, None, 10));
        assert_eq!(memory.get(&a).unwrap().variants.len(), 1);
    }
}

#[test]
fn variants_join_their_slot_and_the_oldest_leaves_a_full_one() {
    for policy in POLICIES {
        let (memory, victims) = memory(policy, 1 << 20);
        let a = key("a");
        for language in ["en", "de", "fr", "de", "it"] {
            memory.put(&a, entry(&a, Some(language), 10));
        }
        let slot = memory.get(&a).unwrap();
        assert_eq!(slot.variants.len(), 3, "{policy:?}");
        assert_eq!(memory.bytes(), slot.weight());
        assert!(victims.lock().is_empty(), "a replaced value is no victim");
    }
}

#[test]
fn two_threads_that_put_two_variants_at_once_lose_neither() {
    for policy in POLICIES {
        for round in 0..200 {
            let (memory, _) = memory(policy, 1 << 20);
            let a = key(&format!("a{round}"));
            let barrier = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                for language in ["en", "de"] {
                    let (memory, a, barrier) = (&memory, &a, &barrier);
                    scope.spawn(move || {
                        let entry = entry(a, Some(language), 10);
                        barrier.wait();
                        memory.put(a, entry);
                    });
                }
            });
            assert_eq!(memory.get(&a).unwrap().variants.len(), 2, "{policy:?}");
        }
    }
}

#[test]
fn it_stays_within_its_bytes_and_reports_every_victim_once() {
    for policy in POLICIES {
        let (memory, victims) = memory(policy, 200_000);
        for n in 0..1000 {
            let a = key(&format!("a{n}"));
            memory.put(&a, entry(&a, None, 1000));
        }
        assert!(memory.bytes() <= 200_000, "{policy:?}");
        assert!(memory.bytes() > 150_000, "{policy:?} holds {}", memory.bytes());
        let gone = victims.lock().len() as u64;
        assert_eq!(memory.len() + gone, 1000, "{policy:?}");
    }
}

#[test]
fn a_victim_carries_the_number_of_its_hits() {
    for policy in POLICIES {
        let (memory, victims) = memory(policy, 10_000);
        let a = key("hit");
        memory.put(&a, entry(&a, None, 5000));
        for _ in 0..5 {
            memory.get(&a);
        }
        // Smaller ones asked for more often push it out.
        for n in 0..400 {
            let b = key(&format!("b{}", n % 10));
            if memory.get(&b).is_none() {
                memory.put(&b, entry(&b, None, 500));
            }
            memory.len();
        }
        let victims = victims.lock();
        let hit = victims.iter().find(|victim| *victim.slot.variants[0].key == *a.text());
        assert_eq!(hit.map(|victim| victim.hits), Some(5), "{policy:?}");
    }
}

#[test]
fn what_is_looked_at_is_a_hit_only_when_it_is_counted_as_one() {
    for policy in POLICIES {
        let (memory, _) = memory(policy, 100_000);
        let (a, absent) = (key("looked at"), key("absent"));
        memory.put(&a, entry(&a, None, 10));
        assert!(memory.look(&absent).is_none(), "{policy:?}");
        for _ in 0..3 {
            assert_eq!(*memory.look(&a).unwrap().variants[0].key, *a.text(), "{policy:?}");
        }
        memory.count_hit(&a);
        assert_eq!(memory.peek(&a).map(|(_, hits)| hits), Some(1), "{policy:?}");
    }
}

#[test]
fn what_is_too_heavy_goes_to_the_hook_and_displaces_nothing() {
    for policy in POLICIES {
        let (memory, victims) = memory(policy, 100_000);
        let (small, large) = (key("small"), key("large"));
        memory.put(&small, entry(&small, None, 10));
        memory.put(&large, entry(&large, None, 200_000));
        assert!(memory.get(&large).is_none() && memory.get(&small).is_some(), "{policy:?}");
        assert_eq!(victims.lock().len(), 1);
    }
}

#[test]
fn a_sweep_removes_whole_slots_and_single_variants() {
    for policy in POLICIES {
        let (memory, victims) = memory(policy, 1 << 20);
        for n in 0..300 {
            let a = key(&format!("a{n}"));
            memory.put(&a, entry(&a, Some("en"), 10));
            memory.put(&a, entry(&a, Some("de"), 10));
        }
        memory.len();
        let (mut seen, before) = (0, memory.bytes());
        let freed = memory.for_each(&mut |slot| {
            seen += 1;
            match slot.variants[0].key.last() {
                Some(b'1') => Keep::Nothing,
                Some(b'2') => Keep::Only(Slot::one(slot.variants[0].clone())),
                _ => Keep::Whole,
            }
        });
        assert_eq!((seen, memory.len()), (300, 270), "{policy:?}");
        assert_eq!(before - memory.bytes(), freed);
        assert_eq!(memory.get(&key("a12")).unwrap().variants.len(), 1);
        assert!(victims.lock().is_empty(), "a purge makes no victims");
        memory.clear();
        assert_eq!((memory.len(), memory.bytes()), (0, 0));
    }
}

#[test]
fn what_comes_up_from_disk_does_not_displace_what_was_stored_meanwhile() {
    for policy in POLICIES {
        let (memory, _) = memory(policy, 1 << 20);
        let (key, other) = (key("a"), key("b"));
        let (old, new) = (entry(&key, None, 10), entry(&key, None, 20));
        memory.put(&key, new.clone());
        memory.promote(&key, &Slot::one(old.clone()));
        assert!(Arc::ptr_eq(&memory.get(&key).unwrap().variants[0], &new), "{policy:?}");
        memory.promote(&other, &Slot::one(entry(&other, None, 10)));
        assert!(memory.get(&other).is_some(), "{policy:?}");
    }
}
