//! Why answers were not stored, by URL, for `explain`: "it was a miss because the origin
//! sends Set-Cookie" can only be said by somebody who saw the answer.
//!
//! Only exchanges that were not hits come here, and each of those has waited for an
//! origin, so one lock and an allocation are nothing. Bounded: two generations, the older
//! is dropped when the younger is full.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde::Serialize;

use super::exchange::Exchange;
use crate::rules::outcome::Class;

/// URLs in a generation.
const URLS_MAX: usize = 4096;

/// The last time a URL was not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotStored {
    /// The reason's word, as in `Cache-Status` and `brink_uncacheable_total`.
    pub reason: &'static str,
    /// Status the client saw.
    pub status: u16,
    /// When, Unix time in milliseconds.
    pub at_ms: u64,
}

/// The last reasons.
#[derive(Debug, Default)]
pub struct Reasons {
    both: Mutex<[HashMap<Box<str>, NotStored>; 2]>,
}

impl Reasons {
    /// Remembers why an exchange's answer was not stored, or that it now was.
    pub fn note(&self, exchange: &Exchange<'_>) {
        let outcome = exchange.outcome;
        if matches!(outcome.class(), Class::Hit | Class::Stale) {
            return;
        }
        let url = name(exchange.host, exchange.target);
        let mut both = self.both.lock();
        let [young, old] = &mut *both;
        // A pass because of an earlier reason must not hide that reason.
        let repeats = |known: &HashMap<Box<str>, NotStored>| known.contains_key(&*url);
        match outcome.detail {
            Some("uncacheable") if repeats(young) || repeats(old) => {}
            Some(reason) if !outcome.stored => {
                if young.len() >= URLS_MAX {
                    *old = std::mem::take(young);
                }
                let (status, at_ms) = (exchange.status, exchange.now.wall_ms);
                young.insert(url, NotStored { reason, status, at_ms });
            }
            _ => {
                young.remove(&*url);
                old.remove(&*url);
            }
        }
    }

    /// What is known of a URL: host without port, path and query as sent.
    pub fn find(&self, host: &str, target: &str) -> Option<NotStored> {
        let url = name(host, target);
        let both = self.both.lock();
        both.iter().find_map(|known| known.get(&*url)).cloned()
    }
}

fn name(host: &str, target: &str) -> Box<str> {
    let mut url = String::with_capacity(host.len() + target.len());
    url.push_str(host);
    url.push_str(target);
    url.into()
}
