//! A flight as those see it who did not start it: is what it brings for them?

use std::sync::Arc;

use http::header;

use super::exchange::{Visit, decide};
use super::flights::{Flight, Progress};
use crate::rules::entry::{Entry, Slot};
use crate::rules::ledger::Verdict;
use crate::rules::plan::Plan;
use crate::rules::vary::Vary;
use crate::store::spool::Reader;

/// Waits until the flight's head is known, within the bound.
pub(super) async fn follow(visit: &Visit, flight: &Flight) -> Progress {
    let wait = visit.shared.options.follow_wait;
    tokio::time::timeout(wait, flight.known()).await.unwrap_or(Progress::Alone)
}

/// What a flight is for a client that follows it.
pub(super) enum Use {
    Yes(Option<Reader>),
    Alone,
    /// A purge or time has overtaken it. After a soft purge, or when it is merely stale,
    /// what is stored is still there to fall back on.
    TooOld {
        purged: bool,
    },
    /// What it brought answers other requests; the client's own values of what it varies on.
    OtherVariant(Vary),
}

/// Whether a follower may be served from what the flight brought.
pub(super) fn usable(visit: &Visit, flight: &Flight, progress: &Progress) -> Use {
    let verdict = visit.shared.overtaken(flight, progress);
    if verdict != Verdict::Live {
        return Use::TooOld { purged: verdict == Verdict::Gone };
    }
    let (entry, spool) = match progress {
        Progress::Shared { head, spool, .. } => (head, Some(spool)),
        Progress::Landed { entry, .. } => (entry, None),
        Progress::Settled { entry, .. } | Progress::Pieces { manifest: entry, .. } => (entry, None),
        Progress::Failed(_) => return Use::Yes(None),
        Progress::Requested | Progress::Alone => return Use::Alone,
    };
    let language = entry.head.text(&header::CONTENT_LANGUAGE);
    let asked = &visit.parts.headers;
    if let Some(vary) = entry.vary.as_ref().filter(|vary| !vary.matches(asked, language)) {
        return Use::OtherVariant(vary.of(asked));
    }
    let news = matches!(progress, Progress::Shared { .. } | Progress::Landed { .. });
    if news && !still_good(visit, entry) {
        return Use::TooOld { purged: false };
    }
    match spool.map(|spool| spool.reader()) {
        None => Use::Yes(None),
        Some(Some(reader)) => Use::Yes(Some(reader)),
        // It turned out too large to store and its beginning is gone.
        Some(None) => Use::Alone,
    }
}

/// Whether a head that has come may answer the client. One that came while the client
/// waited is news whatever it says; one that was there before, its body still on its way,
/// is judged like what is stored: a slow body must not hand out what is stale by now, nor
/// a reload what was there before it (RFC 9111 4).
fn still_good(visit: &Visit, head: &Arc<Entry>) -> bool {
    head.freshness.received_mono_ms >= visit.now.mono_ms
        || matches!(decide(visit, false, Some(&Slot::one(head.clone()))), Plan::Hit(_))
}
