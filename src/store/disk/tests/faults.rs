//! Every call to the device fails once, and a miss is the worst that comes of it.
//!
//! In the ordinary run some of the calls; with `BRINK_LONG=1` in the environment each one.

use super::*;
use crate::store::disk::faulty::{Fault, Faults, FaultyDevice, When};

pub(super) fn open_faulty(options: &Options, faults: &Arc<Faults>) -> Disk {
    let wrap =
        |_, device| -> Arc<dyn Device> { Arc::new(FaultyDevice::new(device, Arc::clone(faults))) };
    joined(Disk::open_with(options.clone(), clock(), &wrap).unwrap())
}

/// Few segments, so that a short run reclaims and reinserts.
fn tight(path: &Path) -> Options {
    let mut options = options(path);
    options.directories[0].capacity = ByteSize::kib(256);
    options.faults_max = 1_000_000;
    options
}

/// Writes, reads, removes, and checks that nothing wrong is ever served. Answers how
/// many lookups hit.
fn exercise(disk: &Disk, round: u64) -> usize {
    let mut hits = 0;
    for n in 0..24u64 {
        let text = format!("http://a:80/{}", n % 10);
        disk.put(Arc::new(entry(&text, body(n % 10, 9_000 + n as usize % 10))));
        sync(disk);
        if n % 7 == 3 {
            let gone = format!("http://a:80/{}", (n + 1) % 10);
            disk.remove(&key(disk, &gone));
            assert!(get(disk, &gone).is_none(), "round {round}: {gone} was removed");
        }
        hits += usize::from(check(disk, n % 10, round)) + usize::from(check(disk, n % 3, round));
    }
    hits
}

fn check(disk: &Disk, n: u64, round: u64) -> bool {
    let Some(slot) = get(disk, &format!("http://a:80/{n}")) else { return false };
    assert!(bytes_of(&slot.variants[0]) == body(n, 9_000 + n as usize), "round {round}, key {n}");
    true
}

fn used(path: &Path) -> u64 {
    let files = std::fs::read_dir(path.join("segments")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

fn torture(fault: Fault, step: usize) {
    let calls = {
        let dir = scratch();
        let faults = Arc::new(Faults::default());
        let disk = open_faulty(&tight(dir.path()), &faults);
        assert!(exercise(&disk, 0) > 30);
        disk.close();
        faults.calls()
    };
    assert!(calls > 100, "{calls}");
    let step = if std::env::var_os("BRINK_LONG").is_some() { 1 } else { step };
    for n in (0..calls).step_by(step) {
        let dir = scratch();
        let options = tight(dir.path());
        let faults = Arc::new(Faults::default());
        faults.arm(When::Once(n), fault);
        let disk = open_faulty(&options, &faults);
        exercise(&disk, n);
        assert!(used(dir.path()) <= 256 << 10, "call {n}: {}", used(dir.path()));
        if n % 2 == 0 {
            disk.close()
        } else {
            drop(disk)
        }
        faults.disarm();
        let disk = open_faulty(&options, &faults);
        for key in 0..10 {
            check(&disk, key, n);
        }
        assert!(exercise(&disk, n) > 30, "call {n}: it works again");
    }
}

#[test]
fn any_one_call_failing_with_an_io_error_costs_misses_only() {
    torture(Fault::Io, 3);
}

#[test]
fn any_one_call_failing_with_a_full_disk_costs_misses_only() {
    torture(Fault::Full, 11);
}

#[test]
fn any_one_short_call_costs_nothing() {
    torture(Fault::Short, 7);
}

#[test]
fn any_one_torn_write_costs_misses_only() {
    torture(Fault::Torn, 5);
}

#[test]
fn any_one_flipped_bit_in_flight_is_never_served() {
    torture(Fault::BitFlip(12_345), 5);
}

#[test]
fn repeated_faults_take_the_directory_out_and_it_can_be_put_back_warm() {
    let dir = scratch();
    let mut options = options(dir.path());
    options.faults_max = 3;
    let faults = Arc::new(Faults::default());
    let disk = open_faulty(&options, &faults);
    for n in 0..2 {
        disk.put(Arc::new(entry(&format!("http://a:80/{n}"), body(n, 9_000 + n as usize))));
    }
    assert!(sync(&disk));
    faults.arm(When::From(0), Fault::Io);
    for n in 2..10u64 {
        disk.put(Arc::new(entry(&format!("http://a:80/{n}"), body(n, 9_000 + n as usize))));
        sync(&disk);
    }
    until("it is out", || disk.stats()[0].state == State::Out);
    assert!(disk.stats()[0].last_fault.is_some());
    assert!(!check(&disk, 0, 0));
    // A removal while it is out is not forgotten.
    disk.remove(&key(&disk, "http://a:80/1"));
    faults.disarm();
    assert!(disk.put_back(0));
    until("it is back", || disk.stats()[0].state == State::Ready);
    assert!(check(&disk, 0, 0) && !check(&disk, 1, 0));
    assert!(exercise(&disk, 0) > 30);
}

#[test]
fn a_slow_disk_sheds_writes_and_reads_but_answers_in_time() {
    let dir = scratch();
    let mut options = options(dir.path());
    options.queue_max = ByteSize::kib(40);
    options.read_timeout = Duration::from_millis(20);
    options.read_inline_max = ByteSize(0);
    let faults = Arc::new(Faults::default());
    let disk = open_faulty(&options, &faults);
    disk.put(Arc::new(entry("http://a:80/0", body(0, 9_000))));
    assert!(sync(&disk));
    faults.arm(When::From(0), Fault::Slow(Duration::from_millis(200)));
    assert!(get(&disk, "http://a:80/0").is_none(), "a read that takes too long is a miss");
    for n in 0..20u64 {
        disk.put(Arc::new(entry(&format!("http://a:80/{n}"), body(n, 9_000))));
    }
    assert!(counter(&disk, "writes_shed") > 0 && counter(&disk, "reads_shed") > 0);
    assert!(disk.stats()[0].queued_bytes <= 40 << 10);
}

/// Found by the simulation: a sync that fails drops its segment, and tombstones were in it.
#[test]
fn what_was_removed_stays_so_whichever_call_failed_meanwhile() {
    for n in 0..8 {
        let dir = scratch();
        let faults = Arc::new(Faults::default());
        let disk = open_faulty(&tight(dir.path()), &faults);
        for n in 0..9u64 {
            disk.put(Arc::new(entry(&format!("http://a:80/{n}"), body(n, 9_000 + n as usize))));
        }
        assert!(sync(&disk));
        faults.arm(When::Once(n), Fault::Io);
        assert!(disk.remove(&key(&disk, "http://a:80/0")));
        sync(&disk);
        faults.disarm();
        until("the tombstone is on the disk", || sync(&disk));
        drop(disk);
        let disk = open(&tight(dir.path()), &clock());
        assert!(!check(&disk, 0, n), "call {n} failed");
    }
}

#[test]
fn an_answer_that_varies_on_nothing_replaces_all_variants() {
    let dir = scratch();
    let options = options(dir.path());
    let disk = open(&options, &clock());
    disk.put(Arc::new(varied("http://a:80/0", "en", body(1, 500))));
    disk.put(Arc::new(varied("http://a:80/0", "de", body(2, 500))));
    assert!(sync(&disk));
    disk.put(Arc::new(entry("http://a:80/0", body(0, 9_000))));
    assert_eq!(get(&disk, "http://a:80/0").unwrap().variants.len(), 1);
    assert!(sync(&disk));
    disk.close();
    assert_eq!(get(&open(&options, &clock()), "http://a:80/0").unwrap().variants.len(), 1);
}

/// Found by the simulation: an older version was back after a stop and a start, because what
/// had replaced it came while the directory was out.
#[test]
fn what_was_removed_while_a_directory_was_out_stays_so_after_a_clean_stop() {
    let dir = scratch();
    let mut options = options(dir.path());
    options.faults_max = 3;
    let faults = Arc::new(Faults::default());
    let disk = open_faulty(&options, &faults);
    for n in 0..3 {
        disk.put(Arc::new(entry(&format!("http://a:80/{n}"), body(n, 9_000 + n as usize))));
    }
    assert!(sync(&disk));
    faults.arm(When::From(0), Fault::Io);
    until("it is out", || {
        disk.put(Arc::new(entry("http://a:80/0", body(7, 9_000))));
        sync(&disk);
        disk.stats()[0].state == State::Out
    });
    disk.remove(&key(&disk, "http://a:80/1"));
    faults.disarm();
    disk.close();
    let disk = open(&options, &clock());
    assert!(get(&disk, "http://a:80/0").is_none(), "replaced while it was out");
    assert!(get(&disk, "http://a:80/1").is_none(), "removed while it was out");
    assert!(check(&disk, 2, 0), "the rest is still there");
}
