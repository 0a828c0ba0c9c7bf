//! Tests of the disk tier as a whole, on real directories and on failing ones.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::*;
use crate::base::ByteSize;
use crate::rules::entry::Extent;
use crate::rules::freshness::{Freshness, LifetimeSource};
use crate::rules::head::Head;
use crate::rules::vary::Vary;

mod basics;
mod codec;
mod crash;
mod faults;
mod figures;
mod index;
mod lend;
mod model;
mod offline;
mod purges;
mod room;
mod rot;
mod thin;

pub(super) const WALL: u64 = 1_800_000_000_000;

pub(super) fn clock() -> Clock {
    Clock::manual(WALL)
}

/// A directory in memory where there is one: thousands of syncs are no test of this disk.
pub(super) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A small store: 8 segments of 64 KiB.
pub(super) fn options(path: &Path) -> Options {
    Options {
        directories: vec![DirectoryOptions { path: path.to_owned(), capacity: ByteSize::kib(512) }],
        segment: Some(ByteSize::kib(64)),
        read_threads: 1,
        ghost_keys: 1024,
        admit: AdmitPolicy::All,
        ..Options::default()
    }
}

pub(super) fn open(options: &Options, clock: &Clock) -> Disk {
    joined(Disk::open(options.clone(), clock.clone()).unwrap())
}

/// Waits until every directory has joined.
pub(super) fn joined(disk: Disk) -> Disk {
    until("the disk has joined", || disk.ready());
    disk
}

pub(super) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = crate::base::clock::instant();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "timed out: {what}");
        std::thread::yield_now();
    }
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(super) fn key(disk: &Disk, text: &str) -> Key {
    Key::new(disk.seed(), SmallVec::from_slice(text.as_bytes()))
}

/// A body that can be told from every other.
pub(super) fn body(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..len).map(next).collect::<Vec<u8>>().into()
}

pub(super) fn entry(text: &str, body: Bytes) -> Entry {
    let mut fields = HeaderMap::new();
    fields.insert("content-type", HeaderValue::from_static("text/plain"));
    fields.insert("x-odd", HeaderValue::from_static("yes"));
    Entry {
        key: text.as_bytes().into(),
        head: Head::pack(StatusCode::OK, &fields, |_| true).unwrap(),
        body: SmallVec::from_iter([body]),
        extent: Extent::Whole,
        freshness: Freshness {
            received_mono_ms: crate::base::clock::MONO_BASE_MS,
            initial_age_ms: 5_000,
            lifetime_ms: 60_000,
            while_revalidate_ms: 1,
            if_error_ms: 2,
            always_validate: false,
            never_stale: true,
            immutable: false,
            source: LifetimeSource::MaxAge,
        },
        vary: None,
        tags: Box::new(["a".into(), "b".into()]),
        seq: 7,
        checked_seq: AtomicU64::new(7),
        soft_purged: AtomicBool::new(false),
    }
}

pub(super) fn varied(text: &str, language: &str, body: Bytes) -> Entry {
    let value = Some(language.as_bytes().into());
    let vary = Vary { fields: vec![(http::header::ACCEPT_LANGUAGE, value)] };
    Entry { vary: Some(Box::new(vary)), ..entry(text, body) }
}

pub(super) fn bytes_of(entry: &Entry) -> Vec<u8> {
    entry.body.concat()
}

pub(super) fn get(disk: &Disk, text: &str) -> Option<Slot> {
    runtime().block_on(disk.get(&key(disk, text)))
}

pub(super) fn sync(disk: &Disk) -> bool {
    runtime().block_on(disk.sync())
}

pub(super) fn counter(disk: &Disk, name: &str) -> u64 {
    disk.stats()
        .iter()
        .flat_map(|stats| stats.counters.iter())
        .filter(|(own, _)| *own == name)
        .map(|(_, value)| value)
        .sum()
}
