//! Judges every answer by the facts: whose it may be, how old, which version, which bytes.
//!
//! The judge knows nothing of caches, flights or tiers. It asks of an answer: which reply
//! of an origin does it carry, was that caused by this very request, and if not, may it be
//! given to this client now?

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::client::{Answer, Told};
use super::law::{self, Plan};
use super::scene::{Facts, Reply, Version};
use super::step::{Condition, Control, HOSTS, Method, What};
use super::{parts, status};
use crate::support::Ended;

/// Clocks and scheduling may differ by this.
const SLACK_MS: u64 = 1_100;
/// After a failure stale answers may be given without asking again for so long.
const REST_MS: u64 = 31_000;

/// What the judge remembers beside the facts.
#[derive(Default)]
pub struct Judge {
    /// Purges that have returned: what, whether soft, when they began.
    pub purges: Vec<(What, bool, u64)>,
    /// URLs that an unsafe request changed, when its answer was given, and when seen.
    changed: Vec<(u8, u64, u64)>,
    /// The newest reply that was used again for a request: when said, when seen.
    newest: HashMap<Asked, (u64, u64)>,
    /// The configuration at each request.
    pub plans: Vec<u8>,
    /// Up to here the disk has been synced.
    pub synced: u64,
    /// Answers by how they came about.
    pub tally: Tally,
}

/// URL, language and kind of a request.
type Asked = (u8, Option<&'static str>, Option<&'static str>);

/// How many answers were what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// The client's own reply of an origin.
    pub own: u64,
    /// Somebody else's, fetched at the same time.
    pub shared: u64,
    /// Used again while fresh.
    pub fresh: u64,
    /// Used again though stale, as allowed.
    pub stale: u64,
    /// Made by the node.
    pub errors: u64,
    /// No answer, or a cut one, for a reason.
    pub cut: u64,
}

impl Judge {
    /// Judges one exchange.
    pub fn judge(&mut self, facts: &Facts, told: &Told) -> Result<(), String> {
        let Some(answer) = &told.answer else {
            self.tally.cut += 1;
            let failed = facts.failed.get(&told.ask.url).is_some_and(|at| at.0 > told.began.0);
            return if told.left || failed { Ok(()) } else { Err("no answer".into()) };
        };
        if answer.ended != Ended::Clean {
            self.tally.cut += 1;
        }
        let Some(serial) = answer.number("x-reply") else {
            self.tally.errors += 1;
            return own_words(facts, told, answer);
        };
        let reply = facts.replies.get(serial as usize).ok_or("a reply that never was")?.clone();
        let version = carried(facts, answer, &reply)?;
        if version.url != told.ask.url {
            return Err(format!("an answer of URL {}", version.url));
        }
        parts::check(told, answer, &version)?;
        if answer.ended != Ended::Clean && !told.left {
            let failed = facts.failed.get(&told.ask.url).is_some_and(|at| at.0 > reply.heard);
            failed.then_some(()).ok_or("cut without a reason")?;
        }
        status::check(facts, told, answer, &reply)?;
        if reply.request == told.id {
            self.tally.own += 1;
            self.unsafe_method(told, answer, &reply);
            return Ok(());
        }
        self.others(facts, told, answer, &reply)
    }

    /// An answer that another request brought.
    fn others(
        &mut self,
        facts: &Facts,
        told: &Told,
        answer: &Answer,
        reply: &Arc<Reply>,
    ) -> Result<(), String> {
        let ask = &told.ask;
        if !matches!(ask.method, Method::Get | Method::Head) {
            return Err("an unsafe request answered with another's reply".into());
        }
        if Plan::of(told.plan).passes(ask.url) {
            return Err("a cached answer under a rule that forbids caching".into());
        }
        if ask.control == Some(Control::NoStore) && !Plan::of(told.plan).deaf {
            return Err("another's reply to a no-store request".into());
        }
        if !law::shareable(reply) {
            return Err(format!("a reply that is not for others: {:?}", reply.version.profile));
        }
        varies(told, &reply.version)?;
        self.purged(facts, told, reply)?;
        if reply.said > told.began.0 {
            self.tally.shared += 1;
            return Ok(());
        }
        self.used_again(facts, told, answer, reply)
    }

    /// No purge that returned before the request may be undone by its answer.
    fn purged(&self, facts: &Facts, told: &Told, reply: &Reply) -> Result<(), String> {
        for (url, said, seen) in &self.changed {
            if *url == told.ask.url && *seen < told.began.0 && reply.heard < *said {
                return Err("an answer from before an unsafe request".into());
            }
        }
        for (what, soft, at) in &self.purges {
            if *soft || *at > told.began.0 || !hits(*what, &reply.version) {
                continue;
            }
            if reply.heard < *at {
                return Err(format!("purged: {what:?}"));
            }
            if facts.brought.get(&reply.number).is_none_or(|heard| heard < at) {
                return Err(format!("body from before a purge: {what:?}"));
            }
        }
        Ok(())
    }

    /// An answer from before the request: fresh, or stale with permission.
    fn used_again(
        &mut self,
        facts: &Facts,
        told: &Told,
        answer: &Answer,
        reply: &Reply,
    ) -> Result<(), String> {
        let plan = Plan::of(*self.plans.get(reply.request as usize).unwrap_or(&0));
        let (least, most) = law::age_ms(reply, facts, told.began.1, told.ended.1);
        let age = answer.number("age").unwrap_or(0) * 1000;
        if age + SLACK_MS < least || age > most + SLACK_MS {
            return Err(format!("Age {age} ms instead of {least} to {most}"));
        }
        let lifetime = law::lifetime_ms(reply, &plan);
        if let Some(ttl) = status::ttl(answer)
            && (ttl * 1000 + age as i64).abs_diff(lifetime as i64) > SLACK_MS
        {
            return Err(format!("ttl {ttl} s and Age {age} ms of a lifetime of {lifetime} ms"));
        }
        let (refresh, failure) = law::windows_ms(reply, &plan);
        let staleness = least.saturating_sub(lifetime);
        let soft = self.purges.iter().any(|(what, soft, at)| {
            *soft && *at <= told.began.0 && reply.heard < *at && hits(*what, &reply.version)
        });
        let asked = directives(told, reply, least, lifetime);
        let fresh = least < lifetime + SLACK_MS && !soft && !law::always_asked(reply);
        let rescued = facts.failed.get(&told.ask.url).is_some_and(|(tick, mono)| {
            *tick > told.began.0 || told.began.1.mono_ms < mono + REST_MS
        });
        let outage = facts.outages[usize::from(told.ask.url % HOSTS)].1 || told.outage;
        let rescued = (rescued || outage)
            && !law::always_asked(reply)
            && (fresh || (failure > 0 && staleness <= failure + SLACK_MS));
        let max_age = matches!(told.ask.control, Some(Control::MaxAge(_)));
        let shown = refresh > 0
            && staleness <= refresh + SLACK_MS
            && !(max_age && asked.is_err() && !fresh);
        let accepted = match told.ask.control {
            Some(Control::MaxStale(span)) => {
                law::may_be_stale(reply) && !soft && staleness <= u64::from(span) * 1000 + SLACK_MS
            }
            _ => false,
        };
        self.going_back(told, reply)?;
        // What an origin says to an authorised request changes nothing for others, but it
        // confirms to that client what is stored (RFC 9111 3.5).
        if facts.confirmed.get(&told.id) == Some(&reply.number) {
            return Ok(());
        }
        if fresh && asked.is_ok() {
            self.tally.fresh += 1;
            return Ok(());
        }
        self.tally.stale += 1;
        if rescued || ((shown || accepted) && asked.is_ok()) {
            return Ok(());
        }
        asked?;
        Err(format!(
            "stale by {staleness} ms (lifetime {lifetime}, windows {refresh} and {failure}, \
             soft {soft}): {:?}",
            reply.version.profile
        ))
    }

    /// Once a newer reply has been used again, an older one is not: newer by when the origin
    /// said it, which is its date (RFC 9111 4), not by when it was asked. One whose body was
    /// still on its way had not been stored: if its fetch is overtaken by a purge or by time,
    /// it never will be.
    fn going_back(&mut self, told: &Told, reply: &Reply) -> Result<(), String> {
        let key = (told.ask.url, told.ask.language, told.ask.kind);
        let newest = self.newest.get(&key);
        if let Some((said, _)) =
            newest.filter(|(said, seen)| *seen < told.began.0 && reply.said < *said)
        {
            return Err(format!("older than one used before (said at {said})"));
        }
        let whole = reply.whole.load(Ordering::Relaxed);
        let stored = whole > 0 && whole < told.began.0;
        if stored && newest.is_none_or(|(said, _)| reply.said > *said) {
            self.newest.insert(key, (reply.said, told.ended.0));
        }
        Ok(())
    }

    /// After a crash, what had not reached the disk may be forgotten.
    pub fn crashed(&mut self) {
        let synced = self.synced;
        self.changed.retain(|(_, _, seen)| *seen < synced);
        self.newest.clear();
    }

    fn unsafe_method(&mut self, told: &Told, answer: &Answer, reply: &Reply) {
        if told.ask.method == Method::Post && answer.status < 400 {
            self.changed.push((told.ask.url, reply.said, told.ended.0));
        }
    }
}

/// The version an answer carries, by its own account.
fn carried(facts: &Facts, answer: &Answer, reply: &Reply) -> Result<Arc<Version>, String> {
    let number = answer.number("x-version").ok_or("no version")? as usize;
    let version = facts.versions.get(number).ok_or("a version that never was")?;
    if number != reply.number {
        return Err(format!("version {number} with the head of version {}", reply.number));
    }
    Ok(version.clone())
}

/// An answer that the node made itself needs a reason.
fn own_words(facts: &Facts, told: &Told, answer: &Answer) -> Result<(), String> {
    let failed = facts.failed.get(&told.ask.url);
    let failed = failed
        .is_some_and(|(tick, mono)| *tick > told.began.0 || told.began.1.mono_ms < mono + REST_MS);
    match answer.status {
        502..=504 if failed => Ok(()),
        504 if told.ask.control == Some(Control::OnlyIfCached) => Ok(()),
        416 if told.ask.range.is_some() => Ok(()),
        other => Err(format!("the node itself answers {other} without a reason")),
    }
}

/// The request selects the same variant (RFC 9111 4.1).
fn varies(told: &Told, version: &Version) -> Result<(), String> {
    let vary = version.profile.vary.unwrap_or("");
    let same = |name: &str, asked: Option<&str>, stored: &Option<String>| {
        !vary.contains(name) || asked == stored.as_deref()
    };
    let (language, kind) = &version.variant;
    if same("Accept-Language", told.ask.language, language) && same("X-Kind", told.ask.kind, kind) {
        return Ok(());
    }
    Err(format!("another variant: {:?}", version.variant))
}

/// Whether a purge of `what` means this version.
pub fn hits(what: What, version: &Version) -> bool {
    match what {
        What::Url(url) => url == version.url,
        What::Prefix(url) => url % 2 == version.url % 2 && url / 2 % 3 == version.url / 2 % 3,
        What::Tag(tag) => version.profile.tags & (1 << tag) != 0,
        What::Host(host) => version.url % 2 == host,
        What::Everything => true,
        What::Pattern(digit) => version.url % 10 == digit,
    }
}

/// What the client itself demands of a stored answer (RFC 9111 5.2.1).
fn directives(told: &Told, reply: &Reply, age: u64, lifetime: u64) -> Result<(), String> {
    if Plan::of(told.plan).deaf {
        return Ok(());
    }
    let wrong = match told.ask.control {
        Some(Control::NoCache) => true,
        Some(Control::MaxAge(span)) => {
            !law::immutable(reply) && age > u64::from(span) * 1000 + SLACK_MS
        }
        Some(Control::MinFresh(span)) => lifetime + SLACK_MS < age + u64::from(span) * 1000,
        _ => false,
    };
    if wrong { Err(format!("against the client's {:?}", told.ask.control)) } else { Ok(()) }
}

/// A 304 needs a condition that holds.
pub fn not_modified(told: &Told, version: &Version) -> Result<(), String> {
    let opaque = |tag: &str| tag.trim_start_matches("W/").to_owned();
    let holds = match told.ask.condition {
        Some(Condition::NoneMatch) => match (&told.known.tag, &version.etag) {
            (Some(sent), Some(own)) => opaque(sent) == opaque(own),
            _ => false,
        },
        Some(Condition::ModifiedSince) => told.known.modified.is_some(),
        _ => false,
    };
    if holds { Ok(()) } else { Err(format!("304 to {:?} {:?}", told.ask.condition, told.known)) }
}
