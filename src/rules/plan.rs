//! What to do with a request before anybody is asked (RFC 9111 4).
//!
//! A fresh hit for a request without `Cache-Control` costs a few field lookups and a few
//! integer compares; nothing is allocated or parsed. Verdicts on unsafe methods, bodies
//! and client directives come first, because they do not need a stored response.

use std::sync::Arc;

use http::Method;
use http::header::{self, HeaderMap};

use super::control::RequestControl;
use super::entry::{Entry, Extent, Slot};
use super::fault::Fault;
use super::outcome::Fwd;
use super::range::{self, Spec};
use super::site::Policy;
use super::variant;
use crate::base::Now;

/// A request as far as the verdict depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The method.
    pub method: &'a Method,
    /// The client's fields, already normalised (`rules::normalise`).
    pub headers: &'a HeaderMap,
    /// The request has content: `Content-Length` above zero, `Transfer-Encoding`, or an
    /// HTTP/2 stream that was not ended with its head.
    pub has_body: bool,
    /// What applies to it.
    pub policy: &'a Policy,
    /// The time.
    pub now: Now,
}

/// The verdict.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Answer from the entry.
    Hit(Arc<Entry>),
    /// Answer from the entry now and refresh it in the background.
    StaleHit(Arc<Entry>),
    /// Ask the origin, with the entry's validators if it has any. The entry may still be
    /// the answer: after a 304, or if the origin fails and `settle::rescue` allows it.
    Revalidate {
        /// The stored response.
        entry: Arc<Entry>,
        /// Why it cannot be used as it is.
        fwd: Fwd,
    },
    /// The whole is wanted and the entry holds its beginning: ask for the rest.
    Complete {
        /// The stored part, from offset 0.
        entry: Arc<Entry>,
    },
    /// Fetch the whole and store it if that is allowed.
    Miss(Fwd),
    /// Fetch the range the client asks for, as a part of its own: not joined with a
    /// flight for the whole, stored as a part if that is allowed.
    MissRange(Fwd),
    /// Pass it to the origin as it is, store nothing.
    Pass(Fwd),
    /// Answer with a fault.
    Refuse(Fault),
}

/// Decides on a request, given what is stored under its key.
pub fn plan(question: &Question<'_>, slot: Option<&Slot>) -> Plan {
    let Question { method, headers, policy, .. } = *question;
    if !policy.cache {
        return Plan::Pass(Fwd::Bypass);
    }
    if *method != Method::GET && *method != Method::HEAD {
        return Plan::Pass(Fwd::Method);
    }
    // What the content asks for is not in the key: neither stored nor served from it.
    if question.has_body {
        return Plan::Pass(Fwd::Request);
    }
    let control =
        match headers.contains_key(header::CACHE_CONTROL) || headers.contains_key(header::PRAGMA) {
            true => RequestControl::of(headers),
            false => RequestControl::default(),
        };
    let verdict = match slot {
        _ if control.no_store && policy.honour_client_no_cache => Plan::Pass(Fwd::Request),
        None => miss(question, Fwd::UriMiss),
        Some(slot) => match variant::select(slot, headers) {
            None => miss(question, Fwd::VaryMiss),
            Some(entry) => stored(question, &control, entry),
        },
    };
    match verdict {
        Plan::Hit(_) | Plan::StaleHit(_) | Plan::Refuse(_) => verdict,
        // RFC 9111 5.2.1.7.
        Plan::Revalidate { .. }
        | Plan::Complete { .. }
        | Plan::Miss(_)
        | Plan::MissRange(_)
        | Plan::Pass(_)
            if control.only_if_cached =>
        {
            Plan::Refuse(Fault::OnlyIfCached)
        }
        Plan::Revalidate { .. }
        | Plan::Complete { .. }
        | Plan::Miss(_)
        | Plan::MissRange(_)
        | Plan::Pass(_) => verdict,
    }
}

/// Nothing stored can be used. HEAD goes as HEAD: it fills nothing.
fn miss(question: &Question<'_>, fwd: Fwd) -> Plan {
    if *question.method == Method::HEAD {
        return Plan::Pass(fwd);
    }
    match range::asked(question.method, question.headers).as_deref() {
        // From the first byte on is the whole to a cache; several ranges are never
        // forwarded (they multiply at the origin): both are cut from a whole fill.
        Some([Spec::Closed(..) | Spec::Suffix(_)]) => {}
        Some([Spec::From(first)]) if *first > 0 => {}
        _ => return Plan::Miss(fwd),
    }
    Plan::MissRange(fwd)
}

/// Something stored matches the request.
fn stored(question: &Question<'_>, control: &RequestControl, entry: &Arc<Entry>) -> Plan {
    let usable = use_of(question, control, entry);
    if entry.is_whole() || covers(question, entry) {
        return match usable {
            Use::Fresh => Plan::Hit(entry.clone()),
            Use::Stale => Plan::StaleHit(entry.clone()),
            Use::Ask(fwd) if entry.is_whole() => Plan::Revalidate { entry: entry.clone(), fwd },
            Use::Ask(fwd) => miss(question, fwd),
        };
    }
    match (usable, entry.extent) {
        (Use::Fresh, Extent::Part { first: 0, total: Some(_), .. })
            if *question.method == Method::GET && !question.headers.contains_key(header::RANGE) =>
        {
            Plan::Complete { entry: entry.clone() }
        }
        (Use::Fresh | Use::Stale, _) => miss(question, Fwd::Partial),
        (Use::Ask(fwd), _) => miss(question, fwd),
    }
}

/// How an entry may be used for a request (RFC 9111 4.2.4, 5.2.1).
enum Use {
    Fresh,
    Stale,
    Ask(Fwd),
}

fn use_of(question: &Question<'_>, control: &RequestControl, entry: &Entry) -> Use {
    let freshness = &entry.freshness;
    let now = question.now;
    let obey = question.policy.honour_client_no_cache;
    if obey && control.no_cache {
        return Use::Ask(Fwd::Request);
    }
    let soft_purged = entry.is_soft_purged();
    let staleness = freshness.staleness_ms(now);
    if freshness.is_fresh(now) && !soft_purged {
        // RFC 8246 2: an immutable answer need not be confirmed on a reload.
        let too_old = |seconds: u32| {
            !freshness.immutable
                && (seconds == 0 || freshness.age_ms(now) > u64::from(seconds) * 1000)
        };
        let too_short =
            |seconds: u32| freshness.ttl_ms(now) < i64::from(seconds).saturating_mul(1000);
        if obey
            && (control.max_age.is_some_and(too_old) || control.min_fresh.is_some_and(too_short))
        {
            return Use::Ask(Fwd::Request);
        }
        return Use::Fresh;
    }
    if freshness.always_validate {
        return Use::Ask(Fwd::Stale);
    }
    // RFC 9111 5.2.1.1, 5.2.1.3: who sets a limit to the age, or wants it to last a while yet,
    // does not take what is stale, whatever the origin allows.
    let demands = obey && (control.max_age.is_some() || control.min_fresh.is_some());
    let window = freshness.while_revalidate_ms;
    if window > 0 && staleness <= window && !demands {
        return Use::Stale;
    }
    // RFC 9111 5.2.1.2: the client's word counts unless the origin forbids.
    let accepted = u64::from(control.max_stale.unwrap_or(0)) * 1000;
    if obey && accepted > 0 && staleness <= accepted && !freshness.never_stale && !soft_purged {
        return Use::Stale;
    }
    Use::Ask(Fwd::Stale)
}

/// Whether a stored part has every byte of the ranges asked for.
fn covers(question: &Question<'_>, entry: &Entry) -> bool {
    let Extent::Part { first, last, total } = entry.extent else { return true };
    let Some(specs) = range::asked(question.method, question.headers) else { return false };
    if !range::if_range_holds(question.headers, entry) {
        return false;
    }
    // Without a known length only closed ranges say where they lie.
    let inside = |low: u64, high: u64| first <= low && high <= last;
    specs.iter().all(|spec| match (*spec, total) {
        (Spec::Closed(low, high), Some(total)) => low < total && inside(low, high.min(total - 1)),
        (Spec::Closed(low, high), None) => inside(low, high),
        (Spec::From(low), Some(total)) => low < total && inside(low, total - 1),
        (Spec::Suffix(length), Some(total)) => {
            length > 0 && inside(total.saturating_sub(length), total - 1)
        }
        (Spec::From(_) | Spec::Suffix(_), None) => false,
    })
}
