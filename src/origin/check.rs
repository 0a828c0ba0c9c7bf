//! Active health checks: one small GET per server and period, on a connection of its own.
//!
//! A fresh connection each time, because that is what must work: a kept one hides a
//! server that accepts nobody any more. Checks spread over the period by a jitter from
//! the server's identity, so that a fleet of nodes does not knock at once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::framing::Expect;
use super::lease::Link;
use super::options::CheckOptions;
use super::outgoing::Outgoing;
use super::server::Server;
use super::{SendContext, pick};
use crate::base::clock;

/// Starts checking `server` on this runtime; ends when the server is gone.
pub fn watch(server: &Arc<Server>) {
    if server.common.options.check.is_some() {
        tokio::spawn(run(Arc::downgrade(server)));
    }
}

async fn run(server: Weak<Server>) {
    let mut round = 0u64;
    loop {
        let Some(wait) = server.upgrade().and_then(|server| pause(&server, round)) else { return };
        tokio::time::sleep(wait).await;
        let Some(server) = server.upgrade() else { return };
        let Some(check) = server.common.options.check.clone() else { return };
        let result = probe(&server, &check).await;
        let now = clock::instant();
        match server.health.checked(now, result, check.rise, check.fall) {
            Some(true) => tracing::warn!(server = %server.name, "origin server is up"),
            Some(false) => {
                let reason = result.err().unwrap_or("");
                tracing::warn!(server = %server.name, reason, "origin server is down");
            }
            None => {}
        }
        round += 1;
    }
}

/// The period, ten per cent more or less; the first check comes early.
fn pause(server: &Server, round: u64) -> Option<Duration> {
    let every = server.common.options.check.as_ref()?.every;
    let spread = pick::mix(server.name_hash ^ round) % 200;
    let percent = if round == 0 { spread / 20 } else { 90 + spread / 10 };
    Some(every * (percent as u32) / 100)
}

/// One check. The error says what was wrong.
pub async fn probe(server: &Arc<Server>, check: &CheckOptions) -> Result<(), &'static str> {
    let asked = tokio::time::timeout(check.timeout, async {
        let response = ask(server, check).await?;
        if !check.status.contains(&response.status().as_u16()) {
            return Err("the health check has a status out of range");
        }
        match &check.body {
            None => Ok(()),
            Some(wanted) => holds(response.into_body(), wanted.as_bytes()).await,
        }
    });
    asked.await.unwrap_or(Err("the health check timed out"))
}

async fn ask(
    server: &Arc<Server>,
    check: &CheckOptions,
) -> Result<Response<Incoming>, &'static str> {
    let link = server.dial(&SendContext::default()).await.map_err(|fault| fault.reason())?;
    let mut request = Request::new(Outgoing::empty());
    *request.uri_mut() = check.path.parse().map_err(|_| "the health check has no valid path")?;
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("brink-check"));
    if let Some(host) = check.host.as_deref().and_then(|host| HeaderValue::from_str(host).ok()) {
        request.headers_mut().insert(HOST, host);
    }
    let h2 = matches!(link, Link::Shared(_));
    server.address(&mut request, h2).map_err(|fault| fault.reason())?;
    if let (Some(host), false) = (&check.host, h2)
        && let Ok(host) = HeaderValue::from_str(host)
    {
        request.headers_mut().insert(HOST, host);
    }
    let link = server.with_hyper(link).await.map_err(|fault| fault.reason())?;
    let sent = match link {
        Link::Solo(mut one) => {
            one.line.begin(Expect::default());
            let answer = one.sender.try_send_request(request).await;
            // The connection must live until the body was looked at.
            one.detach();
            answer
        }
        Link::Shared(mut one) => one.sender.try_send_request(request).await,
        Link::Bare(_) => return Err("the health check was not sent"),
    };
    sent.map_err(|_| "the health check was not answered")
}

async fn holds(mut body: Incoming, wanted: &[u8]) -> Result<(), &'static str> {
    let mut seen: Vec<u8> = Vec::new();
    while seen.len() < BODY_MAX && !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|_| "the health check's body was cut short")?;
        seen.extend_from_slice(frame.data_ref().map_or(&[], Bytes::as_ref));
    }
    if memchr::memmem::find(&seen, wanted).is_some() {
        Ok(())
    } else {
        Err("the health check's body lacks the text")
    }
}

/// Bytes of the body that are searched.
const BODY_MAX: usize = 64 << 10;
