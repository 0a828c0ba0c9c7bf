//! Answers the node makes itself: one place where a `Fault` becomes a response.
//!
//! They carry `Cache-Status` like every answer (RFC 9211 2), say `no-store` so that nothing
//! behind us keeps them, and never repeat a byte of the request.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION,
    RETRY_AFTER,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::body::Body;
use super::log::Meter;
use crate::rules::asked::Asked;
use crate::rules::fault::Fault;
use crate::rules::outcome::{Outcome, Source};

/// The field of RFC 9211.
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Seconds in `Retry-After` of a 503: overload passes or is shed elsewhere.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("1");

/// `Allow` of a 405 (RFC 9110 15.5.6): what may be allowed by the origin, of the common ones.
const ALLOWED: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// The answer to a request that is refused.
pub(super) fn fault(node: &str, fault: Fault, meter: Box<Meter>) -> Response<Body> {
    let outcome = Outcome { detail: Some(fault.word()), ..Outcome::default() };
    origin_fault(node, fault, outcome, meter)
}

/// The answer when the origin failed; `outcome` knows how it was asked.
pub(super) fn origin_fault(
    node: &str,
    fault: Fault,
    mut outcome: Outcome,
    mut meter: Box<Meter>,
) -> Response<Body> {
    outcome.fault = Some(fault);
    outcome.source = Source::Node;
    outcome.detail = Some(fault.word());
    let status = fault.status();
    let text = format!(
        "{} {}: {}\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error"),
        fault.reason()
    );
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    insert_cache_status(headers, node, &outcome);
    if fault.closes() && !meter.is_http2() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if fault == Fault::MethodNotAllowed {
        headers.insert(ALLOW, ALLOWED);
    }
    if matches!(fault, Fault::Overloaded(_)) {
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECS);
    }
    meter.answered(status.as_u16(), outcome);
    // A HEAD gets the head alone (RFC 9110 9.3.2).
    let body = match meter.method() {
        Some(&Method::HEAD) => Body::empty(),
        _ => Body::once(Bytes::from(text)),
    };
    *response.body_mut() = body.metered(meter);
    response
}

/// An answer that another part of the node made.
pub(super) fn own(
    node: &str,
    (status, fields, body): (StatusCode, HeaderMap, Bytes),
    outcome: Outcome,
    mut meter: Box<Meter>,
) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    insert_cache_status(response.headers_mut(), node, &outcome);
    meter.answered(status.as_u16(), outcome);
    *response.body_mut() = Body::once(body).metered(meter);
    response
}

/// The answer to an OPTIONS that may go no further (RFC 9110 7.6.2, 9.3.7).
pub(super) fn options(node: &str, mut meter: Box<Meter>) -> Response<Body> {
    let outcome =
        Outcome { source: Source::Node, detail: Some("max-forwards"), ..Outcome::default() };
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(ALLOW, ALLOWED);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    insert_cache_status(headers, node, &outcome);
    meter.answered(StatusCode::OK.as_u16(), outcome);
    *response.body_mut() = Body::empty().metered(meter);
    response
}

/// 308 to the same target over TLS (RFC 9110 15.4.9).
pub(super) fn redirect_https(
    node: &str,
    asked: &Asked,
    port: u16,
    mut meter: Box<Meter>,
) -> Response<Body> {
    let authority = match port {
        443 => asked.host.as_str().to_owned(),
        _ => format!("{}:{port}", asked.host.as_str()),
    };
    let location = format!("https://{authority}{}", asked.target.as_str());
    let Ok(location) = HeaderValue::from_str(&location) else {
        return fault(node, Fault::BadRequest("target cannot be repeated in a field"), meter);
    };
    let outcome =
        Outcome { source: Source::Node, detail: Some("redirect-https"), ..Outcome::default() };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    insert_cache_status(headers, node, &outcome);
    meter.answered(StatusCode::PERMANENT_REDIRECT.as_u16(), outcome);
    *response.body_mut() = Body::empty().metered(meter);
    response
}

fn insert_cache_status(headers: &mut HeaderMap, node: &str, outcome: &Outcome) {
    let mut text = String::with_capacity(64);
    outcome.write_cache_status(node, &mut text);
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(CACHE_STATUS, value);
    }
}
