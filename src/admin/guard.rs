//! What every call passes: browser checks, token, scope, rate, audit.
//!
//! *Against browsers.* A page of another site can make a browser send requests here. It
//! cannot read a token (there are no cookies), but nothing else should rest on that: the
//! `Host` must be a loopback name, an address literal or a configured name (DNS
//! rebinding), an `Origin` must be this very listener, and `Sec-Fetch-Site` must not be
//! another site. No CORS header is ever sent, so preflights fail.
//!
//! *Tokens* are compared in constant time; wrong ones are counted by address and answered
//! with 429 when there are too many, before any comparison.
//!
//! *Audit.* A call that may change something is noted with its body and its answer's, here
//! and for all routes alike, so that no handler can forget it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer::Refusal;
use super::audit::{Change, excerpt};
use super::listen::Peer;
use super::routes::{self, Scope};
use crate::telemetry::Event;

type Shared = Arc<super::State>;

/// Longest request body in bytes: 256 items of 8 KiB fit, and lists of URLs to warm.
pub(super) const BODY_MAX: usize = 4 << 20;

/// The name of the caller's token, for handlers that remember who asked.
#[derive(Clone, Debug)]
pub(super) struct Who(pub(super) String);

/// The middleware around every route.
pub(super) async fn guard(
    State(state): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().map_or_else(String::new, |peer| peer.0.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let scope = routes::scope(&method, &path);
    let admitted = admit(&state, &request, scope, &peer);
    let who = admitted.as_ref().ok().cloned().flatten();
    request.extensions_mut().insert(Who(who.clone().unwrap_or_default()));
    let changes = !matches!(scope, None | Some(Scope::Read));
    let mut response = match admitted {
        Ok(_) if changes => {
            let call = format!("{method} {}", request.uri());
            let (what, response) = watched(request, next).await;
            let (response, result) = copied(response).await;
            let (who, status) = (who.unwrap_or_default(), response.status().as_u16());
            let change = Change { time: String::new(), who, peer, call, what, status, result };
            state.audit.note(state.handles.clock.now(), change);
            response
        }
        Ok(_) => next.run(request).await,
        Err(refusal) => {
            if changes {
                let (who, call) = ("-".to_owned(), format!("{method} {path}"));
                let (status, result) = (refusal.status().as_u16(), refusal.message().to_owned());
                let (time, what) = (String::new(), String::new());
                let change = Change { time, who, peer, call, what, status, result };
                state.audit.note(state.handles.clock.now(), change);
            }
            refusal.into_response()
        }
    };
    let code = response.status();
    state.handles.telemetry.counters.note(Event::Admin, &[code.as_str()], 1);
    harden(response.headers_mut());
    response
}

/// Runs a call that changes something, and says what its body was.
async fn watched(request: Request, next: Next) -> (String, Response) {
    let (parts, body) = request.into_parts();
    match to_bytes(body, BODY_MAX).await {
        Ok(body) => {
            let what = excerpt(&body);
            (what, next.run(Request::from_parts(parts, Body::from(body))).await)
        }
        Err(_) => {
            let message = format!("the body cannot be read, or is longer than {BODY_MAX} bytes");
            let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message);
            (String::new(), refusal.into_response())
        }
    }
}

/// The answer again, and the beginning of its body. Answers to changes are short.
async fn copied(response: Response) -> (Response, String) {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, BODY_MAX).await.unwrap_or_else(|_| Bytes::new());
    let result = excerpt(&body);
    (Response::from_parts(parts, Body::from(body)), result)
}

/// The name of the token, or none for what everybody may ask.
fn admit(
    state: &super::State,
    request: &Request,
    scope: Option<Scope>,
    peer: &str,
) -> Result<Option<String>, Refusal> {
    browser(request, &state.hosts)?;
    let Some(scope) = scope else { return Ok(None) };
    let now = state.handles.clock.now();
    state
        .limits
        .failures
        .check(peer, now)
        .map_err(|seconds| Refusal::too_many(seconds, "too many wrong tokens from this address"))?;
    let Some(token) = bearer(request.headers()).and_then(|secret| state.tokens.find(secret)) else {
        let _ = state.limits.failures.take(peer, now);
        return Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "expected \"Authorization: Bearer TOKEN\" with a token of the node's token file",
        ));
    };
    if !token.allows(scope) {
        let message = format!("token {:?} lacks the scope {:?}", token.name, scope.word());
        return Err(Refusal::new(StatusCode::FORBIDDEN, message));
    }
    let (limit, kind) = match scope {
        Scope::Read => (&state.limits.reads, "calls"),
        Scope::Purge | Scope::Operate => (&state.limits.changes, "changes"),
    };
    limit.take(&token.name, now).map_err(|seconds| {
        Refusal::too_many(seconds, format!("more {kind} a second than this node allows a token"))
    })?;
    Ok(Some(token.name.clone()))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

/// Refuses what only a browser on somebody else's page would send.
fn browser(request: &Request, hosts: &[String]) -> Result<(), Refusal> {
    let headers = request.headers();
    let forbidden = |message: String| Err(Refusal::new(StatusCode::FORBIDDEN, message));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    // `PURGE` names the site in Host. No page can send that method without a preflight,
    // and preflights are not answered.
    if request.method().as_str() != "PURGE" && !is_our_name(host, hosts) {
        return forbidden(format!(
            "host {host:?} is not a name of this listener (setting admin.hosts)"
        ));
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or("");
        let same = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
        if same != Some(host) {
            return forbidden(format!("origin {origin:?} is another site"));
        }
    }
    let fetch_site = headers.get("sec-fetch-site").map_or(&b"none"[..], HeaderValue::as_bytes);
    let page = routes::is_page(request.method(), request.uri().path());
    if !matches!(fetch_site, b"none" | b"same-origin") && !page {
        return forbidden("a request from another site's page".to_owned());
    }
    if request.method() == Method::OPTIONS {
        return forbidden("no other site may use this API".to_owned());
    }
    Ok(())
}

/// Loopback names, address literals (rebinding needs a name), configured names, and no
/// name at all, which no browser sends but simple health checkers do.
fn is_our_name(host: &str, hosts: &[String]) -> bool {
    let after_bracket = host.rfind(']').map_or(0, |at| at + 1);
    let colon = host.rfind(':').filter(|colon| *colon >= after_bracket);
    let name = host.get(..colon.unwrap_or(host.len())).unwrap_or("");
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    host.is_empty()
        || name.eq_ignore_ascii_case("localhost")
        || literal.parse::<IpAddr>().is_ok()
        || hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Headers that keep a browser from doing anything clever with an answer.
fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-frame-options", "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry("content-security-policy")
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
