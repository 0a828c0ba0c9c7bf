//! Who changed what, with what result: to the diagnostics and, the last ones, to memory
//! for `/v1/audit`.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::Serialize;

use crate::base::Now;
use crate::telemetry::line::rfc3339;

/// Changes kept in memory.
const KEPT: usize = 256;

/// One change.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Change {
    /// When.
    pub(super) time: String,
    /// Name of the token; `-` if there was none.
    pub(super) who: String,
    /// Address of the caller.
    pub(super) peer: String,
    /// Method and path.
    pub(super) call: String,
    /// Status of the answer.
    pub(super) status: u16,
}

/// The last changes.
#[derive(Debug, Default)]
pub(super) struct Audit {
    changes: Mutex<VecDeque<Change>>,
}

impl Audit {
    /// Notes one change or refused attempt at one.
    pub(super) fn note(&self, now: Now, who: &str, peer: &str, call: String, status: u16) {
        tracing::info!(target: "brink::audit", who, peer, call, status, "admin");
        let time = rfc3339(now.wall_secs());
        let change = Change { time, who: who.to_owned(), peer: peer.to_owned(), call, status };
        let mut changes = self.changes.lock();
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
