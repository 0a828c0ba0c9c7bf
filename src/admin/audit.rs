//! Who changed what, with what result: to the diagnostics, to a file if one is configured,
//! and the last ones to memory for `/v1/audit`.
//!
//! The file is opened for every line, so that it can be moved away at any time; changes are
//! rare enough for that.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::Serialize;

use crate::base::Now;
use crate::telemetry::line::rfc3339;

/// Changes kept in memory.
const KEPT: usize = 256;
/// Characters kept of what was asked for and of the answer.
const TEXT_MAX: usize = 500;

/// One change, or a refused attempt at one.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Change {
    /// When.
    pub(super) time: String,
    /// Name of the token; `-` if there was none.
    pub(super) who: String,
    /// Address of the caller, with the name in its certificate if it showed one.
    pub(super) peer: String,
    /// Method and path.
    pub(super) call: String,
    /// The body of the call.
    pub(super) what: String,
    /// Status of the answer.
    pub(super) status: u16,
    /// The body of the answer.
    pub(super) result: String,
}

/// The last changes.
#[derive(Debug, Default)]
pub(super) struct Audit {
    file: Option<PathBuf>,
    changes: Mutex<VecDeque<Change>>,
}

impl Audit {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Audit { file, changes: Mutex::default() }
    }

    /// Notes one change. `change.time` is filled in here.
    pub(super) fn note(&self, now: Now, mut change: Change) {
        change.time = rfc3339(now.wall_secs());
        let Change { who, peer, call, what, status, result, .. } = &change;
        tracing::info!(target: "brink::audit", who, peer, call, what, status, result, "admin");
        let mut changes = self.changes.lock();
        if let Some(file) = &self.file
            && let Err(error) = append(file, &change)
        {
            tracing::error!(%error, file = %file.display(), "the audit file cannot be written");
        }
        if changes.len() >= KEPT {
            changes.pop_front();
        }
        changes.push_back(change);
    }

    /// Newest first.
    pub(super) fn list(&self) -> Vec<Change> {
        self.changes.lock().iter().rev().cloned().collect()
    }
}

fn append(file: &Path, change: &Change) -> io::Result<()> {
    let mut line = serde_json::to_vec(change)?;
    line.push(b'\n');
    OpenOptions::new().append(true).create(true).mode(0o600).open(file)?.write_all(&line)
}

/// The beginning of a body as printable text.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..TEXT_MAX * 4).unwrap_or(body));
    text.chars().take(TEXT_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
