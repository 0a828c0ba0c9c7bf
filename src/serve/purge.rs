//! `PURGE` on a listener of clients: handed to whoever the node says, or refused with 405.
//!
//! The node lends a function; without one, and for clients that it does not know, the
//! method is refused like every other one that is not served here. It is never forwarded.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, request};

use super::Shared;
use super::answer;
use super::body::Body;
use super::log::Meter;
use super::routing::Routing;
use crate::front::Connection;
use crate::rules::asked::Scheme;
use crate::rules::door;
use crate::rules::fault::Fault;
use crate::rules::outcome::{Outcome, Source};

/// A `PURGE` that came in.
#[derive(Clone, Debug)]
pub struct Purging {
    /// The client.
    pub peer: IpAddr,
    /// The whole URL.
    pub url: String,
    /// The request's fields.
    pub fields: HeaderMap,
}

/// Its answer: status, fields, body.
pub type Purged = (StatusCode, HeaderMap, Bytes);

/// Does it. `None` at once: this client may not.
pub type Purger =
    Arc<dyn Fn(Purging) -> Option<Pin<Box<dyn Future<Output = Purged> + Send>>> + Send + Sync>;

/// Answers a request whose method is `PURGE`, which [`door::admit`] refuses. It is read as
/// a GET of the same target, so that host and target are checked as always.
pub(super) async fn purge(
    shared: &Arc<Shared>,
    routing: &Routing,
    conn: &Connection,
    mut parts: request::Parts,
    mut meter: Box<Meter>,
) -> Response<Body> {
    let refuse = |meter| answer::fault(&routing.node, Fault::MethodNotAllowed, meter);
    let Some(purger) = shared.purger.get() else { return refuse(meter) };
    parts.method = Method::GET;
    let scheme = if conn.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let mut asked = match door::admit(&parts, &routing.arrival(scheme, conn.http2)) {
        Ok(asked) => asked,
        Err(fault) => return answer::fault(&routing.node, fault, meter),
    };
    let (host, target) = (asked.host.as_str(), asked.target.as_str());
    let url = format!("{}://{host}:{}{target}", asked.scheme.as_str(), asked.port);
    if let Ok(method) = Method::from_bytes(b"PURGE") {
        asked.method = method;
    }
    meter.heard(&asked, &parts);
    let peer = conn.peer.ip();
    let Some(purging) = purger(Purging { peer, url, fields: parts.headers }) else {
        return refuse(meter);
    };
    let (status, fields, body) = purging.await;
    let outcome = Outcome { source: Source::Node, detail: Some("purge"), ..Outcome::default() };
    answer::own(&routing.node, (status, fields, body), outcome, meter)
}
