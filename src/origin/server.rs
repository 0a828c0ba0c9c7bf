//! One server: its queue, its connections, its counters, and one exchange with it.
//!
//! `exchange` makes one try. It repeats itself only for the connection-reuse race: an
//! idle connection that the server closed just when it was used. Trying another server
//! is the fleet's decision.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::header::HOST;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use super::answer::Framing;
use super::body::OriginBody;
use super::dial::Route;
use super::fault::OriginFault;
use super::health::{Cause, Health};
use super::lease::{Lease, Link, Place};
use super::options::{GroupOptions, Http2, PoolOptions, ServerOptions};
use super::outgoing::Outgoing;
use super::outlier::Tally;
use super::resolve::Names;
use super::upstream::Upstream;
use super::{Answer, SendContext, pick, request};
use crate::base::clock;

pub(super) use super::blame::body_fault;

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

    /// One try. `keep` asks for the request back where it is safe to send it again;
    /// `patience` bounds the wait for the first byte.
    pub async fn exchange(
        self: &Arc<Self>,
        request: Request<Outgoing>,
        cx: &SendContext,
        keep: bool,
        patience: Duration,
    ) -> Result<(Answer, Option<Request<Outgoing>>), Failed> {
        let place = match self.enter().await {
            Ok(place) => place,
            Err(fault) => return Err(Failed { fault, again: Some(request) }),
        };
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let expect = request::expect(&request);
        let upload = request.body().upload();
        let mut lease = Lease::new(place, upload.clone());
        let mut request = request;
        let mut fresh = false;
        loop {
            let idle = if fresh { None } else { self.idle(!request::can_go_again(&request)) };
            let reused = idle.is_some();
            let link = match idle {
                Some(link) => link,
                None => match self.open(cx).await {
                    Ok(link) => link,
                    Err(fault) => return Err(self.lost(fault, Some(request))),
                },
            };
            let again = if keep || reused { request::again(&request) } else { None };
            let h2 = matches!(link, Link::Shared(_));
            if let Err(fault) = self.address(&mut request, h2) {
                return Err(Failed { fault, again: None });
            }
            lease.attach(link, expect);
            self.keep_warm();
            let began = clock::instant();
            let line = lease.line();
            let timeouts = &self.common.options.timeouts;
            let wait = request::Wait { line: line.as_deref(), upload: upload.as_deref() };
            let sent = wait.head(lease.send(request), patience, timeouts.head).await;
            match sent {
                Ok(response) => {
                    let slow = self.note_latency(began.elapsed());
                    if reused {
                        self.counters.reused.fetch_add(1, Ordering::Relaxed);
                    }
                    return self.answer(response, lease, h2, slow).map(|answer| (answer, again));
                }
                Err(request::Unsent { fault, back }) => {
                    if matches!(fault, OriginFault::Broken(_) | OriginFault::Odd(_)) {
                        lease.spoil();
                    }
                    let silent = !line.is_some_and(|line| line.has_begun());
                    let raced = matches!(fault, OriginFault::Broken(_)) && silent;
                    // What was never written may go out again whatever its method.
                    let safe = back.map(|back| *back).or(again);
                    match safe {
                        Some(back) if reused && raced => request = back,
                        safe => return Err(self.lost(fault, safe)),
                    }
                    fresh = true;
                }
            }
        }
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
    fn lost(&self, fault: OriginFault, again: Option<Request<Outgoing>>) -> Failed {
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
    fn note_latency(&self, sample: Duration) -> bool {
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
    fn note_answer(&self, status: u16, slow: bool) {
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

    /// Judges the status and hands out the body.
    fn answer(
        &self,
        response: Response<Incoming>,
        mut lease: Lease,
        h2: bool,
        slow: bool,
    ) -> Result<Answer, Failed> {
        if h2 && let Err(reason) = request::check_h2(&response) {
            lease.spoil();
            return Err(self.lost(OriginFault::Odd(reason), None));
        }
        self.note_answer(response.status().as_u16(), slow);
        let framing = match lease.line() {
            Some(line) => line.framing(),
            None if http_body::Body::is_end_stream(response.body()) => Framing::None,
            None => Framing::Stream,
        };
        if framing == Framing::Tunnel {
            lease.detach();
        }
        let early = lease.is_early();
        let between = self.common.options.timeouts.between_bytes;
        let response = response.map(|body| OriginBody::wire(body, framing, lease, between));
        Ok(Answer { response, server: self.name.clone(), stick: None, early })
    }

    /// A place among the requests in flight, at once or after a bounded wait.
    async fn enter(self: &Arc<Self>) -> Result<Place, OriginFault> {
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
