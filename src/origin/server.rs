//! One server: its connections, its counters, and how it does. An exchange with it is in
//! `exchange`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::header::HOST;
use http::{HeaderValue, Request};
use tokio::sync::Semaphore;

use super::dial::Route;
use super::fault::OriginFault;
use super::health::{Cause, Health};
use super::lease::Place;
use super::options::{GroupOptions, Http2, PoolOptions, ServerOptions};
use super::outgoing::Outgoing;
use super::outlier::Tally;
use super::resolve::Names;
use super::upstream::Upstream;
use super::{pick, request};
use crate::base::clock;

/// What all servers of a group share.
#[derive(Debug)]
pub struct Common {
    pub(super) options: GroupOptions,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) names: Names,
    /// Where streams come from instead of sockets.
    pub(super) upstream: Option<Arc<dyn Upstream>>,
}

/// One server of a group.
#[derive(Debug)]
pub struct Server {
    id: u64,
    /// Name for people.
    pub(super) name: Arc<str>,
    /// Identity that survives reloads.
    pub(super) name_hash: u64,
    pub(super) spec: ServerOptions,
    pub(super) common: Arc<Common>,
    pub(super) health: Health,
    /// How it answered lately.
    pub(super) tally: Tally,
    /// Share of the requests, changed by operators.
    pub(super) weight: AtomicU32,
    pub(super) places: Semaphore,
    waiting: AtomicUsize,
    /// Requests in flight.
    pub(super) outstanding: AtomicUsize,
    /// Moving average of the time to an answer's head, microseconds.
    pub(super) latency_us: AtomicU64,
    /// When that was last measured, milliseconds after `born`.
    measured_ms: AtomicU64,
    born: Instant,
    pub(super) counters: Counters,
    pub(super) route: Route,
    authority: HeaderValue,
    host: Option<HeaderValue>,
    pub(super) speaks_h2: AtomicBool,
    pub(super) connecting: tokio::sync::Mutex<()>,
}

/// What happened at a server since it was made.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests handed to it.
    pub requests: AtomicU64,
    /// Exchanges that failed by its fault.
    pub failures: AtomicU64,
    /// Connections opened.
    pub connections: AtomicU64,
    /// Requests that went out on a connection used before.
    pub reused: AtomicU64,
    /// Requests that waited in the queue.
    pub queued: AtomicU64,
    /// Body bytes received.
    pub bytes: AtomicU64,
    /// Ejections by cause.
    pub ejections: [AtomicU64; 3],
}

/// A try that failed; the request comes back if it can be sent once more.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub fault: OriginFault,
    /// The request, when another try is safe.
    pub again: Option<Request<Outgoing>>,
}

impl Server {
    /// Checks the options. SRV addresses are expanded before.
    pub fn new(spec: ServerOptions, common: Arc<Common>) -> Result<Arc<Self>, String> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (route, authority) = Route::new(&spec.address, &common)?;
        let options = &common.options;
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| format!("expected a host name, got {text:?}"))
        };
        let name = spec.name.clone().unwrap_or_else(|| spec.address.to_string());
        Ok(Arc::new(Server {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name_hash: xxhash_rust::xxh3::xxh3_64(name.as_bytes()),
            name: Arc::from(name),
            health: Health::new(options.eject.clone(), options.slow_start),
            tally: Tally::new(clock::instant()),
            weight: AtomicU32::new(spec.weight),
            places: Semaphore::new(options.pool.in_flight_max.clamp(1, Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            outstanding: AtomicUsize::new(0),
            latency_us: AtomicU64::new(0),
            measured_ms: AtomicU64::new(0),
            born: clock::instant(),
            counters: Counters::default(),
            route,
            authority: value(&authority)?,
            host: spec.host.as_deref().map(value).transpose()?,
            speaks_h2: AtomicBool::new(options.http2 == Http2::Only),
            connecting: tokio::sync::Mutex::new(()),
            spec,
            common,
        }))
    }

    /// Unique in the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn pool_options(&self) -> &PoolOptions {
        &self.common.options.pool
    }

    /// Takes over what was known of this server before a reload.
    pub(super) fn adopt(&self, old: &Server) {
        self.health.adopt(&old.health);
        self.latency_us.store(old.latency_us.load(Ordering::Relaxed), Ordering::Relaxed);
        // A weight that an operator changed outlives the file's, unless the file's changed.
        if old.spec.weight == self.spec.weight {
            self.weight.store(old.weight.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Counts the failure.
    pub(super) fn lost(&self, fault: OriginFault, again: Option<Request<Outgoing>>) -> Failed {
        self.note_fault(fault);
        Failed { fault, again }
    }

    /// A failure of an exchange with this server.
    pub fn note_fault(&self, fault: OriginFault) {
        if !fault.blames_server() {
            return;
        }
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        self.note_bad(fault.reason(), false);
    }

    /// Something that counts towards ejection; `answers` if it was an answer all the same.
    fn note_bad(&self, reason: &'static str, answers: bool) {
        let now = clock::instant();
        self.tally.note(true, now, self.common.options.eject.window);
        if let Some(time) = self.health.failed(now, reason, answers) {
            self.ejected(Cause::Failures, reason, time);
        }
    }

    /// Ejects a server that answers, but badly.
    pub(super) fn eject(&self, cause: Cause, now: Instant) {
        let reason = match cause {
            Cause::Failures => ERRORS,
            Cause::Errors => "too many errors among its answers",
            Cause::Slow => SLOW,
        };
        let time = self.health.eject(now, reason);
        self.ejected(cause, reason, time);
    }

    fn ejected(&self, cause: Cause, reason: &'static str, time: Duration) {
        if let Some(count) = self.counters.ejections.get(cause as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let (origin, cause) = (&self.common.options.name, cause.word());
        tracing::warn!(origin, server = %self.name, cause, reason, ?time, "origin server ejected");
    }

    /// The average latency as far as it still counts.
    pub(super) fn fading_latency_us(&self, now: Instant) -> u64 {
        let age_ms = now.saturating_duration_since(self.born).as_millis() as u64;
        let silent_ms = age_ms.saturating_sub(self.measured_ms.load(Ordering::Relaxed));
        pick::faded(self.latency_us.load(Ordering::Relaxed), silent_ms)
    }

    /// Notes how long a head took; whether that was slow.
    pub(super) fn note_latency(&self, sample: Duration) -> bool {
        let sample = (sample.as_micros() as u64).max(1);
        let old = self.latency_us.load(Ordering::Relaxed);
        // Two threads may overwrite each other's sample: an average survives that.
        let new = if old == 0 { sample } else { (old * 7 + sample) / 8 };
        self.latency_us.store(new, Ordering::Relaxed);
        let age_ms = self.born.elapsed().as_millis() as u64;
        self.measured_ms.store(age_ms, Ordering::Relaxed);
        self.tally.note_time(sample)
    }

    /// An answer arrived: what it says of the server's health.
    pub(super) fn note_answer(&self, status: u16, slow: bool) {
        if self.common.options.eject.status_5xx && matches!(status, 500 | 502 | 503 | 504) {
            self.note_bad(ERRORS, true);
            return;
        }
        let now = clock::instant();
        if slow && self.health.is_ejected() {
            // Its trial shows that nothing has changed.
            self.note_bad(SLOW, true);
            return;
        }
        self.tally.note(false, now, self.common.options.eject.window);
        if self.health.succeeded(now) {
            let origin = &self.common.options.name;
            tracing::warn!(origin, server = %self.name, "origin server is back");
        }
    }

    /// A place among the requests in flight, at once or after a bounded wait.
    pub(super) async fn enter(self: &Arc<Self>) -> Result<Place, OriginFault> {
        let permit = match self.places.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let pool = self.pool_options();
                let _waiting = Waiting::new(&self.waiting, pool.queue_max)?;
                self.counters.queued.fetch_add(1, Ordering::Relaxed);
                match tokio::time::timeout(pool.queue_timeout, self.places.acquire()).await {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) | Err(_) => return Err(OriginFault::QueueTimeout),
                }
            }
        };
        permit.forget();
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        Ok(Place(self.clone()))
    }

    /// Gives the request the target form and `Host` that this server is to see.
    pub(super) fn address(
        &self,
        request: &mut Request<Outgoing>,
        h2: bool,
    ) -> Result<(), OriginFault> {
        if let Some(host) = &self.host {
            request.headers_mut().insert(HOST, host.clone());
        } else if !request.headers().contains_key(HOST) {
            request.headers_mut().insert(HOST, self.authority.clone());
        }
        request::shape(request, h2.then_some(self.route.scheme()))
    }

    pub(super) fn queue_length(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// One waiting request; leaves the queue when dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize, most: usize) -> Result<Self, OriginFault> {
        let waiting = Waiting(count);
        if count.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(OriginFault::QueueFull);
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

const ERRORS: &str = "answers with errors of its own";
const SLOW: &str = "answers much more slowly than the others";
