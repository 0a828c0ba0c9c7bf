//! A request on its way out: its shape for each protocol, copies for another try, and
//! the wait for the answer's head.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::blame::head_fault;
use super::fault::OriginFault;
use super::framing::{Expect, FIELDS_MAX};
use super::guard::Line;
use super::outgoing::{Outgoing, Upload};

/// What the request says about its answer's framing.
pub fn expect(request: &Request<Outgoing>) -> Expect {
    Expect {
        head: request.method() == Method::HEAD,
        upgrade: request.headers().contains_key(UPGRADE),
    }
}

/// Methods whose repetition changes nothing more (RFC 9110 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Whether a request may be sent twice at all.
pub fn is_repeatable(request: &Request<Outgoing>) -> bool {
    is_idempotent(request.method()) && !request.headers().contains_key(UPGRADE)
}

/// Whether there can be a second copy of it.
pub fn can_go_again(request: &Request<Outgoing>) -> bool {
    is_repeatable(request) && request.body().is_repeatable()
}

/// A second copy, if sending the request twice is safe: an idempotent method, a body that
/// can be sent again, no upgrade.
pub fn again(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    if !is_repeatable(request) {
        return None;
    }
    let mut copy = Request::new(request.body().again()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Origin-form for HTTP/1 (RFC 9112 3.2.1), scheme and authority for HTTP/2 (RFC 9113
/// 8.3.1). The version is set, because hyper panics on versions it cannot write.
pub fn shape(request: &mut Request<Outgoing>, h2: Option<&str>) -> Result<(), OriginFault> {
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let Some(scheme) = h2 else {
        *request.version_mut() = Version::HTTP_11;
        if request.uri().authority().is_some() {
            *request.uri_mut() = Uri::from(path);
        }
        return Ok(());
    };
    let bad = OriginFault::NoServer("the request has no valid Host");
    let host = request.headers().get(HOST).ok_or(bad)?;
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| bad)?;
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(authority);
    parts.path_and_query = Some(path);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| bad)?;
    *request.version_mut() = Version::HTTP_2;
    // RFC 9113 8.2.2: connection-specific fields have no place in HTTP/2.
    for name in [HOST, CONNECTION, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE] {
        request.headers_mut().remove(name);
    }
    Ok(())
}

/// Whether it needs no hyper: it has no body, and asks for no other protocol.
pub fn is_bare(request: &Request<Outgoing>) -> bool {
    let fields = request.headers();
    matches!(*request.method(), Method::GET | Method::HEAD)
        && request.body().is_none()
        && ![UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|n| fields.contains_key(n))
}

/// The head as text (RFC 9112 3, 5), for a request that `is_bare` and has its shape.
pub fn write_head(request: &Request<Outgoing>, out: &mut Vec<u8>) {
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in request.headers() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Arranges that hyper tells interim answers to who hears them.
pub fn tell_hyper(request: &mut Request<Outgoing>) {
    if let Some(hear) = request.body().hear().cloned() {
        hyper::ext::on_informational(request, move |answer| {
            hear.interim(answer.status(), answer.headers());
        });
    }
}

/// What the guard does for HTTP/1, as far as the h2 crate leaves it open.
pub fn check_h2(response: &Response<Incoming>) -> Result<(), &'static str> {
    let headers = response.headers();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err("101 over HTTP/2");
    }
    if headers.len() > FIELDS_MAX {
        return Err("too many fields in the answer");
    }
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err("more than one Content-Length");
    }
    if [CONNECTION, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE].iter().any(|n| headers.contains_key(n))
    {
        return Err("a connection-specific field over HTTP/2");
    }
    Ok(())
}

/// A request that got no answer; `back` is the request if none of it was written.
#[derive(Debug)]
pub struct Unsent {
    /// Why.
    pub fault: OriginFault,
    /// The request, untouched.
    pub back: Option<Box<Request<Outgoing>>>,
}

/// What tells whether an exchange moves.
pub struct Wait<'a> {
    /// Tells whether the answer has begun; `None` over HTTP/2.
    pub line: Option<&'a Line>,
    /// Tells whether the request body still moves.
    pub upload: Option<&'a Upload>,
}

impl Wait<'_> {
    /// Waits for the head. The first-byte deadline runs from the last sign of life of the
    /// request body, so that a long upload is not taken for a silent origin; an answer
    /// that has begun may take until `whole`.
    pub async fn head(
        &self,
        sending: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>>,
        first_byte: Duration,
        whole: Duration,
    ) -> Result<Response<Incoming>, Unsent> {
        let mut sending = pin!(sending);
        let mut seen = None;
        let fault = loop {
            match tokio::time::timeout(first_byte, sending.as_mut()).await {
                Ok(result) => return result.map_err(|error| self.unsent(error)),
                Err(_) => {
                    let mark = self.upload.map(|upload| (upload.taken(), upload.is_whole()));
                    if mark != seen {
                        seen = mark;
                    } else if self.line.is_some_and(Line::has_begun) {
                        break OriginFault::HeadTimeout;
                    } else {
                        break OriginFault::FirstByteTimeout;
                    }
                }
            }
        };
        let rest = whole.saturating_sub(first_byte);
        if fault == OriginFault::HeadTimeout
            && let Ok(result) = tokio::time::timeout(rest, sending).await
        {
            return result.map_err(|error| self.unsent(error));
        }
        Err(Unsent { fault, back: None })
    }

    fn unsent(&self, mut error: TrySendError<Request<Outgoing>>) -> Unsent {
        let back = error.take_message().map(Box::new);
        let failed = self.upload.is_some_and(Upload::has_failed);
        Unsent { fault: head_fault(error.error(), failed), back }
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
