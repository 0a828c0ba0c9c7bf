//! What can be set about the disk tier.

pub use crate::store::policy::admission::AdmitPolicy;
use std::path::PathBuf;
use std::time::Duration;

use super::format::{ALIGN, RECORD_MAX};
use super::segment::{START, footer_len};
use crate::base::ByteSize;

/// One directory, normally one a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryOptions {
    /// Where; made if it is not there.
    pub path: PathBuf,
    /// Bytes of segment files in it, never exceeded. At least 4 segments.
    pub capacity: ByteSize,
}

/// The settings of the tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The directories; without one there is no disk tier.
    pub directories: Vec<DirectoryOptions>,
    /// Length of a segment file, 64 KiB to 256 MiB. By default a 32nd of the capacity
    /// between 1 MiB and 256 MiB.
    pub segment: Option<ByteSize>,
    /// Longest body kept as one record; never more than half a segment. Default 64 MiB.
    pub object_max: ByteSize,
    /// Bytes waiting to be written, a directory. What comes beyond is not written
    /// (counted as shed). Default 64 MiB.
    pub queue_max: ByteSize,
    /// Bytes a second written at most, a directory; what comes beyond is shed.
    /// Default none.
    pub write_rate_max: Option<ByteSize>,
    /// What is written at all. Where that is everything, newcomers are judged early: see
    /// `thin`.
    pub admit: AdmitPolicy,
    /// Keys remembered to recognise a second miss, 4 bytes each (8 where everything is
    /// written). Default 1 Mi.
    pub ghost_keys: usize,
    /// Share of a segment, in per cent, that may be written again because it was read
    /// since it was written. 0 to 90, default 50.
    pub reinsert_percent: u8,
    /// Threads that wait for the disk, a directory. Default 4.
    pub read_threads: usize,
    /// Reads waiting for such a thread, a directory; beyond is a miss. Default 1024.
    pub reads_queued_max: usize,
    /// Longest record read on the caller's thread when it is in the page cache.
    /// Default 1.5 MiB.
    pub read_inline_max: ByteSize,
    /// A read that takes longer is a miss. Default 2 s.
    pub read_timeout: Duration,
    /// Faults within a minute that take a directory out of service. Default 10.
    pub faults_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            directories: Vec::new(),
            segment: None,
            object_max: ByteSize::mib(64),
            queue_max: ByteSize::mib(64),
            write_rate_max: None,
            admit: AdmitPolicy::default(),
            ghost_keys: 1 << 20,
            reinsert_percent: 50,
            read_threads: 4,
            reads_queued_max: 1024,
            // An object of 1 MiB with all that comes with it: a third of a millisecond.
            read_inline_max: ByteSize::kib(1536),
            read_timeout: Duration::from_secs(2),
            faults_max: 10,
        }
    }
}

impl Options {
    /// Length of the segment files of a directory of `capacity` bytes.
    pub fn segment_len(&self, capacity: ByteSize) -> u64 {
        let wanted = self.segment.map_or_else(
            || (capacity.bytes() / 32).clamp(4 << 20, RECORD_MAX as u64),
            |set| set.bytes().clamp(64 << 10, RECORD_MAX as u64),
        );
        wanted.min(capacity.bytes() / 4) / ALIGN as u64 * ALIGN as u64
    }

    /// Longest record in a segment of `segment` bytes.
    pub fn record_max(&self, segment: u64) -> u64 {
        let room = segment.saturating_sub(START + footer_len(1)) / 2;
        room.min(self.object_max.bytes().saturating_add(1 << 20))
    }
}
