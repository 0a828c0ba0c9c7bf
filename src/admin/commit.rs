//! Purges become durable and take effect, in groups.
//!
//! ```text
//! call -> line -> turn: number all that wait -> one append, one sync -> apply -> answers
//! ```
//! A sync takes milliseconds, so calls that come while one runs wait in line, and the next
//! turn takes them all: many purges a second cost few syncs. A turn is a task of its own:
//! a caller that hangs up must not leave a purge durable but not applied, because its number
//! would then be given out a second time and the other purge be ignored after a restart.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::answer::Refusal;
use super::job::Counting;
use super::sweep::Report;
use crate::rules::purge::{Purge, What};
use crate::telemetry::Event;

/// Calls that one turn takes at most.
const GROUP_MAX: usize = 64;

/// What a call wants.
pub(super) struct Order {
    pub(super) whats: Vec<What>,
    /// What `/v1/purges` will show; its number is set here.
    pub(super) report: Report,
    /// Whether a sweep counts what it hits.
    pub(super) counted: bool,
}

/// What came of it.
pub(super) struct Effect {
    /// Number of its last item.
    pub(super) seq: u64,
    /// The count, if it was asked for.
    pub(super) counting: Option<Counting>,
}

type Told = Result<Effect, Refusal>;

/// The calls in line, and whose turn it is.
#[derive(Default)]
pub(super) struct Purgers {
    line: Mutex<VecDeque<(Order, oneshot::Sender<Told>)>>,
    turn: tokio::sync::Mutex<()>,
}

impl Purgers {
    /// The next group: all that wait, but one call with patterns at most, because their
    /// number is bounded and each call is checked against what is in force.
    fn next(&self) -> Vec<(Order, oneshot::Sender<Told>)> {
        let mut line = self.line.lock();
        let mut group = Vec::new();
        let mut patterns = false;
        while let Some((order, tell)) = line.pop_front() {
            let has = order.whats.iter().any(|what| matches!(what, What::Pattern(_)));
            if group.len() == GROUP_MAX || (has && patterns) {
                line.push_front((order, tell));
                break;
            }
            patterns |= has;
            group.push((order, tell));
        }
        group
    }
}

/// Numbers the items, makes them durable and applies them.
pub(super) async fn commit(state: &Arc<super::State>, order: Order) -> Told {
    let (tell, told) = oneshot::channel();
    state.purgers.line.lock().push_back((order, tell));
    let own = state.clone();
    tokio::spawn(async move {
        let _turn = own.purgers.turn.lock().await;
        let group = own.purgers.next();
        if !group.is_empty() {
            together(&own, group).await;
        }
    });
    let lost = |_| Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the purge was given up"));
    told.await.unwrap_or_else(lost)
}

async fn together(state: &Arc<super::State>, group: Vec<(Order, oneshot::Sender<Told>)>) {
    let ledger = &state.handles.ledger;
    let mut purges: Vec<Purge> = Vec::new();
    let mut numbered = Vec::new();
    for (mut order, tell) in group {
        if let Err(error) = ledger.accepts(&order.whats) {
            let _ = tell.send(Err(error.into()));
            continue;
        }
        let own = ledger.number(order.whats.clone(), order.report.soft, order.report.at_ms);
        let before = purges.len() as u64;
        purges.extend(own.into_iter().map(|purge| Purge { seq: purge.seq + before, ..purge }));
        order.report.seq = purges.last().map_or(0, |purge| purge.seq);
        numbered.push((order, tell));
    }
    match durable(state, purges).await {
        Ok(purges) => {
            let mut purges = purges.into_iter();
            for (order, tell) in numbered {
                let own = purges.by_ref().take(order.whats.len()).collect();
                // A caller that has left is purged for all the same.
                let _ = tell.send(Ok(apply(state, order, own)));
            }
        }
        Err(refusal) => {
            for (_, tell) in numbered {
                let _ = tell.send(Err(refusal.clone()));
            }
        }
    }
}

/// Takes one call's purges into effect. With a count the call first stands in line for a
/// sweep.
fn apply(state: &super::State, order: Order, purges: Vec<Purge>) -> Effect {
    let Order { whats, report, counted } = order;
    let (handles, seq, soft) = (&state.handles, report.seq, report.soft);
    for purge in &purges {
        handles.telemetry.counters.note(Event::Purge, &[purge.what.kind()], 1);
    }
    let apply = || {
        handles.ledger.apply(purges);
    };
    if !counted {
        apply();
        return Effect { seq, counting: None };
    }
    state.sweeper.report(report);
    Effect { seq, counting: Some(state.sweeper.count(whats, seq, soft, apply)) }
}

async fn durable(state: &super::State, purges: Vec<Purge>) -> Result<Vec<Purge>, Refusal> {
    let Some(durable) = state.handles.durable.clone() else { return Ok(purges) };
    let task = move || durable.append(&purges).map(|()| purges);
    let written = tokio::task::spawn_blocking(task).await.map_err(std::io::Error::other);
    written.and_then(|done| done).map_err(|error| {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the purge could not be made durable and is not in effect: {error}"),
        )
    })
}
