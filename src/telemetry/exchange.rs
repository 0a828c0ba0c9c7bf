//! The record of one finished exchange, borrowed from whoever finished it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::Now;
use crate::rules::asked::Scheme;
use crate::rules::outcome::{Class, Outcome};

/// Everything that is told about one exchange. Nothing in it is owned, so that making
/// one costs nothing; text may hold any bytes, each writer escapes for its own format.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// When the last byte was handed to the connection (or it broke).
    pub now: Now,
    /// The client's address as the socket has it.
    pub peer: SocketAddr,
    /// Name of the site that served it; empty when none matched.
    pub site: &'a str,
    /// Method as sent; `-` when the message could not be read.
    pub method: &'a str,
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Host as asked for; empty when unknown.
    pub host: &'a str,
    /// Path and query as sent.
    pub target: &'a str,
    /// Over HTTP/2.
    pub http2: bool,
    /// Status code the client saw.
    pub status: u16,
    /// Body bytes handed to the connection.
    pub bytes: u64,
    /// Whether the body was handed over to its end (`false`: reset or client left).
    pub complete: bool,
    /// From the request head to the end of the body.
    pub duration: Duration,
    /// From the request head to the response head.
    pub ttfb: Duration,
    /// What the cache did.
    pub outcome: &'a Outcome,
    /// `User-Agent` as sent.
    pub user_agent: Option<&'a [u8]>,
    /// `Referer` as sent.
    pub referer: Option<&'a [u8]>,
    /// The request's identifier, if one was sent or made.
    pub request_id: Option<&'a [u8]>,
}

impl Exchange<'_> {
    /// Whether the origin had to be waited for with a body: what an operator calls a miss.
    pub fn is_miss(&self) -> bool {
        matches!(self.outcome.class(), Class::Miss | Class::Pass)
    }

    /// `h1` or `h2`.
    pub fn protocol(&self) -> &'static str {
        if self.http2 { "h2" } else { "h1" }
    }
}
