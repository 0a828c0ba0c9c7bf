//! The servers of a group and the tries of one request among them.
//!
//! A try goes to the best server not tried yet, in the lowest priority that has one. What
//! is tried again is only what is safe (the server hands the request back), within the
//! number of tries and the retry budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::Request;
use smallvec::SmallVec;

use super::fault::OriginFault;
use super::health::Verdict;
use super::options::{Balance, GroupOptions, Panic};
use super::outgoing::Outgoing;
use super::outlier;
use super::pick::{self, Candidate};
use super::resume::Resume;
use super::retry::Budget;
use super::server::{Common, Failed, Server};
use super::sticky;
use super::{Answer, SendContext};
use crate::base::clock;

/// The servers that may be asked now; swapped whole when discovery changes them.
#[derive(Debug)]
pub struct Fleet {
    /// Ordered by priority.
    pub(super) servers: Vec<Arc<Server>>,
}

/// Counters and state that outlive a change of the servers.
#[derive(Debug)]
pub struct Tries {
    /// Retries in proportion to requests.
    pub budget: Budget,
    /// Second and further tries made.
    pub retries: AtomicU64,
    /// Requests that found no server.
    pub homeless: AtomicU64,
    ticket: AtomicU64,
}

impl Tries {
    /// For a new group.
    pub fn new(options: &GroupOptions) -> Self {
        Tries {
            budget: Budget::new(&options.retry, clock::instant()),
            retries: AtomicU64::new(0),
            homeless: AtomicU64::new(0),
            ticket: AtomicU64::new(0),
        }
    }
}

type Tried = SmallVec<[u64; 4]>;

impl Fleet {
    /// Sends one request, to as many servers as it takes and as is safe. The body of a
    /// large answer can be continued elsewhere when it breaks.
    pub async fn send(
        self: &Arc<Self>,
        request: Request<Outgoing>,
        cx: &SendContext,
        common: &Arc<Common>,
        tries: &Arc<Tries>,
    ) -> Result<Answer, OriginFault> {
        let bound = sticky::Bound::of(&request, &common.options.balance);
        let key = hash_of(&request, &common.options.balance).unwrap_or(cx.key);
        let cx = &SendContext { key, ..*cx };
        // Boxed, here and below: a future is as large as the largest it may wait for, and is
        // moved whole into the one that waits for it.
        let sent = Box::pin(self.try_all(request, cx, &common.options, tries));
        let (mut answer, again) = match common.options.timeouts.total {
            None => sent.await?,
            Some(total) => {
                let end = tokio::time::Instant::from_std(clock::instant() + total);
                let sent = tokio::time::timeout_at(end, sent).await;
                let mut sent = sent.unwrap_or(Err(OriginFault::TotalTimeout))?;
                sent.0.response.body_mut().end_at(end);
                sent
            }
        };
        answer.stick = bound.and_then(|bound| bound.cookie(&answer));
        if let Some(again) = again {
            Resume::arm(self, common, tries, cx, again, &mut answer);
        }
        Ok(answer)
    }

    /// The tries; gives the request back if it may be sent once more.
    pub(super) async fn try_all(
        &self,
        request: Request<Outgoing>,
        cx: &SendContext,
        options: &GroupOptions,
        tries: &Tries,
    ) -> Result<(Answer, Option<Request<Outgoing>>), OriginFault> {
        tries.budget.deposit();
        let wanted = self.wanted(&request, options);
        let mut tried = Tried::new();
        let mut request = request;
        let mut last = OriginFault::NoServer("no server of this origin is up");
        let most = options.retry.tries.max(1);
        for round in 1..=most {
            let Some(server) = self.choose(cx, options, tries, &tried, wanted) else {
                if tried.is_empty() {
                    tries.homeless.fetch_add(1, Ordering::Relaxed);
                }
                return Err(last);
            };
            tried.push(server.id());
            let more = round < most && self.servers.len() > tried.len();
            let patience = match options.retry.per_try {
                Some(per_try) if more => per_try.min(options.timeouts.first_byte),
                _ => options.timeouts.first_byte,
            };
            let result = server.exchange(request, cx, more, patience).await;
            outlier::judge(server, &self.servers, clock::instant());
            match result {
                Ok((answer, again)) => {
                    let status = answer.response.status().as_u16();
                    match again {
                        Some(again)
                            if more
                                && options.retry.status.contains(&status)
                                && self.has_other(&tried)
                                && tries.budget.withdraw(clock::instant()) =>
                        {
                            request = again;
                        }
                        again => return Ok((answer, again)),
                    }
                }
                Err(Failed { fault, again: Some(again) })
                    if more && tries.budget.withdraw(clock::instant()) =>
                {
                    last = fault;
                    request = again;
                }
                Err(Failed { fault, .. }) => return Err(fault),
            }
            tries.retries.fetch_add(1, Ordering::Relaxed);
        }
        Err(last)
    }

    /// Whether a server that was not tried yet is up.
    fn has_other(&self, tried: &Tried) -> bool {
        let now = clock::instant();
        self.servers.iter().any(|server| {
            !tried.contains(&server.id())
                && matches!(server.health.verdict(now), Verdict::Usable(_) | Verdict::Trial)
        })
    }

    /// The server a sticky cookie names.
    fn wanted(&self, request: &Request<Outgoing>, options: &GroupOptions) -> Option<u64> {
        let Balance::Sticky(sticky) = &options.balance else { return None };
        let value = sticky::named(request.headers(), &sticky.cookie)?;
        let fits = |server: &&Arc<Server>| sticky::is_for(value, &server.name);
        self.servers.iter().find(fits).map(|server| server.id())
    }

    fn choose(
        &self,
        cx: &SendContext,
        options: &GroupOptions,
        tries: &Tries,
        tried: &Tried,
        wanted: Option<u64>,
    ) -> Option<&Arc<Server>> {
        let now = clock::instant();
        let mut rest = self.servers.as_slice();
        while let Some(priority) = rest.first().map(|server| server.spec.priority) {
            let end = rest.partition_point(|server| server.spec.priority <= priority);
            let (level, lower) = rest.split_at_checked(end)?;
            rest = lower;
            if let Some(server) = trial(level, tried, now) {
                return Some(server);
            }
            let open: SmallVec<[&Arc<Server>; 8]> = level
                .iter()
                .filter(|server| !tried.contains(&server.id()))
                .filter(|server| share(server, now) > 0)
                .collect();
            if let Some(server) = open.iter().find(|server| Some(server.id()) == wanted) {
                return Some(server);
            }
            if let Some(index) = balance(&open, cx, options, tries, now) {
                return open.get(index).copied();
            }
        }
        (options.panic == Panic::TryAll).then(|| self.panic(tries, tried, now)).flatten()
    }

    /// None is healthy: ask one all the same, unless an operator took it out.
    fn panic(&self, tries: &Tries, tried: &Tried, now: Instant) -> Option<&Arc<Server>> {
        let open: SmallVec<[&Arc<Server>; 8]> = self
            .servers
            .iter()
            .filter(|server| !tried.contains(&server.id()))
            .filter(|server| server.health.verdict(now) != Verdict::Drained)
            .collect();
        let ticket = tries.ticket.fetch_add(1, Ordering::Relaxed);
        open.get(ticket as usize % open.len().max(1)).copied()
    }
}

/// The hash of the field that chooses the server, if one does and the request has it.
fn hash_of(request: &Request<Outgoing>, balance: &Balance) -> Option<u64> {
    let Balance::ConsistentHash { header: Some(name) } = balance else { return None };
    request.headers().get(name).map(|value| xxhash_rust::xxh3::xxh3_64(value.as_bytes()))
}

/// A server whose ejection is over gets one request to prove itself.
fn trial<'a>(level: &'a [Arc<Server>], tried: &Tried, now: Instant) -> Option<&'a Arc<Server>> {
    level.iter().find(|server| {
        server.health.verdict(now) == Verdict::Trial
            && !tried.contains(&server.id())
            && server.health.begin_trial(now)
    })
}

/// Weight times slow start, in hundredths; 0 when it may not be asked.
fn share(server: &Server, now: Instant) -> u64 {
    match server.health.verdict(now) {
        Verdict::Usable(percent) => {
            u64::from(server.weight.load(Ordering::Relaxed)) * u64::from(percent)
        }
        Verdict::Trial | Verdict::Out(_) | Verdict::Drained => 0,
    }
}

fn balance(
    open: &[&Arc<Server>],
    cx: &SendContext,
    options: &GroupOptions,
    tries: &Tries,
    now: Instant,
) -> Option<usize> {
    if open.len() < 2 {
        return (open.len() == 1).then_some(0);
    }
    let candidates: SmallVec<[Candidate; 8]> = open
        .iter()
        .map(|server| Candidate {
            id: server.name_hash,
            weight: share(server, now).max(1),
            outstanding: server.outstanding.load(Ordering::Relaxed) as u64,
            latency_us: server.fading_latency_us(now),
        })
        .collect();
    match options.balance {
        Balance::RoundRobin => {
            pick::round_robin(&candidates, tries.ticket.fetch_add(1, Ordering::Relaxed))
        }
        Balance::LeastLoaded | Balance::Sticky(_) => {
            let ticket = tries.ticket.fetch_add(1, Ordering::Relaxed);
            pick::least_loaded(&candidates, pick::mix(ticket.wrapping_add(0x9e37_79b9_7f4a_7c15)))
        }
        Balance::ConsistentHash { .. } => pick::consistent_hash(&candidates, cx.key),
    }
}
