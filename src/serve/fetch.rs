//! The fetch: owns a `Lead`, asks the origin, settles.
//!
//! Runs in a task of its own, so that a client that leaves does not take the fill with it.
//! Whoever started it is one reader among others, with one difference: an answer that may
//! not be shared is handed to that client directly, over a channel, and the followers are
//! told to ask for themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Method, response};
use tokio::sync::oneshot;

use super::Shared;
use super::ask;
use super::carry::Carry;
use super::fill;
use super::flights::{Lead, Progress};
use super::order::{Client, Errand, Landing, Order, Relayed, tell};
use super::pieces;
use crate::base::Now;
use crate::origin::{Framing, OriginBody};
use crate::rules::entry::Entry;
use crate::rules::fault::Fault;
use crate::rules::partial;
use crate::rules::settle::{self, AnswerHead, FillRequest, Settlement, Storable, Uncacheable};

/// Only the end of the connection ends the body, so that a cut looks like an end.
const UNENDED: Uncacheable = Uncacheable { reason: "close-delimited", remember: true };

/// Starts the fetch and waits for what the leading client gets; the fetch goes on without it.
pub(super) async fn lead(shared: &Arc<Shared>, lead: Lead, order: Order) -> Landing {
    let (landing, landed) = oneshot::channel();
    let shared = shared.clone();
    let work = async move { run(&shared, lead, order, Some(landing)).await };
    let landing = Carry::new(work, landed).await;
    landing.unwrap_or(Landing::Known(Progress::Failed(Fault::Internal), None))
}

/// Starts a refresh that nobody waits for.
pub(super) fn refresh(shared: &Arc<Shared>, lead: Lead, order: Order) {
    let shared = shared.clone();
    tokio::spawn(async move { run(&shared, lead, order, None).await });
}

async fn run(shared: &Arc<Shared>, lead: Lead, mut order: Order, client: Client) {
    // Twice at most: an answer that fits nothing we have is asked for again, plainly.
    for _ in 0..2 {
        let requested_at = shared.clock.now();
        let (sent_range, answer) = ask::ask(shared, &order).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => return failed(shared, &lead, &order, fault, client),
        };
        let received_at = shared.clock.now();
        let stick = answer.stick;
        let (head, body) = answer.response.into_parts();
        let ask = FillRequest {
            method: &order.parts.method,
            headers: &order.parts.headers,
            has_body: false,
            range: sent_range.as_ref(),
        };
        let answer =
            AnswerHead { status: head.status, headers: &head.headers, requested_at, received_at };
        let policy = order.place.policy();
        match settle::settle(&ask, &answer, policy, order.errand.stored()) {
            Settlement::Refetch if order.errand.stored().is_some() => {
                order.errand = Errand::Fill;
            }
            // Purged, or changed by another request, since the origin was asked about it.
            Settlement::Freshen(_) | Settlement::Rescue(_)
                if order.errand.stored().is_some_and(|entry| !stands(shared, &lead, entry)) =>
            {
                order.errand = Errand::Fill;
            }
            settlement => {
                let landed = Arrived { head, body, requested_at, received_at, stick };
                return land(shared, lead, order, settlement, landed, client).await;
            }
        }
    }
    let fault = Fault::BadGateway("the origin's answer does not fit the request");
    failed(shared, &lead, &order, fault, client);
}

/// Whether `entry` may still answer: no hard purge and no unsafe request has hit it since
/// the origin was asked about it.
fn stands(shared: &Shared, lead: &Lead, entry: &Entry) -> bool {
    !lead.is_doomed() && !shared.is_purged(entry)
}

/// An answer's head and the body still to come.
struct Arrived {
    head: response::Parts,
    body: OriginBody,
    requested_at: Now,
    received_at: Now,
    stick: Option<String>,
}

async fn land(
    shared: &Arc<Shared>,
    lead: Lead,
    order: Order,
    settlement: Settlement,
    arrived: Arrived,
    client: Client,
) {
    let status = arrived.head.status.as_u16();
    let hash = order.key.hash();
    match settlement {
        Settlement::Store(_)
            if arrived.body.framing() == Framing::Close
                && !order.place.policy().store_close_delimited =>
        {
            shared.remember_uncacheable(hash, arrived.received_at);
            relay(&lead, arrived, UNENDED, client);
        }
        Settlement::Store(storable) => {
            keep(shared, (lead, order), *storable, arrived.body, (status, client)).await;
        }
        Settlement::Freshen(entry) => freshened(shared, &lead, &order, (entry, status), client),
        Settlement::Rescue(entry) => {
            shared.memos.refresh_failed(hash, arrived.received_at);
            let why = Some(Fault::BadGateway("the origin answered with an error"));
            tell(&lead, settled(entry, status, why), None, client);
        }
        Settlement::Outdated(why) => {
            shared.invalidate(&order.key);
            relay(&lead, arrived, why, client);
        }
        Settlement::Relay(why) => {
            if why.remember {
                shared.remember_uncacheable(hash, arrived.received_at);
            }
            if status == 206 && matches!(order.errand, Errand::FillRange { .. }) {
                // It may be wider than what the client wants: he asks for his own.
                return tell(&lead, Progress::Alone, None, client);
            }
            relay(&lead, arrived, why, client);
        }
        Settlement::Refetch => {
            let fault = Fault::BadGateway("the origin's answer does not fit the request");
            failed(shared, &lead, &order, fault, client);
        }
        Settlement::Reject(fault) => failed(shared, &lead, &order, fault, client),
    }
}

/// Takes in what may be stored: in pieces, at once if all of it is here, or as it comes.
async fn keep(
    shared: &Arc<Shared>,
    (lead, order): (Lead, Order),
    storable: Storable,
    mut body: OriginBody,
    (status, client): (u16, Client),
) {
    if let Some(total) = storable.large(order.place.policy()) {
        let found = pieces::Found { lead, status, client, storable, total, body };
        return Box::pin(pieces::begin(shared, order, found)).await;
    }
    if status == 206 && partial::cut(&Method::GET, &order.parts.headers, storable.extent).is_none()
    {
        // Of a long range the beginning was asked for, and this one cannot be continued.
        shared.memos.remember_whole_only(order.key.hash(), shared.clock.now());
    }
    let policy = order.place.policy();
    let (limit, pieces_from) = (policy.object_max, policy.pieces_from);
    let key = order.key;
    let filling = fill::Filling { lead, key, status, client, limit, pieces_from };
    let limit = limit.min(shared.options.object_max);
    let plain = storable.is_plain() && storable.expected_len.is_some_and(|n| n <= limit);
    match plain.then(|| body.take_whole()).flatten() {
        Some(whole) => fill::at_once(shared, filling, storable, whole),
        None => Box::pin(fill::fill(shared, filling, storable, body)).await,
    }
}

/// The origin has confirmed what is stored.
fn freshened(
    shared: &Shared,
    lead: &Lead,
    order: &Order,
    (entry, status): (Arc<Entry>, u16),
    client: Client,
) {
    shared.memos.refresh_worked(order.key.hash());
    if order.errand.is_about(&entry) {
        return confirm_alone(lead, entry, status, client);
    }
    // It speaks of when its request was sent: what judged the entry since judged not it.
    entry.checked_seq.store(lead.seq(), Ordering::Release);
    // What has replaced it since it was asked about is newer than what is confirmed.
    let replaced = order.errand.stored().is_some_and(|old| shared.is_replaced(&order.key, old));
    if !lead.is_doomed() && !replaced {
        shared.store(&order.key, entry.clone());
    }
    tell(lead, settled(entry, status, None), None, client);
}

/// What is stored is confirmed to this client alone; the others must ask for themselves.
fn confirm_alone(lead: &Lead, entry: Arc<Entry>, status: u16, client: Client) {
    lead.publish(Progress::Alone);
    if let Some(client) = client {
        let _ = client.send(Landing::Known(settled(entry, status, None), None));
    }
}

fn settled(entry: Arc<Entry>, status: u16, rescued_from: Option<Fault>) -> Progress {
    Progress::Settled { entry, fwd_status: Some(status), rescued_from }
}

/// Hands the answer to the client that leads; the others must ask for themselves.
fn relay(lead: &Lead, arrived: Arrived, why: Uncacheable, client: Client) {
    lead.publish(Progress::Alone);
    let Arrived { head, body, requested_at, received_at, stick } = arrived;
    let relayed = Relayed { head, body, requested_at, received_at, why, stick };
    if let Some(client) = client {
        let _ = client.send(Landing::Relay(Box::new(relayed)));
    }
}

/// The origin gave no answer: the stored entry rescues if its rules allow (RFC 5861 4,
/// RFC 9111 4.2.4), else everybody gets the fault.
fn failed(shared: &Shared, lead: &Lead, order: &Order, fault: Fault, client: Client) {
    let now = shared.clock.now();
    shared.memos.refresh_failed(order.key.hash(), now);
    let rescuer = order.errand.stored().filter(|entry| settle::rescue(entry, now));
    let rescuer = rescuer.filter(|entry| stands(shared, lead, entry));
    let progress = match rescuer {
        Some(entry) => {
            Progress::Settled { entry: entry.clone(), fwd_status: None, rescued_from: Some(fault) }
        }
        None => Progress::Failed(fault),
    };
    tell(lead, progress, None, client);
}
