//! After a miss: lead or follow, wait for the head, deliver.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use http::{HeaderValue, Method, Response, header, request};

use super::Shared;
use super::body::Body;
use super::exchange::{Visit, decide, hit};
use super::fetch::{self, Errand, Landing, Order};
use super::flights::{FlightId, Joined, Progress};
use super::follow::{Use, follow, usable};
use super::{answer, deliver, pass, pieces};
use crate::base::Now;
use crate::rules::entry::{Entry, Slot};
use crate::rules::fault::Fault;
use crate::rules::key::Key;
use crate::rules::outcome::{Fwd, Outcome, Source};
use crate::rules::pieces as rules_pieces;
use crate::rules::plan::Plan;
use crate::rules::range;
use crate::rules::settle;
use crate::rules::validate;
use crate::rules::vary::Vary;
use crate::store::spool::Reader;
use crate::store::window;

/// How often a follower whose variant or ledger turned out different joins again before
/// it asks for itself.
const JOINS_MAX: usize = 3;

/// Refreshes of objects that become stale together begin within this time.
const REFRESH_SPREAD_MS: u64 = 1000;

/// Answers a request for which nothing usable is stored.
pub(super) async fn miss(
    mut visit: Visit,
    key: Key,
    wanting: Plan,
    source: Source,
) -> Response<Body> {
    let Some((mut errand, fwd)) = errand(&visit, wanting) else {
        return visit.fail(Fault::Internal);
    };
    let shared = visit.shared.clone();
    let now = visit.now;
    let rescuer = errand.stored().filter(|entry| settle::rescue(entry, now)).cloned();
    if let Some(entry) = rescuer.as_ref().filter(|entry| is_hopeless(&visit, &key, entry)) {
        return stored(visit, key, entry.clone(), source).await;
    }
    let fills = matches!(errand, Errand::Fill | Errand::FillRange { .. });
    if fills && shared.memos.is_uncacheable(key.hash(), now) {
        // Nobody waits for anybody, but an answer that can be stored by now is stored.
        if !matches!(errand, Errand::Fill) || validate::is_conditional(&visit.parts.headers) {
            return pass::alone(visit, key, fwd, Some("uncacheable")).await;
        }
        let lead = shared.flights.alone(key.hash(), shared.ledger.seq());
        let order = order(&visit, &key, errand);
        let landing = fetch::lead(&shared, lead, order).await;
        return land(visit, key, landing, (fwd, source)).await;
    }
    let mut variant = None;
    for _ in 0..JOINS_MAX {
        let id = flight_id(&visit, &key, &errand, variant.as_ref());
        let seq = shared.ledger.seq();
        match shared.flights.join(id, seq) {
            Joined::Lead(lead) => {
                // Somebody may have landed between our lookup and our lead.
                if let Some(entry) = landed_meanwhile(&visit, &key, &errand) {
                    return stored(visit, key, entry, Source::Memory).await;
                }
                let order = order(&visit, &key, errand);
                let Some(landing) =
                    patiently(&shared, &rescuer, fetch::lead(&shared, lead, order)).await
                else {
                    return late(visit, key, rescuer, (fwd, source)).await;
                };
                return land(visit, key, landing, (fwd, source)).await;
            }
            Joined::Follow(flight) => {
                let Some(progress) = patiently(&shared, &rescuer, follow(&visit, &flight)).await
                else {
                    return late(visit, key, rescuer, (fwd, source)).await;
                };
                match usable(&visit, &flight, &progress) {
                    Use::TooOld { purged } => {
                        shared.flights.supersede(id, &flight);
                        if purged {
                            errand = Errand::Fill;
                        }
                    }
                    Use::Yes(reader) => {
                        let known = (progress, reader);
                        return deliver(visit, key, known, (fwd, source), true).await;
                    }
                    Use::Alone => return pass::alone(visit, key, fwd, None).await,
                    // The next flight is for those alone who want the same as this client:
                    // that one may be under way for long.
                    Use::OtherVariant(vary) => variant = Some(vary),
                }
            }
        }
    }
    pass::alone(visit, key, fwd, Some("joins")).await
}

/// Whether a stale copy should answer at once, because the origin has just failed this key
/// or fails altogether: nobody who has a copy waits to learn that.
fn is_hopeless(visit: &Visit, key: &Key, entry: &Arc<Entry>) -> bool {
    if visit.shared.memos.is_unwell(key.hash(), visit.now) {
        return true;
    }
    let group = visit.routing.origin(&visit.place.site.origin);
    let fails = group.is_some_and(|group| group.is_failing());
    if fails {
        refresh(visit, key, entry);
    }
    fails
}

/// Waits for the origin, with a stale copy in hand no longer than `stale_wait`; `None`
/// when that is over. The fetch goes on and its answer is stored.
async fn patiently<T>(
    shared: &Shared,
    rescuer: &Option<Arc<Entry>>,
    coming: impl Future<Output = T>,
) -> Option<T> {
    match rescuer {
        Some(_) => tokio::time::timeout(shared.options.stale_wait, coming).await.ok(),
        None => Some(coming.await),
    }
}

/// The origin did not answer while a client with a stale copy waited.
async fn late(
    visit: Visit,
    key: Key,
    rescuer: Option<Arc<Entry>>,
    (fwd, source): (Fwd, Source),
) -> Response<Body> {
    match rescuer.filter(|entry| !visit.shared.is_purged(entry)) {
        Some(entry) => stored(visit, key, entry, source).await,
        None => pass::alone(visit, key, fwd, Some("purged")).await,
    }
}

/// Starts a refresh in the background, unless one is under way or has just failed, it is
/// too early, or the whole origin fails and enough others look whether it is back.
pub(super) fn refresh(visit: &Visit, key: &Key, entry: &Arc<Entry>) {
    let shared = &visit.shared;
    let now = shared.clock.now();
    if shared.memos.is_unwell(key.hash(), now) || is_early(key, entry, now) {
        return;
    }
    let group = visit.routing.origin(&visit.place.site.origin);
    if group.is_some_and(|group| !group.may_probe()) {
        return;
    }
    let errand = Errand::Revalidate(entry.clone());
    let id = flight_id(visit, key, &errand, None);
    if let Joined::Lead(lead) = shared.flights.join(id, shared.ledger.seq()) {
        fetch::refresh(shared, lead, order(visit, key, errand));
    }
}

/// Objects that were stored together become stale together. Within the window in which
/// they may be shown stale, each waits for a moment of its own, by its key.
fn is_early(key: &Key, entry: &Entry, now: Now) -> bool {
    let spread = (entry.freshness.while_revalidate_ms / 10).min(REFRESH_SPREAD_MS);
    let moment = (key.hash() >> 64) as u64 % (spread + 1);
    !entry.is_soft_purged() && entry.freshness.staleness_ms(now) < moment
}

/// An entry in either form, without asking anybody.
async fn stored(mut visit: Visit, key: Key, entry: Arc<Entry>, source: Source) -> Response<Body> {
    match entry.in_pieces() {
        true => Box::pin(pieces::hit(visit, key, entry, source)).await,
        false => hit(&mut visit, &entry, source),
    }
}

fn errand(visit: &Visit, wanting: Plan) -> Option<(Errand, Fwd)> {
    match wanting {
        Plan::Revalidate { entry, fwd } => Some((Errand::Revalidate(entry), fwd)),
        Plan::Complete { entry } => Some((Errand::Complete(entry), Fwd::Partial)),
        Plan::Miss(fwd) => Some((Errand::Fill, fwd)),
        Plan::MissRange(fwd) => Some((fill_range(&visit.parts), fwd)),
        Plan::Hit(_) | Plan::StaleHit(_) | Plan::Pass(_) | Plan::Refuse(_) => None,
    }
}

/// The range that the client wants, grown to whole pieces, on the client's own condition.
fn fill_range(parts: &request::Parts) -> Errand {
    let specs = range::asked(&parts.method, &parts.headers);
    let range = match specs.as_deref() {
        Some([spec]) => rules_pieces::widened(*spec),
        _ => None,
    };
    let if_range = parts.headers.get(header::IF_RANGE).cloned();
    range.map_or(Errand::Fill, |range| Errand::FillRange { range, if_range })
}

pub(super) fn order(visit: &Visit, key: &Key, errand: Errand) -> Order {
    Order {
        routing: visit.routing.clone(),
        place: visit.place.clone(),
        key: key.clone(),
        asked: visit.asked.clone(),
        parts: visit.parts.clone(),
        conn: visit.conn.clone(),
        errand,
    }
}

/// Flights are per key; a range that is fetched alone, a HEAD, and a variant that is known
/// (from a stored entry, or from a flight that brought another one), each fly by themselves.
fn flight_id(visit: &Visit, key: &Key, errand: &Errand, variant: Option<&Vary>) -> FlightId {
    let mut hasher = DefaultHasher::new();
    let mut apart = visit.parts.method == Method::HEAD;
    visit.parts.method.hash(&mut hasher);
    if let Errand::FillRange { if_range, .. } = errand {
        apart = true;
        visit.parts.headers.get(header::RANGE).map(HeaderValue::as_bytes).hash(&mut hasher);
        if_range.as_ref().map(HeaderValue::as_bytes).hash(&mut hasher);
    }
    let stored = errand.stored().and_then(|entry| entry.vary.as_ref());
    if let Some(vary) = variant.or(stored.map(Box::as_ref)) {
        apart = true;
        for (name, value) in &vary.fields {
            (name, value).hash(&mut hasher);
        }
    }
    FlightId { key: key.hash(), apart: if apart { hasher.finish() | 1 } else { 0 } }
}

fn landed_meanwhile(visit: &Visit, key: &Key, errand: &Errand) -> Option<Arc<Entry>> {
    let slot: Slot = visit.shared.lookup(key)?;
    if let Some(known) = errand.stored() {
        let news = slot.variants.iter().any(|entry| !Arc::ptr_eq(entry, known));
        if !news {
            return None;
        }
    }
    match decide(visit, false, Some(&slot)) {
        Plan::Hit(entry) => Some(entry),
        _ => None,
    }
}

/// What the leading client does with the landing.
async fn land(
    visit: Visit,
    key: Key,
    landing: Landing,
    (fwd, source): (Fwd, Source),
) -> Response<Body> {
    match landing {
        Landing::Known(Progress::Alone, _) => pass::alone(visit, key, fwd, None).await,
        Landing::Known(progress, reader) => {
            deliver(visit, key, (progress, reader), (fwd, source), false).await
        }
        Landing::Pieces { manifest, status, hold } => {
            let outcome = Outcome { fwd: Some(fwd), ..Outcome::default() };
            in_pieces(visit, key, manifest, (outcome, status), Some(hold)).await
        }
        Landing::Relay(relayed) => pass::relay(visit, *relayed, fwd),
    }
}

/// Answers with a large object that has just been found.
async fn in_pieces(
    visit: Visit,
    key: Key,
    manifest: Arc<Entry>,
    (mut outcome, status): (Outcome, u16),
    hold: Option<window::Reader>,
) -> Response<Body> {
    told(&mut outcome, status, &manifest, visit.shared.clock.now());
    from_manifest(visit, key, manifest, outcome, hold).await
}

/// A manifest that gives no answer after all is left to the client's own request.
async fn from_manifest(
    visit: Visit,
    key: Key,
    manifest: Arc<Entry>,
    outcome: Outcome,
    hold: Option<window::Reader>,
) -> Response<Body> {
    let fwd = outcome.fwd.unwrap_or(Fwd::Partial);
    match Box::pin(pieces::answer(visit, &key, manifest, outcome, hold)).await {
        Ok(response) => response,
        Err(again) => pass::alone(again.visit, key, fwd, None).await,
    }
}

/// An answer of the origin is stored as `entry`.
fn told(outcome: &mut Outcome, status: u16, entry: &Entry, now: Now) {
    outcome.fwd_status = Some(status);
    outcome.stored = true;
    outcome.ttl = Some(entry.freshness.ttl_ms(now).div_euclid(1000));
}

async fn deliver(
    mut visit: Visit,
    key: Key,
    (progress, reader): (Progress, Option<Reader>),
    (fwd, source): (Fwd, Source),
    collapsed: bool,
) -> Response<Body> {
    let now = visit.shared.clock.now();
    let mut outcome = Outcome { fwd: Some(fwd), collapsed, ..Outcome::default() };
    match progress {
        Progress::Shared { head, spool, fwd_status } => {
            if !deliver::suits(&visit, &head) {
                return pass::alone(visit, key, fwd, None).await;
            }
            told(&mut outcome, fwd_status, &head, now);
            match reader {
                Some(reader) => {
                    deliver::streaming(&mut visit, &head, (reader, spool.announced), outcome)
                }
                None => visit.fail(Fault::Internal),
            }
        }
        Progress::Landed { entry, fwd_status } => {
            told(&mut outcome, fwd_status, &entry, now);
            deliver::landed(&mut visit, &entry, outcome)
        }
        Progress::Pieces { manifest, fwd_status } => {
            in_pieces(visit, key, manifest, (outcome, fwd_status), None).await
        }
        Progress::Settled { entry, fwd_status, rescued_from } => {
            outcome.fwd_status = fwd_status;
            outcome.source = source;
            outcome.stored = rescued_from.is_none();
            outcome.ttl = Some(entry.freshness.ttl_ms(now).div_euclid(1000));
            outcome.detail = rescued_from.map(Fault::word);
            match entry.in_pieces() {
                true => from_manifest(visit, key, entry, outcome, None).await,
                false => deliver::stored(&mut visit, &entry, outcome),
            }
        }
        Progress::Failed(fault) => {
            let meter = visit.meter();
            answer::origin_fault(&visit.routing.node, fault, outcome, meter)
        }
        Progress::Requested | Progress::Alone => visit.fail(Fault::Internal),
    }
}
