//! Measured on demand: memory of the index and time to join with a million objects.
//! `cargo test --release --lib store::disk::tests::figures -- --ignored --nocapture`

use super::index::{BYTES_A_RECORD, place, print};
use super::*;
use crate::store::disk::index::Index;

const OBJECTS: u64 = 1_000_000;

fn joining(options: &Options, what: &str) -> Disk {
    let start = crate::base::clock::instant();
    let disk = joined(Disk::open(options.clone(), Clock::real()).unwrap());
    let (took, stats) = (start.elapsed(), &disk.stats()[0]);
    println!("{what}: joined in {took:?}, {} records", stats.records);
    disk
}

#[test]
#[ignore = "minutes; prints figures"]
fn a_million_objects() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.directories[0].capacity = ByteSize::gib(4);
    options.segment = None;
    let disk = joining(&options, "empty");
    let start = crate::base::clock::instant();
    for n in 0..OBJECTS {
        disk.put(Arc::new(entry(&format!("http://example.com:80/object/{n}"), body(n, 1_000))));
        if n % 4_096 == 0 {
            assert!(sync(&disk));
        }
    }
    assert!(sync(&disk));
    let stats = &disk.stats()[0];
    println!(
        "written in {:?}; {} records, index {} bytes, {} a record",
        start.elapsed(),
        stats.records,
        stats.index_bytes,
        stats.index_bytes / stats.records
    );
    drop(disk);
    let disk = joining(&options, "after a crash");
    disk.close();
    drop(disk);
    let disk = joining(&options, "after a clean stop");
    let start = crate::base::clock::instant();
    let hits = (0..2_000u64)
        .filter(|n| get(&disk, &format!("http://example.com:80/object/{}", n * 499)).is_some());
    println!("{} of 2000 lookups hit in {:?}", hits.count(), start.elapsed());
}

/// Resident memory of this process in bytes, as the system counts it.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[test]
#[ignore = "half a gigabyte of memory; prints figures"]
fn ten_million_objects_in_the_index() {
    const RECORDS: u64 = 10_000_000;
    let before = resident();
    let index = Index::default();
    let (mut most, mut slowest) = (0, Duration::ZERO);
    for n in 0..3 * RECORDS {
        let start = crate::base::clock::instant();
        index.insert(print(n), 0, place(n), 0);
        slowest = slowest.max(start.elapsed());
        if n >= RECORDS {
            let oldest = n - RECORDS;
            assert!(index.remove_exact(print(oldest), place(oldest)));
        }
        if n % 100_000 == 0 && n > 0 {
            most = most.max(index.memory() / index.len());
        }
        if n == RECORDS || n + 1 == 3 * RECORDS {
            println!(
                "{n} inserted: {} records, tables {} MiB, resident {} MiB, {:.1} bytes a record",
                index.len(),
                index.memory() >> 20,
                (resident() - before) >> 20,
                index.memory() as f64 / index.len() as f64,
            );
        }
    }
    println!("at most {most} bytes a record on the way; the slowest insertion took {slowest:?}");
    assert!(most <= BYTES_A_RECORD && index.memory() < 512 << 20);
}
