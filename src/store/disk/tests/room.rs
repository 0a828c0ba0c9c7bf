//! A device with less room than the limit of its directory.

use parking_lot::Mutex;

use super::*;
use crate::store::disk::device::DeviceFile;

/// A device on which only so many bytes of files fit; the rest of it is real.
struct Small {
    inner: Arc<dyn Device>,
    room: Arc<AtomicU64>,
    files: Mutex<std::collections::HashMap<String, Arc<dyn DeviceFile>>>,
}

impl Device for Small {
    fn create(&self, name: &str, len: u64) -> std::io::Result<Arc<dyn DeviceFile>> {
        let mut files = self.files.lock();
        let used: u64 = files.values().map(|file| file.held().unwrap()).sum();
        if used + len > self.room.load(Ordering::Relaxed) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        let file = self.inner.create(name, len)?;
        files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, name: &str) -> std::io::Result<Arc<dyn DeviceFile>> {
        self.inner.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        let mut files = self.files.lock();
        if let Some(len) = files.remove(from) {
            files.insert(to.to_owned(), len);
        }
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        self.files.lock().remove(name);
        self.inner.remove(name)
    }

    fn list(&self) -> std::io::Result<Vec<String>> {
        self.inner.list()
    }

    fn sync(&self) -> std::io::Result<()> {
        self.inner.sync()
    }

    fn release(&self) {
        self.inner.release();
    }

    fn reopen(&self) -> std::io::Result<()> {
        self.inner.reopen()
    }
}

fn open_small(path: &Path, clock: &Clock, room: &Arc<AtomicU64>) -> Disk {
    let wrap = |_, inner| -> Arc<dyn Device> {
        Arc::new(Small { inner, room: Arc::clone(room), files: Mutex::default() })
    };
    joined(Disk::open_with(options(path), clock.clone(), &wrap).unwrap())
}

fn put(disk: &Disk, n: u64) {
    disk.put(Arc::new(entry(&format!("http://a:80/{n}"), body(n, 9_000))));
    sync(disk);
}

fn has(disk: &Disk, n: u64) -> bool {
    get(disk, &format!("http://a:80/{n}")).is_some()
}

#[test]
fn a_device_smaller_than_the_limit_turns_over_and_keeps_what_is_read() {
    let dir = scratch();
    // Eight segments by the limit, four by the device.
    let room = Arc::new(AtomicU64::new(4 * (64 << 10)));
    let disk = open_small(dir.path(), &clock(), &room);
    for n in 0..200 {
        put(&disk, n);
        // One that is asked for again and again, from when the room is known.
        assert!(n < 40 || (has(&disk, 40) && has(&disk, 40)), "lost at {n}");
    }
    assert!(has(&disk, 199), "what is new comes in");
    assert!(!has(&disk, 0), "what is old goes");
    assert_eq!(counter(&disk, "writes_shed"), 0);
    assert_eq!(disk.stats()[0].state, State::Ready);
}

#[test]
fn room_that_comes_back_is_used_after_a_while() {
    let dir = scratch();
    let clock = clock();
    let room = Arc::new(AtomicU64::new(4 * (64 << 10)));
    let disk = open_small(dir.path(), &clock, &room);
    (0..60).for_each(|n| put(&disk, n));
    assert!(disk.stats()[0].used_bytes <= 4 * (64 << 10));
    room.store(u64::MAX, Ordering::Relaxed);
    clock.advance(Duration::from_secs(3_600));
    (60..160).for_each(|n| put(&disk, n));
    assert!(disk.stats()[0].used_bytes > 6 * (64 << 10), "{}", disk.stats()[0].used_bytes);
}

#[test]
fn a_device_that_others_fill_costs_one_segment_and_no_more() {
    let dir = scratch();
    let clock = clock();
    let room = Arc::new(AtomicU64::new(u64::MAX));
    let disk = open_small(dir.path(), &clock, &room);
    (0..24).for_each(|n| put(&disk, n));
    let held = disk.stats()[0].records;
    room.store(0, Ordering::Relaxed);
    for n in 100..200 {
        put(&disk, n);
        clock.advance(Duration::from_secs(2));
    }
    let lost = held - (0..24).filter(|n| has(&disk, *n)).count() as u64;
    assert!(lost <= 7, "{lost} of {held} lost, a segment has 7");
    assert!(counter(&disk, "writes_shed") > 50);
    room.store(u64::MAX, Ordering::Relaxed);
    clock.advance(Duration::from_secs(2));
    put(&disk, 300);
    assert!(has(&disk, 300), "it writes again");
}

#[test]
fn a_reader_that_does_not_finish_costs_its_segment_and_holds_no_writes_up() {
    let dir = scratch();
    let disk = open(&options(dir.path()), &clock());
    (0..10).for_each(|n| put(&disk, n));
    // As one who sends from it to a client that does not take it.
    let held = disk.members[0].dir.segments.at(0).unwrap();
    (10..200).for_each(|n| put(&disk, n));
    assert!(has(&disk, 199) && !has(&disk, 0));
    assert_eq!(counter(&disk, "writes_shed"), 0);
    let stats = &disk.stats()[0];
    assert!(stats.used_bytes <= stats.capacity_bytes, "its file counts still");
    drop(held);
    (200..300).for_each(|n| put(&disk, n));
    assert!(has(&disk, 299));
}
