//! `[memory]` and `[disk]`: what is kept, and where.

use std::path::Path;

use super::place::file;
use super::reader::Table;
use crate::base::ByteSize;
use crate::store::disk::{self, AdmitPolicy, DirectoryOptions};
use crate::store::memory::{MemoryOptions, MemoryPolicy};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Reads `[memory]`.
pub fn memory(mut table: Table<'_>) -> MemoryOptions {
    let from = MemoryOptions::default();
    let words = [("auto", MemoryPolicy::Auto), ("tinylfu", MemoryPolicy::TinyLfu)];
    let options = MemoryOptions {
        capacity: ByteSize(table.size("capacity", from.capacity.bytes(), MIB..1 << 50)),
        policy: table.word("policy", "auto", &words, from.policy),
        variants_max: table.number("variants_max", from.variants_max as u64, 1..1_001) as usize,
        // Set by the node, which knows whether a disk tier takes the victims.
        before_disk: from.before_disk,
    };
    table.end();
    options
}

/// Reads `[disk]` and its directories.
pub fn disk(mut table: Table<'_>, base: &Path) -> disk::Options {
    let from = disk::Options::default();
    let words = [("evicted", AdmitPolicy::Evicted), ("all", AdmitPolicy::All)];
    let directories = table.tables("directory");
    let mut size =
        |key, from: ByteSize, least, most| ByteSize(table.size(key, from.bytes(), least..most + 1));
    let object_max = size("object_max", from.object_max, 0, 128 * MIB);
    let queue_max = size("queue_max", from.queue_max, MIB, 16 * GIB);
    let read_inline_max = size("read_inline_max", from.read_inline_max, 0, 16 * MIB);
    let mut count =
        |key, from: u64, least: u64, most: u64| table.number(key, from, least..most + 1);
    let ghost_keys = count("ghost_keys", from.ghost_keys as u64, 1024, 1 << 30) as usize;
    let reinsert_percent = count("reinsert_percent", from.reinsert_percent.into(), 0, 90) as u8;
    let read_threads = count("read_threads", from.read_threads as u64, 1, 256) as usize;
    let reads_queued_max =
        count("reads_queued_max", from.reads_queued_max as u64, 1, 1_000_000) as usize;
    let faults_max = count("faults_max", from.faults_max.into(), 1, 1_000_000) as u32;
    let options = disk::Options {
        directories: directories.into_iter().map(|one| directory(one, base)).collect(),
        segment: table.size_opt("segment", 65_536..256 * MIB + 1).map(ByteSize),
        object_max,
        queue_max,
        write_rate_max: table.size_opt("write_rate_max", 65_536..1 << 50).map(ByteSize),
        admit: table.word("admit", "evicted", &words, from.admit),
        ghost_keys,
        reinsert_percent,
        read_threads,
        reads_queued_max,
        read_inline_max,
        read_timeout: table.time(
            "read_timeout",
            from.read_timeout,
            std::time::Duration::from_secs(60),
        ),
        faults_max,
    };
    table.end();
    options
}

fn directory(mut table: Table<'_>, base: &Path) -> DirectoryOptions {
    let missing = !table.has("path") || !table.has("capacity");
    let path = file(&mut table, "path", base).unwrap_or_default();
    let capacity = table.size_opt("capacity", 64 * MIB..1 << 50).unwrap_or_default();
    if missing {
        let needs = "a directory needs path = \"/var/cache/brink\" and capacity = \"100GiB\"";
        table.error("path", needs);
    }
    table.end();
    DirectoryOptions { path, capacity: ByteSize(capacity) }
}
