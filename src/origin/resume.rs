//! A body that breaks in the middle, continued from where it stopped.
//!
//! Only a GET answered 200 with a length and a strong validator qualifies: the rest is
//! asked for by `Range` with `If-Range`, and taken only from a 206 that carries the same
//! entity tag and exactly the missing bytes (RFC 9110 13.1.5, 15.3.7.3). Anything else,
//! and the body ends as the error it was. Short bodies are not worth the copied head.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::header::{
    CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    RANGE,
};
use http::{Method, Request, StatusCode};
use http_body::Body;

use super::body::OriginBody;
use super::fault::OriginFault;
use super::fleet::{Fleet, Tries};
use super::framing::Framing;
use super::outgoing::Outgoing;
use super::server::Common;
use super::{Answer, SendContext};
use crate::base::clock;

/// What is needed to ask for the rest.
#[derive(Debug)]
pub struct Resume {
    fleet: Arc<Fleet>,
    common: Arc<Common>,
    tries: Arc<Tries>,
    cx: SendContext,
    request: Request<Outgoing>,
    etag: HeaderValue,
    encoding: Option<HeaderValue>,
    total: u64,
    left: u32,
}

/// The rest on its way, with what is needed if that breaks too.
pub type Resuming =
    Pin<Box<dyn Future<Output = Result<(OriginBody, Box<Resume>), OriginFault>> + Send>>;

impl Resume {
    /// Arms `answer` if it qualifies.
    pub fn arm(
        fleet: &Arc<Fleet>,
        common: &Arc<Common>,
        tries: &Arc<Tries>,
        cx: &SendContext,
        request: Request<Outgoing>,
        answer: &mut Answer,
    ) {
        let head = &answer.response;
        let total = head.body().size_hint().exact().unwrap_or(0);
        let strong = |etag: &&HeaderValue| etag.as_bytes().starts_with(b"\"");
        let Some(etag) = head.headers().get(ETAG).filter(strong) else { return };
        let fits = request.method() == Method::GET
            && head.status() == StatusCode::OK
            && matches!(head.body().framing(), Framing::Length | Framing::Stream)
            && !request.headers().contains_key(RANGE)
            && total >= LENGTH_MIN;
        if !fits {
            return;
        }
        // Copied out: a slice would hold the connection's whole read buffer.
        let own = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).ok();
        let Some(etag) = own(etag) else { return };
        let encoding = head.headers().get(CONTENT_ENCODING).and_then(own);
        let resume = Resume {
            fleet: fleet.clone(),
            common: common.clone(),
            tries: tries.clone(),
            cx: *cx,
            request,
            etag,
            encoding,
            total,
            left: RESUMES_MAX,
        };
        answer.response.body_mut().arm(Box::new(resume));
    }

    /// Whether a break after `seen` bytes for this reason is worth another request.
    pub fn is_worth(&self, fault: OriginFault, seen: u64) -> bool {
        let broke = matches!(
            fault,
            OriginFault::Truncated | OriginFault::BodyTimeout | OriginFault::Broken(_)
        );
        broke && self.left > 0 && seen < self.total
    }

    /// Asks for everything after `seen`; `fault` is what is told if that fails.
    pub fn begin(mut self: Box<Self>, fault: OriginFault, seen: u64) -> Resuming {
        Box::pin(async move {
            self.left -= 1;
            if !self.tries.budget.withdraw(clock::instant()) {
                return Err(fault);
            }
            let mut request = super::request::again(&self.request).ok_or(fault)?;
            let fields = request.headers_mut();
            fields.remove(IF_NONE_MATCH);
            fields.remove(IF_MODIFIED_SINCE);
            let range = HeaderValue::from_str(&format!("bytes={seen}-")).map_err(|_| fault)?;
            fields.insert(RANGE, range);
            fields.insert(IF_RANGE, self.etag.clone());
            tracing::warn!(origin = self.common.options.name, seen, "origin body resumed");
            let sent = self.fleet.try_all(request, &self.cx, &self.common.options, &self.tries);
            let (answer, _) = sent.await.map_err(|_| fault)?;
            if !self.continues(&answer, seen) {
                return Err(fault);
            }
            Ok((answer.response.into_body(), self))
        })
    }

    /// The same representation, from exactly there to its end.
    fn continues(&self, answer: &Answer, seen: u64) -> bool {
        let head = &answer.response;
        let expected = format!("bytes {seen}-{}/{}", self.total.saturating_sub(1), self.total);
        head.status() == StatusCode::PARTIAL_CONTENT
            && head.headers().get(ETAG) == Some(&self.etag)
            && head.headers().get(CONTENT_ENCODING) == self.encoding.as_ref()
            && head.headers().get(CONTENT_RANGE).is_some_and(|range| range == expected.as_str())
            && head.body().size_hint().exact() == Some(self.total - seen)
    }
}

/// Resumed requests for one body.
const RESUMES_MAX: u32 = 2;
/// Bodies below this length are not resumed.
const LENGTH_MIN: u64 = 64 << 10;
