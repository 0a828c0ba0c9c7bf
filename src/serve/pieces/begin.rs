//! An answer that turns out to be a large object: manifest, first run, first readers.
//!
//! With a strong validator the manifest is visible at once, because what is missing can be
//! added later. Without one it becomes visible when every piece has come, all from this one
//! answer; until then others find it through the flight.

use std::sync::Arc;

use smallvec::SmallVec;

use super::run::Came;
use super::table::Joined;
use super::{Ask, run};
use crate::origin::OriginBody;
use crate::rules::entry::{Entry, Extent};
use crate::rules::key::Key;
use crate::rules::partial;
use crate::rules::pieces::{self, Grid};
use crate::rules::range::{self, Span, Wanted};
use crate::rules::settle::Storable;
use crate::serve::Shared;
use crate::serve::flights::{Lead, Progress};
use crate::serve::order::{Client, Errand, Landing, Order};
use crate::store::landed::land;
use crate::telemetry::Count;

/// A large answer.
pub(in crate::serve) struct Found {
    pub lead: Lead,
    /// The origin's status.
    pub status: u16,
    pub client: Client,
    pub storable: Storable,
    /// Length of the representation.
    pub total: u64,
    pub body: OriginBody,
}

/// Serves and keeps a large answer.
pub(in crate::serve) async fn begin(shared: &Arc<Shared>, order: Order, found: Found) {
    let Found { lead, status, client, storable, total, body } = found;
    shared.memos.refresh_worked(order.key.hash());
    let (start, end) = match storable.extent {
        Extent::Part { first, last, .. } => (first, last.saturating_add(1)),
        Extent::Whole | Extent::Pieces { .. } => (0, total),
    };
    let (seq, asked_range) = (lead.seq(), matches!(order.errand, Errand::FillRange { .. }));
    let mut head = storable;
    head.expected_len = None;
    let Some(whole) = head.into_entry(&order.key, SmallVec::new(), seq) else { return };
    let manifest = Arc::new(pieces::manifest(shared.seed, whole, total, rand::random()));
    let key = order.key.clone();
    let Some(ask) = Ask::new(shared, order, &manifest) else { return };
    if asked_range && status == 200 {
        shared.memos.remember_whole_only(ask.version, shared.clock.now());
    }
    let only = (start, end) == (0, total) && ask.whole_only();
    let lasting = pieces::validator(&manifest.head).is_some();
    let (first, last) = wanted(&ask, (start, end), only);
    // The answer to a long range is the beginning of it, and the run goes on.
    let goes_on = asked_range && status == 206 && lasting;
    let upto = if goes_on { end.max(last.saturating_add(1)) } else { end };
    let joined = shared.runs.join(ask.version, first, (start, upto), only);
    if lasting && !lead.is_doomed() {
        shared.store(&key, manifest.clone());
        shared.memos.forget_uncacheable(key.hash());
    }
    let (run, hold) = match joined {
        Joined::Lead(run, reader) => (Some(run), reader),
        Joined::Follow(reader) => (None, reader),
    };
    lead.publish(Progress::Pieces { manifest: manifest.clone(), fwd_status: status });
    if let Some(client) = client {
        let _ = client.send(Landing::Pieces { manifest: manifest.clone(), status, hold });
    } else {
        drop(hold);
    }
    let Some(run) = run else { return };
    shared.telemetry.counters.add(Count::PieceRun, 1);
    let came = Came { part: (start, end), body, seq, only };
    if lasting {
        // Whoever comes now finds the manifest.
        drop(lead);
        run::go_on(&ask, run, came, upto).await;
    } else if run::go_on(&ask, run, came, upto).await && !lead.is_doomed() {
        shared.store(&key, manifest);
        shared.memos.forget_uncacheable(key.hash());
    }
}

/// Stores `whole`, which has come in one because nobody knew how long it would be, in
/// pieces. They are copied, so that none keeps the memory of all.
pub(in crate::serve) fn split(shared: &Shared, key: &Key, mut whole: Entry) {
    let body = std::mem::take(&mut whole.body);
    let total = body.iter().map(|part| part.len() as u64).sum();
    let seq = whole.seq;
    let manifest = pieces::manifest(shared.seed, whole, total, rand::random());
    let grid = Grid { total };
    for n in 0..grid.count() {
        let Some(span) = grid.span(n) else { break };
        let part = partial::slice(&body, span.first, span.len()).to_vec();
        let part = land(part, span.len(), false);
        if let Some((key, piece)) = pieces::piece(shared.seed, &manifest, n, part, seq) {
            shared.store_piece(&key, Arc::new(piece));
        }
    }
    shared.store(key, Arc::new(manifest));
}

/// The first byte that the client who asked needs, if it comes soon, and the last one of the
/// pieces of his range; a range that lies far from the beginning is better asked for by
/// itself, where the origin takes ranges.
fn wanted(ask: &Ask, (start, end): (u64, u64), only: bool) -> (u64, u64) {
    let parts = &ask.order.parts;
    let manifest: &Entry = &ask.manifest;
    let here = Span { first: start, last: end.saturating_sub(1) };
    let Span { first, last } =
        match range::wanted(&parts.method, &parts.headers, manifest, ask.grid.total) {
            Wanted::One(span) => Span { last: ask.grid.aligned(span).last, ..span },
            Wanted::Many(spans) => {
                spans.first().map_or(here, |span| Span { last: here.last, ..*span })
            }
            Wanted::Whole | Wanted::Unsatisfiable => here,
        };
    let soon = only || first < start.saturating_add(pieces::PIECE);
    match soon && (start..end).contains(&first) {
        true => (first, last),
        false => (start, here.last),
    }
}
