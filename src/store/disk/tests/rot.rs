//! Stores that a crash tore or time has bitten: opened, never misread.

use std::fs;

use super::*;

/// A store with a few records, left as a crash would or cleanly; its one segment's bytes.
fn small_store(path: &Path, clean: bool) -> (Options, std::path::PathBuf) {
    let mut options = options(path);
    options.directories[0].capacity = ByteSize::kib(256);
    let disk = open(&options, &clock());
    for n in 0..4u64 {
        disk.put(Arc::new(entry(&format!("http://a:80/{n}"), body(n, 60 * n as usize))));
        assert!(sync(&disk));
    }
    if clean {
        disk.close()
    } else {
        drop(disk)
    }
    let segment = path.join("segments").join("0000000000000001");
    assert!(segment.exists());
    (options, segment)
}

/// Opens the store and counts what is found; wrong bytes end the test.
fn found(options: &Options, what: &str) -> usize {
    let disk = open(options, &clock());
    let hit = |n: &u64| {
        let Some(slot) = get(&disk, &format!("http://a:80/{n}")) else { return false };
        assert_eq!(bytes_of(&slot.variants[0]), body(*n, 60 * *n as usize), "{what}");
        assert_eq!(slot.variants[0].tags.len(), 2, "{what}");
        true
    };
    (0..4).filter(hit).count()
}

#[test]
fn a_tail_torn_at_any_byte_loses_only_what_was_torn() {
    let dir = scratch();
    let (options, segment) = small_store(dir.path(), false);
    let whole = fs::read(&segment).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let records: Vec<usize> =
        (64..end).step_by(64).filter(|at| &whole[*at..*at + 4] == b"BRKr").collect();
    assert_eq!(records.len(), 4);
    for cut in records[3]..=end {
        for garbage in [0u8, 0xa5] {
            let mut torn = whole.clone();
            torn[cut..].fill(garbage);
            fs::write(&segment, &torn).unwrap();
            let count = found(&options, &format!("cut at {cut}"));
            let expected = if cut == end { 3..=4 } else { 3..=3 };
            assert!(expected.contains(&count), "cut at {cut}: {count}");
        }
        // A file that is too short is not a segment of ours any more: left alone.
        fs::write(&segment, &whole[..cut]).unwrap();
        assert_eq!(found(&options, "short file"), 0);
        assert_eq!(fs::metadata(&segment).unwrap().len(), cut as u64);
        fs::read_dir(segment.parent().unwrap())
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| *path != segment)
            .for_each(|path| fs::remove_file(path).unwrap());
    }
}

#[test]
fn no_flipped_bit_of_a_store_is_ever_served() {
    for clean in [false, true] {
        let dir = scratch();
        let (options, segment) = small_store(dir.path(), clean);
        let whole = fs::read(&segment).unwrap();
        let used = |at: &usize| whole[*at / 64 * 64..][..64].iter().any(|byte| *byte != 0);
        for at in (0..whole.len()).filter(used) {
            // Every bit of every fourth byte, one bit of the others: minutes otherwise.
            let bits = if at % 4 == 0 { 0..8 } else { at % 8..at % 8 + 1 };
            for bit in bits {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                fs::write(&segment, &flipped).unwrap();
                found(&options, &format!("bit {bit} of byte {at}, clean {clean}"));
            }
        }
        fs::write(&segment, &whole).unwrap();
        assert_eq!(found(&options, "sound"), 4);
    }
}

#[test]
fn foreign_files_and_later_versions_are_left_alone_and_count_against_the_capacity() {
    let dir = scratch();
    let (options, segment) = small_store(dir.path(), true);
    let segments = segment.parent().unwrap();
    let names = ["README", "00000000000000ZZ", "0000000000000007", "lost+found"];
    for name in names {
        fs::write(segments.join(name), b"not ours").unwrap();
    }
    // The same segment as a version 2 would write it.
    let mut later = fs::read(&segment).unwrap();
    later[4] = 2;
    let crc = crc32fast::hash(&later[..60]).to_le_bytes();
    later[60..64].copy_from_slice(&crc);
    fs::write(segments.join("0000000000000001"), &later).unwrap();
    let disk = open(&options, &clock());
    assert!(get(&disk, "http://a:80/1").is_none());
    assert_eq!(counter(&disk, "set_aside"), 2);
    for n in 0..100u64 {
        disk.put(Arc::new(entry(&format!("http://b:80/{n}"), body(n, 5_000))));
        assert!(sync(&disk));
    }
    assert!(get(&disk, "http://b:80/99").is_some());
    disk.close();
    for name in names {
        assert_eq!(fs::read(segments.join(name)).unwrap(), b"not ours");
    }
    assert!(fs::read(&segment).unwrap() == later);
    let used: u64 =
        fs::read_dir(segments).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert!(used <= 256 << 10, "{used}");
}

#[test]
fn a_store_of_another_version_or_seed_is_refused_with_one_line() {
    let (one, two) = (scratch(), scratch());
    drop(open(&options(one.path()), &clock()));
    drop(open(&options(two.path()), &clock()));
    let mut both = options(one.path());
    both.directories.extend(options(two.path()).directories);
    let refused = Disk::open(both, clock()).err().unwrap().to_string();
    assert!(refused.contains("belongs to another store"), "{refused}");
    fs::write(two.path().join("identity"), [7; 64]).unwrap();
    let refused = Disk::open(options(two.path()), clock()).err().unwrap().to_string();
    assert!(refused.contains("identity file: not a record"), "{refused}");
}
