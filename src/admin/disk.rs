//! `GET /v1/disk`, `PUT /v1/disk`: how the directories of the disk tier are doing, taking
//! one out, putting it back.
//!
//! A directory is named in the body and not in the path, because its name is a path.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Refusal, Sent, ok};
use crate::base::clock::instant;
use crate::store::Disk;
use crate::store::disk::{self, DirectoryStats};
use crate::telemetry::Counters;

type Shared = Arc<super::State>;

/// Longest a call waits for a directory to join: a large one goes on joining behind it.
const JOIN_WAIT: Duration = Duration::from_secs(2);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// `GET /v1/disk`.
pub(super) async fn list(State(state): State<Shared>) -> Answer {
    let stats = state.handles.disk.as_ref().map(|disk| disk.stats()).unwrap_or_default();
    let directories: Vec<Value> = stats.iter().map(shown).collect();
    ok(json!({"directories": directories}))
}

/// The body of `PUT /v1/disk`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    directory: PathBuf,
    state: Wish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wish {
    /// Back in service.
    Ready,
    /// Out of it.
    Out,
}

/// `PUT /v1/disk`. Asking for what is already so is no error.
pub(super) async fn set(State(state): State<Shared>, Sent(change): Sent<Change>) -> Answer {
    let path = change.directory.display();
    let unknown = || Refusal::not_found(format!("no disk directory {path}; see GET /v1/disk"));
    let disk = state.handles.disk.clone().ok_or_else(unknown)?;
    let place = disk.place_of(&change.directory).ok_or_else(unknown)?;
    match change.state {
        Wish::Ready => disk.put_back(place),
        Wish::Out => disk.take_out(place),
    };
    let started = instant();
    loop {
        let stats = disk.stats().into_iter().nth(place).ok_or_else(unknown)?;
        if stats.state != disk::State::Joining || started.elapsed() > JOIN_WAIT {
            return ok(shown(&stats));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn shown(one: &DirectoryStats) -> Value {
    let counters: Map<String, Value> =
        one.counters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({
        "directory": one.path,
        "state": one.state.word(),
        "reason": one.last_fault,
        "records": one.records,
        "bytes": one.used_bytes,
        "bytes_max": one.capacity_bytes,
        "index_bytes": one.index_bytes,
        "queued_bytes": one.queued_bytes,
        "faults": one.faults,
        "counters": counters,
    })
}

/// One line a directory for `/readyz`.
pub(super) fn lines(disk: &Disk) -> String {
    let line = |one: &DirectoryStats| {
        let why = one.last_fault.as_deref().filter(|_| one.state == disk::State::Out);
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        format!("disk {} {}{why}\n", one.path.display(), one.state.word())
    };
    disk.stats().iter().map(line).collect()
}

/// Registers the metrics of the directories.
pub(super) fn observe(counters: &Counters, disk: &Weak<Disk>) {
    let tiers: [(&'static str, fn(&DirectoryStats) -> u64); 3] = [
        ("brink_cache_objects", |one| one.records),
        ("brink_cache_bytes", |one| one.used_bytes),
        ("brink_cache_bytes_max", |one| one.capacity_bytes),
    ];
    for (name, read) in tiers {
        let disk = disk.clone();
        counters.observe(name, move |emit| {
            if let Some(disk) = disk.upgrade() {
                emit(&["disk"], disk.stats().iter().map(read).sum::<u64>() as f64);
            }
        });
    }
    let each: [(&'static str, fn(&DirectoryStats) -> u64); 5] = [
        ("brink_disk_up", |one| u64::from(one.state == disk::State::Ready)),
        ("brink_disk_bytes", |one| one.used_bytes),
        ("brink_disk_bytes_max", |one| one.capacity_bytes),
        ("brink_disk_index_bytes", |one| one.index_bytes),
        ("brink_disk_queued_bytes", |one| one.queued_bytes),
    ];
    for (name, read) in each {
        let disk = disk.clone();
        counters.observe(name, move |emit| {
            for one in disk.upgrade().iter().flat_map(|disk| disk.stats()) {
                emit(&[&one.path.to_string_lossy()], read(&one) as f64);
            }
        });
    }
    let disk = disk.clone();
    counters.observe("brink_disk_events_total", move |emit| {
        for one in disk.upgrade().iter().flat_map(|disk| disk.stats()) {
            for (name, value) in &one.counters {
                emit(&[&one.path.to_string_lossy(), name], *value as f64);
            }
        }
    });
}
