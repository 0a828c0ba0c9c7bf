//! Whether directories take part: how each is doing, taking one out, putting it back.

use std::path::Path;

use super::Disk;
use super::health::State;
use super::queue::Command;

/// How one directory is doing.
#[derive(Clone, Debug)]
pub struct DirectoryStats {
    /// Where it is.
    pub path: std::path::PathBuf,
    /// Whether it takes part.
    pub state: State,
    /// The last fault, if it has had one since it was put back. Of a directory that is
    /// out: why.
    pub last_fault: Option<String>,
    /// Records in the index.
    pub records: u64,
    /// Bytes of memory of the index.
    pub index_bytes: u64,
    /// Bytes of files now, and at most.
    pub used_bytes: u64,
    /// The limit of the same.
    pub capacity_bytes: u64,
    /// Bytes waiting to be written.
    pub queued_bytes: u64,
    /// Faults of the device since the start.
    pub faults: u64,
    /// Name and value of each counter.
    pub counters: Vec<(&'static str, u64)>,
}

impl Disk {
    /// Whether every directory has joined (or is out of service).
    pub fn ready(&self) -> bool {
        self.members.iter().all(|member| member.dir.health.state() != State::Joining)
    }

    /// How each directory is doing.
    pub fn stats(&self) -> Vec<DirectoryStats> {
        self.members.iter().map(|member| member.dir.stats()).collect()
    }

    /// The place of a directory in the options, however it is written there.
    pub fn place_of(&self, path: &Path) -> Option<usize> {
        let same =
            |own: &Path| own == path || std::path::absolute(own).is_ok_and(|own| own == path);
        self.members.iter().position(|member| same(&member.dir.path))
    }

    /// Takes the directory at `place` in the options back into service: it joins again
    /// from what is at its path now. False if it is not out.
    pub fn put_back(&self, place: usize) -> bool {
        let Some(member) = self.members.get(place) else { return false };
        let out = member.dir.health.state() == State::Out;
        if out {
            tracing::info!(path = %member.dir.path.display(), "disk directory is put back");
            member.dir.health.set(State::Joining);
            member.dir.queue.command(Command::PutBack);
        }
        out
    }

    /// Takes the directory at `place` out of service, as repeated faults would: its files
    /// are closed within a second or two. False if it was out.
    pub fn take_out(&self, place: usize) -> bool {
        let Some(member) = self.members.get(place) else { return false };
        let taken = member.dir.health.take_out("taken out by hand".to_owned());
        if taken {
            tracing::warn!(path = %member.dir.path.display(), "disk directory taken out by hand");
        }
        taken
    }
}
