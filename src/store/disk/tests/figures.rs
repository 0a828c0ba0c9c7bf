//! Measured on demand: memory of the index and time to join with a million objects.
//! `cargo test --release --lib store::disk::tests::figures -- --ignored --nocapture`

use super::*;

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
