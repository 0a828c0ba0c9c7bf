//! Freshness of an answer when it arrives (RFC 9111 4.2.1 to 4.2.3).
//!
//! All that later decides over the stored response is computed here once; the hit path
//! compares the integers. Wall time is used only where an origin's dates are compared
//! with each other or with our clock at that moment.

use http::StatusCode;
use http::header::{self, HeaderMap};

use super::control::{self, DELTA_MAX, ResponseControl};
use super::date;
use super::freshness::{Freshness, LifetimeSource};
use super::list;
use super::site::Policy;
use crate::base::Now;

/// An answer of the origin as the rules see it.
#[derive(Clone, Copy, Debug)]
pub struct AnswerHead<'a> {
    /// Final status.
    pub status: StatusCode,
    /// Its fields as received.
    pub headers: &'a HeaderMap,
    /// When the request was sent (`request_time`).
    pub requested_at: Now,
    /// When the head arrived (`response_time`).
    pub received_at: Now,
}

impl AnswerHead<'_> {
    /// `date_value` in seconds; the time of receipt if `Date` is missing or invalid
    /// (RFC 9110 6.6.1).
    pub fn date_secs(&self) -> u64 {
        self.date(&header::DATE).unwrap_or_else(|| self.received_at.wall_secs())
    }

    /// The date in field `name`, if it is there, alone and valid.
    pub fn date(&self, name: &header::HeaderName) -> Option<u64> {
        let mut lines = self.headers.get_all(name).into_iter();
        let first = lines.next()?;
        match lines.next() {
            Some(_) => None,
            None => date::parse(first.as_bytes(), self.received_at.wall_secs()),
        }
    }

    /// `corrected_initial_age` in milliseconds (RFC 9111 4.2.3).
    pub fn initial_age_ms(&self) -> u64 {
        let received = self.received_at.wall_secs();
        let apparent = received.saturating_sub(self.date_secs()).saturating_mul(1000);
        let delay = self.received_at.mono_ms.saturating_sub(self.requested_at.mono_ms);
        apparent.max(self.age_value_ms().saturating_add(delay))
    }

    /// `age_value`: the first member of the first line counts, whatever follows; what is
    /// no number counts as absent (RFC 9111 5.1).
    fn age_value_ms(&self) -> u64 {
        let first = list::all(self.headers, &header::AGE).next();
        let seconds = first.filter(|value| value.first() != Some(&b'"')).and_then(control::delta);
        u64::from(seconds.unwrap_or(0)) * 1000
    }
}

/// The freshness of `answer` under what `control` (from the targeted field in `place`, or
/// `Cache-Control`) and the site's `policy` say.
pub fn freshness(
    answer: &AnswerHead<'_>,
    control: &ResponseControl,
    place: Option<u8>,
    policy: &Policy,
) -> Freshness {
    let (lifetime_ms, source) = match policy.force_ttl {
        Some(ttl) => (ttl.as_millis() as u64, LifetimeSource::Rule),
        None => stated(answer, control, place).unwrap_or_else(|| unstated(answer, control, policy)),
    };
    let forced = policy.force_ttl.is_some();
    let always_validate = control.no_cache && !forced;
    let strict = control.must_revalidate || control.proxy_revalidate || always_validate;
    let window = |said: Option<u32>, grace: std::time::Duration| match (strict, said) {
        // RFC 9111 5.2.2.2, 5.2.2.8: nothing else can allow stale answers then.
        (true, _) => 0,
        (false, Some(seconds)) => millis(seconds),
        // RFC 9111 5.2.2.10: s-maxage forbids it too, unless the same answer says
        // otherwise in so many words (RFC 5861), which is the case above.
        (false, None) if control.s_maxage.is_some() => 0,
        (false, None) => grace.as_millis() as u64,
    };
    Freshness {
        received_mono_ms: answer.received_at.mono_ms,
        initial_age_ms: answer.initial_age_ms(),
        lifetime_ms,
        while_revalidate_ms: window(control.while_revalidate, policy.stale_while_revalidate),
        if_error_ms: window(control.if_error, policy.stale_if_error),
        always_validate,
        never_stale: strict || control.s_maxage.is_some(),
        immutable: control.immutable,
        source,
    }
}

/// The lifetime the origin states (RFC 9111 4.2.1), in that order. A targeted field
/// replaces `Expires` too (RFC 9213 2.2).
fn stated(
    answer: &AnswerHead<'_>,
    control: &ResponseControl,
    place: Option<u8>,
) -> Option<(u64, LifetimeSource)> {
    if let Some(seconds) = control.s_maxage {
        let source = place.map_or(LifetimeSource::SMaxAge, LifetimeSource::Targeted);
        return Some((millis(seconds), source));
    }
    if let Some(seconds) = control.max_age {
        let source = place.map_or(LifetimeSource::MaxAge, LifetimeSource::Targeted);
        return Some((millis(seconds), source));
    }
    if place.is_some() || !answer.headers.contains_key(header::EXPIRES) {
        return None;
    }
    // RFC 9111 5.3: an invalid date, `0` above all, is in the past.
    let expires = answer.date(&header::EXPIRES).unwrap_or(0);
    let seconds = expires.saturating_sub(answer.date_secs()).min(u64::from(DELTA_MAX));
    Some((seconds * 1000, LifetimeSource::Expires))
}

/// The lifetime when the origin states none: the site's rule, a heuristic (4.2.2), or
/// the site's default.
fn unstated(
    answer: &AnswerHead<'_>,
    control: &ResponseControl,
    policy: &Policy,
) -> (u64, LifetimeSource) {
    let status = answer.status.as_u16();
    if let Some((_, ttl)) = policy.status_ttl.iter().find(|(wanted, _)| *wanted == status) {
        return (ttl.as_millis() as u64, LifetimeSource::Rule);
    }
    if !(is_heuristic(answer.status) || control.public) {
        return (0, LifetimeSource::None);
    }
    if let Some(modified) = answer.date(&header::LAST_MODIFIED) {
        let unchanged_ms = answer.date_secs().saturating_sub(modified).saturating_mul(1000);
        let share = unchanged_ms / 100 * u64::from(policy.heuristic_percent);
        let lifetime = share.min(policy.heuristic_max.as_millis() as u64);
        return (lifetime, LifetimeSource::Heuristic);
    }
    if !policy.default_ttl.is_zero() && status < 400 {
        return (policy.default_ttl.as_millis() as u64, LifetimeSource::Rule);
    }
    (0, LifetimeSource::None)
}

/// Statuses that are heuristically cacheable (RFC 9110 15.1).
pub fn is_heuristic(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

fn millis(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}
