//! What can go wrong between this node and an origin, as one closed list.
//!
//! A fault says three things and nothing else: what the client sees (`fault`), whether
//! the server is to blame (`blames_server`, for ejection), and one word for counters.
//! Texts are static so that the type is `Copy`; the operating system's own words go to
//! the debug log where they happen.

use std::error::Error;
use std::fmt;

use crate::rules::fault::Fault;

/// Why an origin gave no answer, or only a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OriginFault {
    /// No connection: refused, unreachable, name unknown, TLS failed.
    Connect(&'static str),
    /// No connection within the deadline.
    ConnectTimeout,
    /// Nothing of the answer arrived within the first-byte deadline.
    FirstByteTimeout,
    /// The answer began but its head was not complete in time.
    HeadTimeout,
    /// The body stood still longer than the between-bytes deadline.
    BodyTimeout,
    /// The deadline for the whole exchange is over.
    TotalTimeout,
    /// The answer is not one unambiguous HTTP response (RFC 9112 2.2, 4, 5, 6.3).
    Odd(&'static str),
    /// The connection ended before an answer.
    Broken(&'static str),
    /// The body ended before its framing did (RFC 9112 8).
    Truncated,
    /// Too many requests wait for this origin already.
    QueueFull,
    /// No connection became free within the queue's deadline.
    QueueTimeout,
    /// No server may be asked now.
    NoServer(&'static str),
    /// The client's request body failed; the request to the origin was broken off.
    ClientBody,
    /// Files of a directory origin could not be read.
    Files(&'static str),
}

impl OriginFault {
    /// What the client sees if nothing stale can be served.
    pub fn fault(self) -> Fault {
        match self {
            OriginFault::Connect(why)
            | OriginFault::Odd(why)
            | OriginFault::Broken(why)
            | OriginFault::Files(why) => Fault::BadGateway(why),
            OriginFault::ConnectTimeout
            | OriginFault::FirstByteTimeout
            | OriginFault::HeadTimeout
            | OriginFault::TotalTimeout
            | OriginFault::BodyTimeout => Fault::GatewayTimeout(self.reason()),
            OriginFault::Truncated => Fault::BadGateway(self.reason()),
            OriginFault::QueueFull | OriginFault::QueueTimeout | OriginFault::NoServer(_) => {
                Fault::Overloaded(self.reason())
            }
            OriginFault::ClientBody => Fault::BadRequest(self.reason()),
        }
    }

    /// One word for counters and log.
    pub fn word(self) -> &'static str {
        match self {
            OriginFault::Connect(_) => "connect",
            OriginFault::ConnectTimeout => "connect-timeout",
            OriginFault::FirstByteTimeout => "first-byte-timeout",
            OriginFault::HeadTimeout => "head-timeout",
            OriginFault::BodyTimeout => "body-timeout",
            OriginFault::TotalTimeout => "total-timeout",
            OriginFault::Odd(_) => "odd-answer",
            OriginFault::Broken(_) => "broken",
            OriginFault::Truncated => "truncated",
            OriginFault::QueueFull => "queue-full",
            OriginFault::QueueTimeout => "queue-timeout",
            OriginFault::NoServer(_) => "no-server",
            OriginFault::ClientBody => "client-body",
            OriginFault::Files(_) => "files",
        }
    }

    /// What happened, in a few words.
    pub fn reason(self) -> &'static str {
        match self {
            OriginFault::Connect(why)
            | OriginFault::Odd(why)
            | OriginFault::Broken(why)
            | OriginFault::NoServer(why)
            | OriginFault::Files(why) => why,
            OriginFault::ConnectTimeout => "the origin did not accept a connection in time",
            OriginFault::FirstByteTimeout => "the origin did not begin to answer in time",
            OriginFault::HeadTimeout => "the origin did not finish its head in time",
            OriginFault::BodyTimeout => "the origin's body stood still",
            OriginFault::TotalTimeout => "the exchange with the origin took too long",
            OriginFault::Truncated => "the origin's body was cut short",
            OriginFault::QueueFull => "too many requests wait for the origin",
            OriginFault::QueueTimeout => "no connection to the origin became free in time",
            OriginFault::ClientBody => "the request body was broken off",
        }
    }

    /// Whether the server broke the protocol: its connection is not to be trusted.
    pub fn is_odd(self) -> bool {
        matches!(self, OriginFault::Odd(_) | OriginFault::Truncated)
    }

    /// Whether this counts against the server's health. A full queue of ours or a client
    /// that went away does not.
    pub fn blames_server(self) -> bool {
        match self {
            OriginFault::Connect(_)
            | OriginFault::ConnectTimeout
            | OriginFault::FirstByteTimeout
            | OriginFault::HeadTimeout
            | OriginFault::BodyTimeout
            | OriginFault::Odd(_)
            | OriginFault::Broken(_)
            | OriginFault::Truncated => true,
            OriginFault::QueueFull
            | OriginFault::QueueTimeout
            | OriginFault::TotalTimeout
            | OriginFault::NoServer(_)
            | OriginFault::ClientBody
            | OriginFault::Files(_) => false,
        }
    }
}

impl fmt::Display for OriginFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word(), self.reason())
    }
}

impl Error for OriginFault {}
