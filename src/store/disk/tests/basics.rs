//! Put, get, remove, restart, time, room: what the tier does when nothing is wrong.

use std::os::unix::fs::MetadataExt;

use super::*;

#[test]
fn what_is_put_is_read_back_byte_for_byte_before_and_after_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, options) = (clock(), options(dir.path()));
    let disk = open(&options, &clock);
    let one = Arc::new(entry("http://a:80/x", body(1, 20_000)));
    disk.put(Arc::clone(&one));
    for round in 0..2 {
        let slot = get(&disk, "http://a:80/x").unwrap_or_else(|| panic!("round {round}"));
        let found = &slot.variants[0];
        assert_eq!(bytes_of(found), bytes_of(&one));
        assert_eq!((&found.key, &found.head, &found.tags), (&one.key, &one.head, &one.tags));
        assert_eq!(found.freshness, one.freshness);
        assert_eq!((found.seq, found.extent), (7, Extent::Whole));
        assert!(sync(&disk));
    }
    assert!(disk.contains(&key(&disk, "http://a:80/x")));
    assert!(get(&disk, "http://a:80/y").is_none());
}

#[test]
fn variants_are_one_slot_and_a_newer_one_replaces_its_elder() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, options) = (clock(), options(dir.path()));
    let disk = open(&options, &clock);
    for (language, seed) in [("de", 1), ("en", 2), ("de", 3)] {
        disk.put(Arc::new(varied("http://a:80/v", language, body(seed, 500))));
    }
    for synced in [false, true] {
        assert!(!synced || sync(&disk));
        let slot = get(&disk, "http://a:80/v").unwrap();
        let bodies: Vec<_> = slot.variants.iter().map(|found| bytes_of(found)).collect();
        assert_eq!(bodies, [body(3, 500), body(2, 500)]);
    }
}

#[test]
fn a_removed_key_is_gone_at_once_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, options) = (clock(), options(dir.path()));
    let disk = open(&options, &clock);
    for name in ["http://a:80/1", "http://a:80/2"] {
        disk.put(Arc::new(entry(name, body(1, 100))));
    }
    assert!(sync(&disk));
    assert!(disk.remove(&key(&disk, "http://a:80/1")));
    assert!(get(&disk, "http://a:80/1").is_none());
    assert!(sync(&disk));
    drop(disk);
    let disk = open(&options, &clock);
    assert!(get(&disk, "http://a:80/1").is_none());
    assert!(get(&disk, "http://a:80/2").is_some());
}

#[test]
fn everything_is_there_after_a_clean_stop_and_what_was_written_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, options) = (clock(), options(dir.path()));
    for round in 0..6u64 {
        let disk = open(&options, &clock);
        for old in 0..round {
            let slot = get(&disk, &format!("http://a:80/{old}")).unwrap_or_else(|| panic!("{old}"));
            assert_eq!(bytes_of(&slot.variants[0]), body(old, 9_000));
        }
        disk.put(Arc::new(entry(&format!("http://a:80/{round}"), body(round, 9_000))));
        if round % 2 == 0 {
            disk.close();
        } else {
            assert!(sync(&disk));
            drop(disk);
        }
    }
}

#[test]
fn a_kill_while_a_segment_is_made_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, options) = (clock(), options(dir.path()));
    let disk = open(&options, &clock);
    for n in 0..20u64 {
        disk.put(Arc::new(entry(&format!("http://a:80/{n}"), body(n, 9_000))));
    }
    disk.close();
    // As the process leaves it when it is killed before the name is given: empty, or reserved.
    let folder = dir.path().join("segments");
    let next = |n: u64| folder.join(format!("{n:016x}.new"));
    std::fs::write(next(98), b"").unwrap();
    std::fs::write(next(99), vec![0; 64 << 10]).unwrap();
    let disk = open(&options, &clock);
    for n in 0..20 {
        assert!(get(&disk, &format!("http://a:80/{n}")).is_some(), "{n}");
    }
    assert!(!next(98).exists() && !next(99).exists());
    assert_eq!(
        disk.stats()[0].counters.iter().find(|(name, _)| *name == "set_aside").unwrap().1,
        0
    );
}

#[test]
fn the_capacity_is_never_exceeded_and_what_is_read_outlives_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, options) = (clock(), options(dir.path()));
    let disk = open(&options, &clock);
    disk.put(Arc::new(entry("http://a:80/loved", body(0, 3_000))));
    for n in 0..600u64 {
        disk.put(Arc::new(entry(&format!("http://a:80/{n}"), body(n, 3_000))));
        assert!(sync(&disk));
        assert!(get(&disk, "http://a:80/loved").is_some(), "after {n}");
        let files = std::fs::read_dir(dir.path().join("segments")).unwrap();
        let used: u64 = files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum();
        assert!(used <= 512 << 10, "{used}");
    }
    assert!(counter(&disk, "evicted") > 400);
    assert!(get(&disk, "http://a:80/599").is_some());
    assert!(get(&disk, "http://a:80/1").is_none());
}

#[test]
fn age_goes_on_over_a_restart_and_a_step_of_the_wall_clock_changes_nothing_in_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let (time, options) = (clock(), options(dir.path()));
    let disk = open(&options, &time);
    time.advance(Duration::from_secs(10));
    disk.put(Arc::new(entry("http://a:80/t", body(1, 10))));
    assert!(sync(&disk));
    time.step_wall(WALL + 86_400_000);
    let age = |disk: &Disk, clock: &Clock| {
        get(disk, "http://a:80/t").unwrap().variants[0].freshness.age_ms(clock.now())
    };
    assert_eq!(age(&disk, &time), 15_000);
    disk.close();
    // Written at WALL + 10 s with an age of 15 s.
    for (wall, expected) in [(WALL + 30_000, 35_000), (WALL - 5_000, 15_000)] {
        let later = Clock::manual(wall);
        assert_eq!(age(&open(&options, &later), &later), expected);
    }
}

#[test]
fn a_second_user_of_a_directory_is_refused_with_a_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, options) = (clock(), options(dir.path()));
    let disk = open(&options, &clock);
    let refused = Disk::open(options.clone(), clock.clone()).err().unwrap();
    assert!(refused.to_string().ends_with("is in use by another process"), "{refused}");
    let seed = disk.seed();
    disk.close();
    assert_eq!(open(&options, &clock).seed(), seed);
}

#[test]
fn large_bodies_come_back_whole_from_any_shape_of_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.directories[0].capacity = ByteSize::mib(64);
    options.segment = Some(ByteSize::mib(8));
    let clock = clock();
    let disk = open(&options, &clock);
    let whole = body(9, (3 << 20) + 77);
    let mut large = entry("http://a:80/large", Bytes::new());
    large.body =
        SmallVec::from_iter([whole.slice(..100), whole.slice(100..70_000), whole.slice(70_000..)]);
    disk.put(Arc::new(large));
    assert!(sync(&disk));
    let slot = get(&disk, "http://a:80/large").unwrap();
    assert!(bytes_of(&slot.variants[0]) == whole);
    disk.put(Arc::new(entry("http://a:80/too-large", body(1, 5 << 20))));
    assert!(sync(&disk));
    assert!(get(&disk, "http://a:80/too-large").is_none());
}
