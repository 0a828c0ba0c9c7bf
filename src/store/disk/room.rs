//! How many bytes a directory may take: its limit, or less where the device has less.
//!
//! A device that is full before its directory's limit is reached says so when a segment is
//! made. Then the oldest one is given up for it, once: if that was enough, what is in use
//! now is the room there is, for a while, and segments turn over within it as they do within
//! a limit. If it was not, somebody else takes the space, and giving up one segment after
//! the other would only lose them: writes are shed until there is room again.

use super::directory::Directory;

/// How long what was found out is believed.
const BELIEVED_MS: u64 = 600_000;

/// What a writer knows of the room on its device.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Bytes that are known to fit, and until when that is believed.
    found: Option<(u64, u64)>,
    /// One was given up and it was not enough.
    in_vain: bool,
}

impl Room {
    /// Bytes of files at most.
    pub(super) fn limit(&self, dir: &Directory) -> u64 {
        let now = dir.clock.now().mono_ms;
        let found = self.found.filter(|(_, until_ms)| now < *until_ms);
        found.map_or(dir.capacity, |(bytes, _)| bytes.min(dir.capacity))
    }

    /// Whether a segment may be given up because the device is full.
    pub(super) fn may_yield(&self) -> bool {
        !self.in_vain
    }

    /// One was given up: with the new one in its place `used` bytes fit, or it was in vain.
    pub(super) fn yielded(&mut self, used: Option<u64>, dir: &Directory) {
        if let Some(bytes) = used {
            tracing::warn!(path = %dir.path.display(), bytes, limit = dir.capacity,
                "the device is full before the directory's limit is reached");
        }
        self.in_vain = used.is_none();
        self.found = used.map(|bytes| (bytes, dir.clock.now().mono_ms + BELIEVED_MS));
    }

    /// A segment was made: there is room.
    pub(super) fn made(&mut self) {
        self.in_vain = false;
    }
}
