//! How long a stored answer may be used: a few integers made once when it arrives.
//!
//! The hit path compares these and parses nothing. All spans are milliseconds on the
//! monotonic clock (promise P11: a step of the wall clock changes nothing).

use crate::base::Now;

/// Which statement gave the lifetime; shown by `explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeSource {
    /// A targeted field (RFC 9213), the index is its place in the site's list.
    Targeted(u8),
    /// `Cache-Control: s-maxage` (RFC 9111 5.2.2.10).
    SMaxAge,
    /// `Cache-Control: max-age` (RFC 9111 5.2.2.1).
    MaxAge,
    /// `Expires` less `Date` (RFC 9111 5.3).
    Expires,
    /// A tenth of the time since `Last-Modified` (RFC 9111 4.2.2).
    Heuristic,
    /// The site's rule.
    Rule,
    /// Nothing: usable only after validation.
    None,
}

/// The freshness of one stored response (RFC 9111 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Monotonic time at which the response (or the 304 that refreshed it) arrived.
    pub received_mono_ms: u64,
    /// `corrected_initial_age` (RFC 9111 4.2.3).
    pub initial_age_ms: u64,
    /// `freshness_lifetime` (RFC 9111 4.2.1).
    pub lifetime_ms: u64,
    /// How long after that it may be served while a refresh runs (RFC 5861 3, or grace).
    pub while_revalidate_ms: u64,
    /// How long after that it may be served if the origin fails (RFC 5861 4, or the rule).
    pub if_error_ms: u64,
    /// Never served without a successful validation: `no-cache` (RFC 9111 5.2.2.4).
    pub always_validate: bool,
    /// Never served stale: `must-revalidate`, `proxy-revalidate`, `s-maxage`.
    pub never_stale: bool,
    /// `immutable` (RFC 8246): a reload need not revalidate it while fresh.
    pub immutable: bool,
    /// What gave the lifetime.
    pub source: LifetimeSource,
}

impl Freshness {
    /// `current_age` (RFC 9111 4.2.3) in milliseconds.
    pub fn age_ms(&self, now: Now) -> u64 {
        let resident = now.mono_ms.saturating_sub(self.received_mono_ms);
        self.initial_age_ms.saturating_add(resident)
    }

    /// Lifetime less age, negative when stale; the `ttl` of RFC 9211 2.3 before rounding.
    pub fn ttl_ms(&self, now: Now) -> i64 {
        let lifetime = self.lifetime_ms.min(i64::MAX as u64) as i64;
        let age = self.age_ms(now).min(i64::MAX as u64) as i64;
        lifetime.saturating_sub(age)
    }

    /// Whether it may be used without asking anybody.
    pub fn is_fresh(&self, now: Now) -> bool {
        !self.always_validate && self.age_ms(now) < self.lifetime_ms
    }

    /// Milliseconds since it became stale; zero while fresh.
    pub fn staleness_ms(&self, now: Now) -> u64 {
        self.age_ms(now).saturating_sub(self.lifetime_ms)
    }
}
