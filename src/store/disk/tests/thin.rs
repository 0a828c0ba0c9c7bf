//! Newcomers are judged early: who stays, what becomes of the room, and what a stop or a
//! fault in the middle of it may not bring back.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::store::disk::device::DeviceFile;
use crate::store::disk::faulty::{Fault, Faults, FaultyDevice, When};
use crate::store::disk::reader::read_record;
use crate::store::disk::segment::SegmentHeader;

fn put(disk: &Disk, text: &str, seed: u64) {
    disk.put(Arc::new(entry(text, body(seed, 9_000))));
    assert!(sync(disk));
}

fn cold(disk: &Disk, numbers: std::ops::Range<u64>) {
    numbers.for_each(|n| put(disk, &format!("http://a:80/cold/{n}"), n));
}

fn has_cold(disk: &Disk, n: u64) -> bool {
    get(disk, &format!("http://a:80/cold/{n}")).is_some()
}

const LOVED: &str = "http://a:80/loved";

/// Seven of these make a segment, so the store holds 56; `LOVED` was read twice.
fn filled(disk: &Disk) {
    put(disk, LOVED, 1_000);
    assert!((0..2).all(|_| get(disk, LOVED).is_some()));
    cold(disk, 0..60);
}

/// Bytes the segment files take up, and their lengths.
fn files(path: &Path) -> (u64, u64) {
    let files = std::fs::read_dir(path.join("segments")).unwrap();
    let sizes = files.map(|file| {
        let data = file.unwrap().metadata().unwrap();
        (data.blocks() * 512, data.len())
    });
    sizes.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

/// Serials of the segments that have holes, oldest first.
fn thinned(path: &Path) -> Vec<u64> {
    let files = std::fs::read_dir(path.join("segments")).unwrap();
    let headers = files.map(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        SegmentHeader::decode(&bytes[..64]).unwrap()
    });
    let mut serials: Vec<u64> =
        headers.filter(|header| header.thinned).map(|header| header.serial).collect();
    serials.sort_unstable();
    serials
}

#[test]
fn what_was_read_twice_stays_and_what_was_not_leaves_in_less_than_a_round() {
    let dir = scratch();
    let disk = open(&options(dir.path()), &clock());
    filled(&disk);
    assert!(get(&disk, LOVED).is_some());
    assert!(!has_cold(&disk, 0), "of the same age, and not read");
    assert!(has_cold(&disk, 59));
    // Read no more, it still outlives much that came later.
    cold(&disk, 60..100);
    assert!(get(&disk, LOVED).is_some() && !has_cold(&disk, 60));
    let (held, length) = files(dir.path());
    assert!(held <= 512 << 10, "{held}");
    assert!(length > 512 << 10, "the log is longer than its room: {length}");
    assert!(length <= (4 + 1) * (512 << 10), "but not without end: {length}");
}

#[test]
fn what_comes_back_soon_needs_no_proof() {
    let dir = scratch();
    let disk = open(&options(dir.path()), &clock());
    filled(&disk);
    let gone = (0..60).rev().find(|n| !has_cold(&disk, *n)).unwrap();
    cold(&disk, gone..gone + 1);
    cold(&disk, 100..140);
    assert!(has_cold(&disk, gone));
    assert!(!has_cold(&disk, 100));
}

#[test]
fn what_was_given_up_and_what_it_had_replaced_stay_away_after_any_stop() {
    for clean in [true, false] {
        let dir = scratch();
        let (options, clock) = (options(dir.path()), clock());
        let disk = open(&options, &clock);
        filled(&disk);
        // The older one lies in a segment that was judged; the newer one is not read.
        put(&disk, LOVED, 2_000);
        cold(&disk, 60..90);
        assert!(get(&disk, LOVED).is_none(), "the newer one was given up");
        assert!(!thinned(dir.path()).is_empty());
        let found: Vec<u64> = (0..90).filter(|n| has_cold(&disk, *n)).collect();
        if clean {
            disk.close();
        } else {
            drop(disk);
        }
        let disk = open(&options, &clock);
        assert!(get(&disk, LOVED).is_none(), "nor is the older one back, clean: {clean}");
        let again: Vec<u64> = (0..90).filter(|n| has_cold(&disk, *n)).collect();
        assert_eq!(again, found, "clean: {clean}");
        assert_eq!(counter(&disk, "flaws"), 0);
        assert!(disk.stats()[0].used_bytes <= 512 << 10);
    }
}

#[test]
fn a_reader_from_before_reads_to_the_end_and_the_room_comes_back_after() {
    let dir = scratch();
    let disk = open(&options(dir.path()), &clock());
    put(&disk, LOVED, 1_000);
    assert!((0..2).all(|_| get(&disk, LOVED).is_some()));
    cold(&disk, 0..20);
    let inner = &disk.members[0].dir;
    let (_, place) = inner.index.lookup(print_of(key(&disk, "http://a:80/cold/0").hash()))[0];
    let held = inner.segments.at(place.slot()).unwrap();
    cold(&disk, 20..60);
    assert!(!has_cold(&disk, 0), "given up meanwhile");
    let record = read_record(&held, place, Wait::Yes).unwrap();
    assert_eq!(record.body.concat(), body(0, 9_000));
    let file = dir.path().join("segments").join(format!("{:016x}", held.serial));
    let blocks = || std::fs::metadata(&file).map_or(0, |data| data.blocks() * 512);
    assert!([0, 64 << 10].contains(&blocks()), "whole or gone: {}", blocks());
    drop(held);
    cold(&disk, 60..75);
    assert!(blocks() < 64 << 10, "{}", blocks());
}

#[test]
fn a_thinned_segment_whose_list_is_damaged_takes_all_that_is_older_with_it() {
    let dir = scratch();
    let (options, clock) = (options(dir.path()), clock());
    let disk = open(&options, &clock);
    filled(&disk);
    let removed = 59;
    disk.remove(&key(&disk, &format!("http://a:80/cold/{removed}")));
    disk.close();
    let serials = thinned(dir.path());
    let last = dir.path().join("segments").join(format!("{:016x}", serials[serials.len() - 1]));
    let mut bytes = std::fs::read(&last).unwrap();
    let end = bytes.len();
    bytes[end - 64..].fill(0);
    std::fs::write(&last, bytes).unwrap();
    let set_aside = crate::store::disk::offline::Store::open(dir.path()).unwrap().set_aside;
    assert_eq!(set_aside.len(), 1, "nothing is rebuilt from what cannot be known");
    let disk = open(&options, &clock);
    assert!(get(&disk, LOVED).is_none(), "older than what was lost");
    assert!(has_cold(&disk, 58) && !has_cold(&disk, removed));
    assert!(!last.exists());
}

#[test]
fn verifying_a_stopped_store_takes_holes_for_no_damage() {
    let dir = scratch();
    let disk = open(&options(dir.path()), &clock());
    filled(&disk);
    disk.close();
    assert!(!thinned(dir.path()).is_empty());
    let mut store = crate::store::disk::offline::Store::open(dir.path()).unwrap();
    store.check(&mut |found| {
        assert!(found.content.is_ok(), "{found:?}");
        true
    });
    store.rebuild(&|| ()).unwrap();
    drop(store);
    let disk = open(&options(dir.path()), &clock());
    assert!(get(&disk, LOVED).is_some() && has_cold(&disk, 59) && !has_cold(&disk, 0));
}

/// A device whose files take no holes; the rest of it is real.
struct Solid(Arc<dyn Device>);
struct SolidFile(Arc<dyn DeviceFile>);

impl Device for Solid {
    fn create(&self, name: &str, len: u64) -> std::io::Result<Arc<dyn DeviceFile>> {
        Ok(Arc::new(SolidFile(self.0.create(name, len)?)))
    }
    fn open(&self, name: &str) -> std::io::Result<Arc<dyn DeviceFile>> {
        Ok(Arc::new(SolidFile(self.0.open(name)?)))
    }
    fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> std::io::Result<()> {
        self.0.remove(name)
    }
    fn list(&self) -> std::io::Result<Vec<String>> {
        self.0.list()
    }
    fn sync(&self) -> std::io::Result<()> {
        self.0.sync()
    }
    fn release(&self) {
        self.0.release();
    }
    fn reopen(&self) -> std::io::Result<()> {
        self.0.reopen()
    }
}

impl DeviceFile for SolidFile {
    fn size(&self) -> std::io::Result<u64> {
        self.0.size()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn read_now(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.0.read_now(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> std::io::Result<usize> {
        self.0.write_at(buf, offset)
    }
    fn sync(&self) -> std::io::Result<()> {
        self.0.sync()
    }
    fn zero(&self, offset: u64, len: u64) -> std::io::Result<()> {
        self.0.zero(offset, len)
    }
    fn punch(&self, _: u64, _: u64) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
    fn held(&self) -> std::io::Result<u64> {
        self.0.held()
    }
}

#[test]
fn where_files_take_no_holes_there_is_one_round_for_all_and_the_limit_holds() {
    let dir = scratch();
    let wrap = |_, inner| -> Arc<dyn Device> { Arc::new(Solid(inner)) };
    let disk = joined(Disk::open_with(options(dir.path()), clock(), &wrap).unwrap());
    for round in 0..4 {
        cold(&disk, round * 60..round * 60 + 60);
        let (_, length) = files(dir.path());
        assert!(length <= 512 << 10, "{length}");
    }
    let held = (180..240).filter(|n| has_cold(&disk, *n)).count();
    assert!(held > 40, "a whole round of newcomers: {held}");
    assert_eq!(disk.stats()[0].faults, 0);
}

fn open_faulty(options: &Options, time: &Clock, faults: &Arc<Faults>) -> Disk {
    let wrap =
        |_, device| -> Arc<dyn Device> { Arc::new(FaultyDevice::new(device, Arc::clone(faults))) };
    joined(Disk::open_with(options.clone(), time.clone(), &wrap).unwrap())
}

/// Writes, reads and removes until newcomers have been judged many times; answers the newest
/// version of each key, if it was not removed.
fn exercise(disk: &Disk, time: &Clock) -> Vec<Option<u64>> {
    let mut newest = vec![None; 40];
    for n in 0..150u64 {
        let at = (n * n % 40) as usize;
        put_any(disk, at, n);
        time.advance(Duration::from_millis(200));
        newest[at] = Some(n);
        if n % 9 == 4 {
            let gone = (at + 1) % newest.len();
            disk.remove(&key(disk, &format!("http://a:80/{gone}")));
            newest[gone] = None;
        }
        if n % 3 == 0 {
            check(disk, at, &newest, "while it runs");
            check(disk, at, &newest, "while it runs");
        }
    }
    newest
}

fn put_any(disk: &Disk, at: usize, version: u64) {
    let body = body(version, 5_000 + version as usize);
    disk.put(Arc::new(entry(&format!("http://a:80/{at}"), body)));
    sync(disk);
}

fn check(disk: &Disk, at: usize, newest: &[Option<u64>], when: &str) -> bool {
    let Some(slot) = get(disk, &format!("http://a:80/{at}")) else { return false };
    let found = bytes_of(&slot.variants[0]);
    let exact = newest[at].map(|version| body(version, 5_000 + version as usize).to_vec());
    assert!(Some(&found) == exact.as_ref(), "{when}: key {at}, {} bytes", found.len());
    true
}

#[test]
fn whichever_call_fails_while_newcomers_are_judged_nothing_older_and_nothing_removed_is_back() {
    let settings = |path: &Path| Options { faults_max: 1_000_000, ..options(path) };
    let calls = {
        let (dir, faults, time) = (scratch(), Arc::new(Faults::default()), clock());
        exercise(&open_faulty(&settings(dir.path()), &time, &faults), &time);
        assert!(thinned(dir.path()).len() > 3);
        faults.calls()
    };
    let step = if std::env::var_os("BRINK_LONG").is_some() { 1 } else { 17 };
    let mut hits = 0;
    for n in (0..calls).step_by(step) {
        for fault in [Fault::Io, Fault::Torn, Fault::Full] {
            let (dir, faults, time) = (scratch(), Arc::new(Faults::default()), clock());
            let options = settings(dir.path());
            faults.arm(When::Once(n), fault);
            let disk = open_faulty(&options, &time, &faults);
            let newest = exercise(&disk, &time);
            let (held, _) = files(dir.path());
            assert!(held <= 512 << 10, "call {n}, {fault:?}: {held}");
            let when = format!("call {n}, {fault:?}");
            until(&when, || {
                time.advance(Duration::from_secs(2));
                // Out from the start, if it could not be listed: it holds nothing then.
                sync(&disk) || disk.stats()[0].state == State::Out
            });
            drop(disk);
            faults.disarm();
            let disk = open_faulty(&options, &time, &faults);
            hits += (0..40).filter(|at| check(&disk, *at, &newest, &when)).count();
        }
    }
    assert!(hits > 100, "{hits}");
}
