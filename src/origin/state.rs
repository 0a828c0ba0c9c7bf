//! What an operator sees of origins: plain data for the admin API and metrics.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde::Serialize;

use super::health::Cause;
use super::server::Server;

/// One group.
#[derive(Clone, Debug, Serialize)]
pub struct GroupState {
    /// Its name.
    pub name: String,
    /// The group that answers for this name now, if another one was switched to.
    pub switched_to: Option<String>,
    /// Directory served, if it is not a group of servers.
    pub directory: Option<String>,
    /// Second and further tries.
    pub retries: u64,
    /// Retries that the budget refused.
    pub retries_refused: u64,
    /// Requests that found no server.
    pub homeless: u64,
    /// The origin as a whole fails: stale copies answer, and few requests go out.
    pub failing: bool,
    /// Its servers by priority.
    pub servers: Vec<ServerState>,
}

/// One server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerState {
    /// Its name.
    pub name: String,
    /// Its address as configured or discovered.
    pub address: String,
    /// Addresses its name leads to now.
    pub resolved: Vec<String>,
    /// `up`, `slow-start`, `trial`, `ejected`, `down` or `drained`.
    pub state: &'static str,
    /// Why it is not `up`.
    pub reason: &'static str,
    /// Seconds until an ejected server is tried again.
    pub retry_in_s: Option<u64>,
    /// Ejections since start by cause: `failures`, `errors`, `slow`.
    pub ejections: BTreeMap<&'static str, u64>,
    /// Weight now.
    pub weight: u32,
    /// Priority; 0 first.
    pub priority: u32,
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests waiting for a place.
    pub waiting: usize,
    /// Average time to a head in milliseconds.
    pub latency_ms: f64,
    /// Requests since start.
    pub requests: u64,
    /// Failures since start.
    pub failures: u64,
    /// Connections opened since start.
    pub connections: u64,
    /// Requests answered on a connection used before.
    pub reused: u64,
    /// Requests that had to wait for a place.
    pub queued: u64,
    /// Body bytes received since start.
    pub bytes: u64,
}

impl ServerState {
    /// Reads one server.
    pub(super) fn of(server: &Server, now: Instant) -> Self {
        let (state, reason) = server.health.words(now);
        let counters = &server.counters;
        let known = server.route.known();
        ServerState {
            name: server.name.to_string(),
            address: server.spec.address.to_string(),
            resolved: known.iter().map(ToString::to_string).collect(),
            state,
            reason,
            retry_in_s: server.health.rest(now).map(|rest| rest.as_millis().div_ceil(1000) as u64),
            ejections: Cause::ALL
                .iter()
                .zip(&counters.ejections)
                .map(|(cause, count)| (cause.word(), count.load(Ordering::Relaxed)))
                .collect(),
            weight: server.weight.load(Ordering::Relaxed),
            priority: server.spec.priority,
            in_flight: server.outstanding.load(Ordering::Relaxed),
            waiting: server.queue_length(),
            latency_ms: server.latency_us.load(Ordering::Relaxed) as f64 / 1000.0,
            requests: counters.requests.load(Ordering::Relaxed),
            failures: counters.failures.load(Ordering::Relaxed),
            connections: counters.connections.load(Ordering::Relaxed),
            reused: counters.reused.load(Ordering::Relaxed),
            queued: counters.queued.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
        }
    }
}
