//! The meter of one exchange: what will be told about it when it is over.
//!
//! Holds cheap handles (reference counts), no copies; they pin the connection's read buffer
//! no longer than the answer is on its way.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use http::header::{REFERER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, request};

use super::Shared;
use crate::base::Now;
use crate::base::clock::instant;
use crate::front::Connection;
use crate::rules::asked::{Asked, Host, Scheme};
use crate::rules::entry::{Entry, Extent};
use crate::rules::outcome::Outcome;
use crate::rules::site::Site;
use crate::telemetry::Exchange;

/// Counts one exchange and records it when dropped.
pub struct Meter {
    shared: Arc<Shared>,
    conn: Arc<Connection>,
    started: Instant,
    now: Now,
    asked: Option<AskedFor>,
    site: Option<Arc<Site>>,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    /// When the head was ready; a hit is answered at once and not timed apart.
    answered: Option<Instant>,
    status: u16,
    outcome: Outcome,
    bytes: u64,
    cut: bool,
    ended: bool,
    /// The object it was about, for the sample.
    object: Option<Object>,
}

/// A stored object that answers, as the sample knows it.
pub(super) struct Object {
    key: u64,
    /// Bytes of the whole, if they are known before the end.
    size: Option<u64>,
    ttl_s: u32,
}

impl Object {
    /// `held` is the length of its body if known.
    pub(super) fn of(hash: u128, entry: &Entry, held: Option<u64>) -> Self {
        let size = match entry.extent {
            Extent::Whole => held,
            Extent::Pieces { total, .. } => Some(total),
            Extent::Part { total, .. } => total.or(held),
        };
        // Variants are objects of their own.
        let variant = entry.vary.as_ref().map_or(0, |vary| {
            let mut hasher = DefaultHasher::new();
            vary.fields.iter().for_each(|(name, value)| (name, value).hash(&mut hasher));
            hasher.finish()
        });
        let lifetime = entry.freshness.lifetime_ms.saturating_sub(entry.freshness.initial_age_ms);
        let ttl_s = u32::try_from(lifetime / 1000).unwrap_or(u32::MAX);
        Object { key: hash as u64 ^ variant, size, ttl_s }
    }

    /// Tells the sample of one exchange that brought `bytes`.
    pub(super) fn note(&self, shared: &Shared, bytes: u64, now: Now) {
        let size = self.size.unwrap_or(bytes);
        shared.telemetry.sample.note(self.key, size, now.mono_ms, self.ttl_s);
    }
}

struct AskedFor {
    method: Method,
    scheme: Scheme,
    host: Host,
    target: PathAndQuery,
}

impl Meter {
    /// Starts with the request head's arrival.
    pub fn start(shared: &Arc<Shared>, conn: &Arc<Connection>) -> Box<Self> {
        let started = instant();
        Box::new(Meter {
            shared: shared.clone(),
            conn: conn.clone(),
            started,
            now: shared.clock.at(started),
            asked: None,
            site: None,
            user_agent: None,
            referer: None,
            answered: None,
            status: 0,
            outcome: Outcome::default(),
            bytes: 0,
            cut: false,
            ended: false,
            object: None,
        })
    }

    /// When the request arrived.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Remembers who asks with what.
    pub fn heard(&mut self, asked: &Asked, parts: &request::Parts) {
        self.asked = Some(AskedFor {
            method: asked.method.clone(),
            scheme: asked.scheme,
            host: asked.host.clone(),
            target: asked.target.clone(),
        });
        self.user_agent = parts.headers.get(USER_AGENT).cloned();
        self.referer = parts.headers.get(REFERER).cloned();
    }

    /// Remembers which site serves.
    pub fn routed(&mut self, site: &Arc<Site>) {
        self.site = Some(site.clone());
    }

    /// Remembers which stored object answers; `held` is the length of its body if known.
    pub fn object(&mut self, hash: u128, entry: &Entry, held: Option<u64>) {
        self.object = Some(Object::of(hash, entry, held));
    }

    /// The head is ready: the time to first byte ends here.
    pub fn answered(&mut self, status: u16, outcome: Outcome) {
        self.answered = (!outcome.hit).then(instant);
        self.status = status;
        self.outcome = outcome;
    }

    /// The method, once it is known.
    pub fn method(&self) -> Option<&Method> {
        self.asked.as_ref().map(|asked| &asked.method)
    }

    /// Whether the connection speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.conn.http2
    }

    /// Body bytes handed to the connection.
    pub fn sent(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// The body failed.
    pub fn cut(&mut self) {
        self.cut = true;
    }

    /// The body was handed over to its end.
    pub fn ended(&mut self) {
        self.ended = true;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let asked = self.asked.as_ref();
        let scheme = if self.conn.tls.is_some() { Scheme::Https } else { Scheme::Http };
        let duration = instant().duration_since(self.started);
        if let Some(object) = &self.object {
            object.note(&self.shared, self.bytes, self.now);
        }
        let ttfb = self.answered.map_or(duration, |at| at.duration_since(self.started));
        self.shared.telemetry.finished(&Exchange {
            now: self.now.after(duration),
            peer: self.conn.peer,
            site: self.site.as_ref().map_or("", |site| &site.name),
            method: asked.map_or("-", |asked| asked.method.as_str()),
            scheme: asked.map_or(scheme, |asked| asked.scheme),
            host: asked.map_or("", |asked| asked.host.as_str()),
            target: asked.map_or("", |asked| asked.target.as_str()),
            http2: self.conn.http2,
            status: self.status,
            bytes: self.bytes,
            complete: self.ended && !self.cut,
            duration,
            ttfb,
            outcome: &self.outcome,
            user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
            referer: self.referer.as_ref().map(HeaderValue::as_bytes),
            request_id: None,
        });
    }
}
