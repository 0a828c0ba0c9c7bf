//! The origin of a replay: bodies of the right size, validators, lifetimes, and a count of
//! what came.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    RANGE, VARY,
};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::report::Seen;
use crate::lab::trace::{NO_TTL, Trace};

/// Names the variant wanted; the number of its object.
pub(super) const VARIANT: HeaderName = HeaderName::from_static("lab-variant");
/// Before the number of the object, or of the name where the trace has variants.
pub(super) const PATH: &str = "/lab/";

const PIECE: usize = 64 << 10;
static ZEROES: [u8; PIECE] = [0; PIECE];

struct Thing {
    size: u64,
    control: HeaderValue,
}

pub(super) struct Origin {
    things: Vec<Thing>,
    varies: bool,
    fields: Vec<(HeaderName, HeaderValue)>,
    requests: AtomicU64,
    bodies: AtomicU64,
    bytes: AtomicU64,
    confirmed: AtomicU64,
    unknown: AtomicU64,
}

impl Origin {
    pub(super) fn new(
        trace: &Trace,
        quicker: Option<f64>,
        fields: Vec<(HeaderName, HeaderValue)>,
    ) -> Self {
        let thing = || Thing { size: 0, control: HeaderValue::from_static("max-age=31536000") };
        let mut things: Vec<Thing> = (0..trace.objects()).map(|_| thing()).collect();
        for request in &trace.requests {
            let thing = &mut things[request.object as usize];
            thing.size = request.size;
            if let (Some(quicker), true) = (quicker, request.ttl_s != NO_TTL) {
                let age = (f64::from(request.ttl_s) / quicker).round() as u64;
                let control = HeaderValue::try_from(format!("max-age={age}"));
                thing.control = control.unwrap_or_else(|_| HeaderValue::from_static("no-cache"));
            }
        }
        Origin {
            things,
            varies: trace.variants.is_some(),
            fields,
            requests: AtomicU64::new(0),
            bodies: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        }
    }

    /// What came so far.
    pub(super) fn seen(&self) -> Seen {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Seen {
            requests: load(&self.requests),
            bodies: load(&self.bodies),
            bytes: load(&self.bytes),
            confirmed: load(&self.confirmed),
            unknown: load(&self.unknown),
        }
    }

    /// Serves until it is dropped.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        // Connections end with this task.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let origin = self.clone();
            while connections.try_join_next().is_some() {}
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let answer = origin.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                // A connection that breaks is the node's business.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Filler> {
        let add = |count: &AtomicU64, by| count.fetch_add(by, Ordering::Relaxed);
        add(&self.requests, 1);
        let Some((object, thing)) = self.find(request) else {
            add(&self.unknown, 1);
            let mut response = Response::new(Filler(0));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        };
        let tag = format!("\"{object}\"");
        let field = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let known = field(IF_NONE_MATCH).is_some_and(|tags| tags.contains(&tag));
        let span = if known { None } else { field(RANGE).and_then(|text| span(text, thing.size)) };
        let (first, last) = span.unwrap_or((0, thing.size.saturating_sub(1)));
        let length = if thing.size == 0 { 0 } else { last + 1 - first };
        let bodiless = known || request.method() == Method::HEAD;
        let mut response = Response::new(Filler(if bodiless { 0 } else { length }));
        let fields = response.headers_mut();
        let mut put = |name, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                fields.insert(name, value);
            }
        };
        put(ETAG, tag);
        if !known {
            put(CONTENT_LENGTH, length.to_string());
            put(CONTENT_TYPE, "application/octet-stream".to_owned());
            put(ACCEPT_RANGES, "bytes".to_owned());
        }
        if span.is_some() {
            put(CONTENT_RANGE, format!("bytes {first}-{last}/{}", thing.size));
        }
        fields.insert(CACHE_CONTROL, thing.control.clone());
        if self.varies {
            fields.insert(VARY, HeaderValue::from_name(VARIANT));
        }
        for (name, value) in &self.fields {
            fields.insert(name, value.clone());
        }
        *response.status_mut() = match (known, span) {
            (true, _) => StatusCode::NOT_MODIFIED,
            (_, Some(_)) => StatusCode::PARTIAL_CONTENT,
            _ => StatusCode::OK,
        };
        if known {
            add(&self.confirmed, 1);
        } else if !bodiless {
            // The pieces of one object are one body.
            add(&self.bodies, u64::from(first == 0));
            add(&self.bytes, length);
        }
        response
    }

    fn find<B>(&self, request: &Request<B>) -> Option<(usize, &Thing)> {
        let path = request.uri().path().strip_prefix(PATH)?;
        let number = match request.headers().get(VARIANT).filter(|_| self.varies) {
            Some(variant) => variant.to_str().ok()?,
            None => path,
        };
        let object: usize = number.parse().ok()?;
        Some((object, self.things.get(object)?))
    }
}

/// `bytes=first-last` within an object of this size; other forms are answered whole.
fn span(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let last = last.parse().map_or(size.checked_sub(1)?, |last: u64| last.min(size - 1));
    (first <= last).then_some((first, last))
}

/// A body of so many bytes.
struct Filler(u64);

impl Body for Filler {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.min(PIECE as u64);
        if piece == 0 {
            return Poll::Ready(None);
        }
        self.0 -= piece;
        let bytes = Bytes::from_static(&ZEROES).slice(..piece as usize);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}
