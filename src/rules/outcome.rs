//! What the cache did with one request, in the words of RFC 9211.
//!
//! The same value makes the `Cache-Status` field, the access log's words, the counters
//! and the assertions of the tests, so they cannot disagree.

use std::fmt::Write;

use super::fault::Fault;

/// Why a request went to the origin (RFC 9211 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fwd {
    /// The site or the uncacheable memo says not to use the cache.
    Bypass,
    /// The method's semantics require it.
    Method,
    /// Nothing stored under this URI.
    UriMiss,
    /// Something stored, but no variant that matches.
    VaryMiss,
    /// Nothing stored, where the two above are not told apart.
    Miss,
    /// The request's own directives ask for it.
    Request,
    /// Stored but stale.
    Stale,
    /// Only a part of what was asked is stored.
    Partial,
}

impl Fwd {
    /// The sf-token of RFC 9211 2.2.
    pub fn word(self) -> &'static str {
        match self {
            Fwd::Bypass => "bypass",
            Fwd::Method => "method",
            Fwd::UriMiss => "uri-miss",
            Fwd::VaryMiss => "vary-miss",
            Fwd::Miss => "miss",
            Fwd::Request => "request",
            Fwd::Stale => "stale",
            Fwd::Partial => "partial",
        }
    }
}

/// The coarse class of an outcome: label of counters and word of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Served from the cache, fresh.
    Hit,
    /// Served from the cache, stale by its rules.
    Stale,
    /// Served from the cache after the origin confirmed it.
    Revalidated,
    /// Fetched, because nothing usable was stored.
    Miss,
    /// Passed through without the cache.
    Pass,
    /// Answered by the node itself: refused.
    Refused,
    /// Answered by the node itself: the origin failed.
    Failed,
}

impl Class {
    /// Every class, in the order of the counters.
    pub const ALL: [Class; 7] = [
        Class::Hit,
        Class::Stale,
        Class::Revalidated,
        Class::Miss,
        Class::Pass,
        Class::Refused,
        Class::Failed,
    ];

    /// The word in log and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Class::Hit => "hit",
            Class::Stale => "stale",
            Class::Revalidated => "revalidated",
            Class::Miss => "miss",
            Class::Pass => "pass",
            Class::Refused => "refused",
            Class::Failed => "failed",
        }
    }
}

/// Which tier an answer's bytes came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// The memory tier.
    Memory,
    /// The disk tier.
    Disk,
    /// The origin.
    #[default]
    Origin,
    /// Made here (errors, redirects).
    Node,
}

impl Source {
    /// The word in log and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Source::Memory => "memory",
            Source::Disk => "disk",
            Source::Origin => "origin",
            Source::Node => "node",
        }
    }
}

/// The whole story of one exchange as far as the cache is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Satisfied from the cache without waiting for the origin (RFC 9211 2.1).
    pub hit: bool,
    /// Why it was forwarded.
    pub fwd: Option<Fwd>,
    /// The origin's status, if it was forwarded and answered.
    pub fwd_status: Option<u16>,
    /// Remaining freshness in whole seconds, negative when stale.
    pub ttl: Option<i64>,
    /// The answer was (or is being) stored.
    pub stored: bool,
    /// Joined somebody else's fetch (RFC 9211 2.6).
    pub collapsed: bool,
    /// One word more: a fault, a reason for not storing, the tier.
    pub detail: Option<&'static str>,
    /// Where the bytes came from.
    pub source: Source,
    /// Set when the node answered by itself.
    pub fault: Option<Fault>,
}

impl Outcome {
    /// The class for counters and log.
    pub fn class(&self) -> Class {
        if let Some(fault) = self.fault {
            return match fault {
                Fault::BadGateway(_)
                | Fault::GatewayTimeout(_)
                | Fault::Overloaded(_)
                | Fault::Internal => Class::Failed,
                _ => Class::Refused,
            };
        }
        let stale = self.ttl.is_some_and(|ttl| ttl < 0);
        match (self.hit, self.fwd) {
            (true, _) if stale => Class::Stale,
            (true, _) => Class::Hit,
            (false, Some(Fwd::Stale | Fwd::Request)) if self.fwd_status == Some(304) => {
                Class::Revalidated
            }
            (false, Some(Fwd::Bypass | Fwd::Method)) => Class::Pass,
            (false, Some(Fwd::Stale)) if matches!(self.source, Source::Memory | Source::Disk) => {
                Class::Stale
            }
            (false, _) => Class::Miss,
        }
    }

    /// Writes the member of `Cache-Status` for the cache called `name` (an sf-token or an
    /// already quoted sf-string), RFC 9211 2.
    pub fn write_cache_status(&self, name: &str, out: &mut impl Write) {
        // The receivers are strings and stack buffers: writing to them cannot fail.
        let _ = out.write_str(name);
        if self.hit {
            let _ = out.write_str("; hit");
        }
        if let Some(fwd) = self.fwd {
            let _ = out.write_str("; fwd=");
            let _ = out.write_str(fwd.word());
        }
        let mut digits = itoa::Buffer::new();
        if let Some(status) = self.fwd_status {
            let _ = out.write_str("; fwd-status=");
            let _ = out.write_str(digits.format(status));
        }
        if let Some(ttl) = self.ttl {
            let _ = out.write_str("; ttl=");
            let _ = out.write_str(digits.format(ttl));
        }
        if self.stored {
            let _ = out.write_str("; stored");
        }
        if self.collapsed {
            let _ = out.write_str("; collapsed");
        }
        if let Some(detail) = self.detail {
            let _ = write!(out, "; detail={detail}");
        }
    }
}
