//! From a manifest to a response.

use std::future::poll_fn;
use std::sync::Arc;

use http::Response;

use super::reader::{PieceBody, Segment, Source};
use super::table::Joined;
use super::{Ask, run};
use crate::rules::control::RequestControl;
use crate::rules::entry::Entry;
use crate::rules::fault::Fault;
use crate::rules::key::Key;
use crate::rules::outcome::{self, Fwd, Outcome};
use crate::rules::pieces::{self, PIECE};
use crate::rules::plan::Plan;
use crate::rules::range::Span;
use crate::serve::body::Body;
use crate::serve::order::{Errand, Order};
use crate::serve::visit::{Visit, decide};
use crate::serve::{Shared, answer as own, deliver, miss, pass};
use crate::store::window::{Broken, Reader};

/// It cannot be answered from this manifest: ask anew.
pub(in crate::serve) struct Again {
    pub visit: Visit,
    /// Whether the manifest is out of date; otherwise the origin refuses to add to it.
    pub changed: bool,
}

/// Answers a request that has hit a manifest.
pub(in crate::serve) async fn hit(
    visit: Visit,
    key: Key,
    manifest: Arc<Entry>,
    source: outcome::Source,
) -> Response<Body> {
    let ttl = manifest.freshness.ttl_ms(visit.now).div_euclid(1000);
    let outcome = Outcome { hit: true, ttl: Some(ttl), source, ..Outcome::default() };
    match answer(visit, &key, manifest, outcome, None).await {
        Ok(response) => response,
        Err(Again { visit, changed: false }) => pass::alone(visit, key, Fwd::Partial, None).await,
        Err(Again { mut visit, .. }) => match decide(&visit, false, None) {
            Plan::Refuse(fault) => visit.fail(fault),
            wanting @ (Plan::Miss(_) | Plan::MissRange(_)) => {
                miss::miss(visit, key, wanting, source).await
            }
            _ => pass::alone(visit, key, Fwd::Partial, None).await,
        },
    }
}

/// Answers from `manifest`; `hold` is a reader of a run that has just begun for this client.
pub(in crate::serve) async fn answer(
    mut visit: Visit,
    key: &Key,
    manifest: Arc<Entry>,
    mut outcome: Outcome,
    mut hold: Option<Reader>,
) -> Result<Response<Body>, Again> {
    let shared = visit.shared.clone();
    let order = miss::order(&visit, key, Errand::Fill);
    let Some(ask) = Ask::new(&shared, order, &manifest) else {
        return Ok(visit.fail(Fault::Internal));
    };
    let spans = deliver::bytes_wanted(&visit, &manifest);
    if let Some(gap) = first_gap(&ask, &spans, hold.as_ref()) {
        if RequestControl::of(&visit.parts.headers).only_if_cached {
            return Ok(visit.fail(Fault::OnlyIfCached));
        }
        if pieces::validator(&manifest.head).is_none() {
            // Nothing can be added to it.
            drop_manifest(&ask, key);
            return Err(Again { visit, changed: true });
        }
        if outcome.hit {
            (outcome.hit, outcome.fwd, outcome.stored) = (false, Some(Fwd::Partial), true);
            outcome.source = outcome::Source::Origin;
        }
        match open(&ask, gap).await {
            Ok(Source::Run(reader)) => hold = Some(reader),
            Ok(Source::Piece(_)) => {}
            Err(Broken::Changed) => {
                drop_manifest(&ask, key);
                return Err(Again { visit, changed: true });
            }
            Err(Broken::Refused) => return Err(Again { visit, changed: false }),
            Err(Broken::Fault(fault)) => {
                let meter = visit.meter();
                return Ok(own::origin_fault(&visit.routing.node, fault, outcome, meter));
            }
        }
    } else if outcome.hit {
        from_where(&ask, &spans, &mut outcome);
    }
    let body = PieceBody::new(ask, hold);
    Ok(deliver::pieces(&mut visit, &manifest, body, outcome))
}

/// The body of a whole answer for which nothing needs to be asked for, as far as can be seen,
/// and where its first byte is at rest.
pub(in crate::serve) fn at_hand(
    shared: &Arc<Shared>,
    order: Order,
    manifest: &Arc<Entry>,
) -> Option<(PieceBody, outcome::Source)> {
    let ask = Ask::new(shared, order, manifest)?;
    let all = Span { first: 0, last: ask.grid.total.checked_sub(1)? };
    if first_gap(&ask, &[all], None).is_some() {
        return None;
    }
    let first = ask.key(0);
    let source = match (shared.memory.contains(&first), shared.on_disk(&first)) {
        (true, _) => outcome::Source::Memory,
        (false, true) => outcome::Source::Disk,
        (false, false) => return None,
    };
    Some((PieceBody::new(ask, None).of(vec![Segment::Bytes(all)]), source))
}

/// Where the first byte comes from; one that is on its way for somebody else is no hit.
fn from_where(ask: &Ask, spans: &[Span], outcome: &mut Outcome) {
    let Some(key) = spans.first().map(|span| ask.key(span.first / PIECE)) else { return };
    if ask.shared.memory.contains(&key) {
        outcome.source = outcome::Source::Memory;
    } else if ask.shared.on_disk(&key) {
        outcome.source = outcome::Source::Disk;
    } else {
        outcome.source = outcome::Source::Origin;
        (outcome.hit, outcome.fwd, outcome.collapsed) = (false, Some(Fwd::Partial), true);
    }
}

/// The first stretch that is wanted and neither held nor on its way.
fn first_gap(ask: &Ask, spans: &[Span], hold: Option<&Reader>) -> Option<Span> {
    for span in spans {
        if hold.is_some_and(|reader| reader.at() == span.first) {
            // It is on its way to this client.
            return None;
        }
        for n in span.first / PIECE..=span.last / PIECE {
            if !ask.has(n) {
                let first = span.first.max(n * PIECE);
                return Some(Span { first, last: span.last });
            }
        }
    }
    None
}

/// Gets at the first byte of `wanted`: from disk, from a run under way, or by a new run up
/// to the next piece that is there.
///
/// # Errors
/// Why the origin does not give it.
pub(super) async fn open(ask: &Arc<Ask>, wanted: Span) -> Result<Source, Broken> {
    open_from(ask, wanted, pieces::floor(wanted.first)).await
}

/// As [`open`]; a new run begins at `start`, at most at the first byte wanted.
pub(super) async fn open_from(ask: &Arc<Ask>, wanted: Span, start: u64) -> Result<Source, Broken> {
    let (at, n) = (wanted.first, wanted.first / PIECE);
    if let Some(piece) = ask.on_disk(n).await {
        return Ok(Source::Piece(piece));
    }
    let whole_only = ask.whole_only();
    let last = match whole_only {
        true => ask.grid.total - 1,
        false => gap_end(n, ask.grid.aligned(wanted).last, |n| ask.has(n)),
    };
    let first = if whole_only { 0 } else { start.min(at) };
    let stretch = Span { first, last };
    let shared = &ask.shared;
    let joined = shared.runs.join(ask.version, at, (first, last + 1), whole_only);
    let mut reader = match joined {
        Joined::Follow(reader) => reader,
        Joined::Lead(led, reader) => {
            tokio::spawn(run::fetch(ask.clone(), led, stretch));
            reader
        }
    };
    poll_fn(|cx| reader.poll_opened(cx)).await?;
    Ok(Source::Run(reader))
}

/// The last byte before the next piece that `held` says is there, after the missing piece `n`.
pub(super) fn gap_end(n: u64, last: u64, held: impl Fn(u64) -> bool) -> u64 {
    let mut next = n + 1;
    while next * PIECE <= last && !held(next) {
        next += 1;
    }
    last.min((next * PIECE).saturating_sub(1))
}

/// The object has changed or cannot be completed: nobody should find it again.
fn drop_manifest(ask: &Ask, key: &Key) {
    let held = |slot: crate::rules::entry::Slot| {
        slot.variants.iter().any(|entry| entry.extent == ask.manifest.extent)
    };
    let shared = &ask.shared;
    if shared.memory.get(key).is_none_or(held) {
        shared.memory.remove(key);
        if let Some(disk) = &shared.disk {
            disk.remove(key);
        }
    }
}
