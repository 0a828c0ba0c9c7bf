//! Whether an answer may be stored (RFC 9111 3), and what is stored of it.
//!
//! A `Storable` is made here alone, and an `Entry` of a fill only from a `Storable`, so
//! nothing enters the cache without these rules. http-cache-semantics is asked as a
//! second voter at the end, on a canonical restatement of what we read, and may only
//! veto; where it is known to be too narrow (its list of statuses, parts,
//! must-understand, policies of the site) it is not asked.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use smallvec::SmallVec;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::control::ResponseControl;
use super::entry::{Entry, Extent};
use super::freshness::Freshness;
use super::head::Head;
use super::key::Key;
use super::lifetime::{self, AnswerHead};
use super::site::Policy;
use super::vary::{self, Varies, Vary};
use super::{control, date, hop, partial, pieces, tags, targeted};

/// The request that an answer belongs to, as far as storing is concerned.
#[derive(Clone, Copy, Debug)]
pub struct FillRequest<'a> {
    /// The method that was sent.
    pub method: &'a Method,
    /// The client's fields, normalised (`rules::normalise`).
    pub headers: &'a HeaderMap,
    /// The request had a body, so its answer may depend on something outside the key.
    pub has_body: bool,
    /// The `Range` that was sent to the origin, if any.
    pub range: Option<&'a HeaderValue>,
}

/// Why an answer is passed on without storing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncacheable {
    /// One word (an sf-token) for `Cache-Status`, log and counters.
    pub reason: &'static str,
    /// Whether the next answer for this key will probably be the same, so that requests
    /// need not queue behind each other for it.
    pub remember: bool,
}

/// An answer that may be stored, all but its body.
#[derive(Clone, Debug)]
pub struct Storable {
    /// The head to keep.
    pub head: Head,
    /// Which part the body will be.
    pub extent: Extent,
    /// How long it may be used.
    pub freshness: Freshness,
    /// Body bytes that must arrive, if the head says so.
    pub expected_len: Option<u64>,
    /// Stored bytes that come before those of the answer; empty unless a stored part is
    /// being completed.
    pub prefix: SmallVec<[Bytes; 1]>,
    vary: Option<Box<Vary>>,
    tags: Box<[Box<str>]>,
}

impl Storable {
    /// The entry, once the body (with the prefix) is complete. `None` if it is not as long
    /// as the head says: then nothing is stored (promise P4).
    pub fn into_entry(self, key: &Key, body: SmallVec<[Bytes; 1]>, seq: u64) -> Option<Entry> {
        let length: u64 = body.iter().map(|piece| piece.len() as u64).sum();
        if self.expected_len.is_some_and(|expected| expected != length) {
            return None;
        }
        Some(Entry {
            key: key.text().into(),
            head: self.head.apart(),
            body,
            extent: self.extent,
            freshness: self.freshness,
            vary: self.vary,
            tags: self.tags,
            seq,
            checked_seq: AtomicU64::new(seq),
            soft_purged: AtomicBool::new(false),
        })
    }

    /// Whether the answer alone is the whole representation.
    pub fn is_plain(&self) -> bool {
        self.extent == Extent::Whole && self.prefix.is_empty()
    }

    /// Length of the representation if it is to be kept in pieces: longer than the policy
    /// says, and a part only if others can be tied to it.
    pub fn large(&self, policy: &Policy) -> Option<u64> {
        let total = match (self.extent, self.head.status) {
            (Extent::Whole, StatusCode::OK) => self.expected_len?,
            (Extent::Part { total: Some(total), .. }, StatusCode::PARTIAL_CONTENT) => {
                pieces::validator(&self.head)?;
                total
            }
            _ => return None,
        };
        let large = total > policy.pieces_from && total <= policy.object_max;
        (large && self.prefix.is_empty()).then_some(total)
    }

    /// The surrogate keys, sorted, without duplicates.
    pub fn tags(&self) -> &[Box<str>] {
        &self.tags
    }
}

/// The verdict on one answer.
pub fn storable(
    ask: &FillRequest<'_>,
    answer: &AnswerHead<'_>,
    policy: &Policy,
) -> Result<Storable, Uncacheable> {
    let (control, place) = targeted::applicable(answer.headers, policy);
    request_allows(ask, policy)?;
    status_allows(ask, answer, &control)?;
    directives_allow(ask, answer, &control, policy)?;
    let vary = match vary::varies(answer.headers, ask.headers) {
        Varies::Never => None,
        Varies::On(vary) => Some(Box::new(vary)),
        Varies::Always => return no("vary-star"),
    };
    let freshness = lifetime::freshness(answer, &control, place, policy);
    worth_it(answer, &control, &freshness)?;
    let length = content_length(answer.headers)?;
    let (extent, expected_len) = match answer.status {
        StatusCode::PARTIAL_CONTENT => {
            let part = partial::part_of(ask.range, answer.headers, length)
                .ok_or(Uncacheable { reason: "content-range", remember: true })?;
            let length = part.held().map(|held| held.1 - held.0 + 1);
            match part {
                // A part that is all of it is the whole (RFC 9110 15.3.7.3).
                Extent::Part { first: 0, total, .. } if total == length => (Extent::Whole, length),
                part => (part, length),
            }
        }
        _ => (Extent::Whole, length),
    };
    if expected_len.is_some_and(|length| length > policy.object_max) {
        return no("too-large");
    }
    if !second_vote(ask, answer, &control, policy) {
        return no("second-vote");
    }
    let head = head_of(answer, &control, policy)
        .ok_or(Uncacheable { reason: "head-too-large", remember: true })?;
    let head = match extent == Extent::Whole && head.status == StatusCode::PARTIAL_CONTENT {
        true => head.joined(StatusCode::OK),
        false => head,
    };
    let tags = match tags::tags(answer.headers, &policy.tag_fields) {
        Ok(tags) => tags,
        Err(limit) => return no(limit.word()),
    };
    Ok(Storable { head, extent, freshness, expected_len, prefix: SmallVec::new(), vary, tags })
}

fn no<T>(reason: &'static str) -> Result<T, Uncacheable> {
    Err(Uncacheable { reason, remember: true })
}

/// What the request itself forbids. Another request for the key may be different.
fn request_allows(ask: &FillRequest<'_>, policy: &Policy) -> Result<(), Uncacheable> {
    let reason = if !policy.cache {
        "bypass"
    } else if ask.method != Method::GET {
        // POST answers could be stored (RFC 9110 9.3.3); they are not, by design.
        "method"
    } else if ask.has_body {
        "request-body"
    } else if control::RequestControl::of(ask.headers).no_store {
        "request-no-store"
    } else {
        return Ok(());
    };
    Err(Uncacheable { reason, remember: false })
}

fn status_allows(
    ask: &FillRequest<'_>,
    answer: &AnswerHead<'_>,
    control: &ResponseControl,
) -> Result<(), Uncacheable> {
    match answer.status.as_u16() {
        // Interim, or meaningful only for the request that got them: what they depend on
        // (conditions, range, proxy credentials, expectation) is not in the key.
        100..=199 | 304 | 407 | 408 | 412 | 416 | 417 => no("status"),
        // RFC 6585 3 to 6: MUST NOT be stored.
        428 | 429 | 431 | 511 => no("status"),
        206 if ask.range.is_none() => no("unasked-part"),
        // RFC 9111 5.2.2.3: only if what the status means for caching is known here.
        _ if control.must_understand && !is_understood(answer.status) => no("must-understand"),
        _ => Ok(()),
    }
}

fn directives_allow(
    ask: &FillRequest<'_>,
    answer: &AnswerHead<'_>,
    control: &ResponseControl,
    policy: &Policy,
) -> Result<(), Uncacheable> {
    // RFC 9111 5.2.2.3: a cache that knows must-understand ignores no-store next to it.
    if control.no_store && !control.must_understand {
        return no("no-store");
    }
    if control.private {
        return no("private");
    }
    // RFC 9111 3.5.
    if ask.headers.contains_key(header::AUTHORIZATION) && !is_shared(control) {
        return no("authorization");
    }
    if !policy.store_set_cookie && answer.headers.contains_key(header::SET_COOKIE) {
        return no("set-cookie");
    }
    // RFC 9111 5.2.2.4, 5.2.2.7: such a field is for the client that asked. Kept without it,
    // the answer would reach that client without it too, because a fill has one head for all.
    if control.withheld.iter().any(|name| answer.headers.contains_key(name)) {
        return no("withheld-field");
    }
    // RFC 9111 3, last item: something must make it cacheable.
    let status = answer.status.as_u16();
    let stated = control.max_age.is_some()
        || control.s_maxage.is_some()
        || control.public
        || answer.headers.contains_key(header::EXPIRES)
        || policy.force_ttl.is_some()
        || policy.status_ttl.iter().any(|(wanted, _)| *wanted == status);
    if stated || lifetime::is_heuristic(answer.status) { Ok(()) } else { no("status") }
}

/// Whether an answer to an authorised request may be stored for others (RFC 9111 3.5).
pub(super) fn is_shared(control: &ResponseControl) -> bool {
    control.public || control.must_revalidate || control.s_maxage.is_some()
}

/// Storing what can never be used costs room: no lifetime left and nothing to validate.
fn worth_it(
    answer: &AnswerHead<'_>,
    control: &ResponseControl,
    freshness: &Freshness,
) -> Result<(), Uncacheable> {
    let usable = !freshness.always_validate && freshness.lifetime_ms > freshness.initial_age_ms;
    let windows = control.while_revalidate.unwrap_or(0).max(control.if_error.unwrap_or(0)) > 0
        && !freshness.always_validate;
    let validator =
        answer.headers.contains_key(header::ETAG) || answer.date(&header::LAST_MODIFIED).is_some();
    if usable || windows || validator { Ok(()) } else { no("no-freshness") }
}

/// `Content-Length`, if there is one; a bad one never gets this far through hyper, but
/// must not be stored if it does.
fn content_length(fields: &HeaderMap) -> Result<Option<u64>, Uncacheable> {
    let mut lines = fields.get_all(header::CONTENT_LENGTH).into_iter();
    let Some(first) = lines.next() else { return Ok(None) };
    let digits = first.as_bytes();
    let valid = !digits.is_empty()
        && digits.iter().all(u8::is_ascii_digit)
        && lines.all(|line| line.as_bytes() == digits);
    match first.to_str().ok().and_then(|text| text.parse().ok()).filter(|_| valid) {
        Some(length) => Ok(Some(length)),
        None => no("content-length"),
    }
}

/// Statuses whose caching requirements this cache implements (RFC 9111 5.2.2.3).
fn is_understood(status: StatusCode) -> bool {
    lifetime::is_heuristic(status)
        || matches!(status.as_u16(), 302 | 303 | 307 | 400 | 403 | 451 | 500 | 502 | 503 | 504)
}

/// Fields that are stored: not hop-by-hop (RFC 9111 3.1), not withheld, not regenerated.
pub(super) fn head_of(
    answer: &AnswerHead<'_>,
    control: &ResponseControl,
    policy: &Policy,
) -> Option<Head> {
    let listed = hop::listed(answer.headers);
    let keep = |name: &HeaderName| {
        !(hop::is_hop(name)
            || listed.contains(name)
            || control.withheld.contains(name)
            || *name == header::CONTENT_LENGTH
            || *name == header::AGE
            || (!policy.replay_set_cookie && *name == header::SET_COOKIE)
            || is_tag_field(name, policy))
    };
    if answer.date(&header::DATE).is_some() {
        return Head::pack(answer.status, answer.headers, keep);
    }
    // RFC 9110 6.6.1: a recipient that stores it must know when it was received.
    let mut dated = answer.headers.clone();
    let now = date::format(answer.received_at.wall_secs());
    dated.insert(header::DATE, HeaderValue::try_from(now).ok()?);
    Head::pack(answer.status, &dated, keep)
}

/// Asks http-cache-semantics where its reading is as wide as ours; it may only veto.
fn second_vote(
    ask: &FillRequest<'_>,
    answer: &AnswerHead<'_>,
    control: &ResponseControl,
    policy: &Policy,
) -> bool {
    let known = matches!(
        answer.status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 302 | 303 | 307 | 308 | 404 | 405 | 410 | 414 | 501
    );
    let by_rule = policy.force_ttl.is_some() || !policy.status_ttl.is_empty();
    if !known || by_rule || control.must_understand {
        return true;
    }
    let ballot = Ballot {
        status: answer.status,
        authorised: ask.headers.contains_key(header::AUTHORIZATION),
        expires: answer.headers.contains_key(header::EXPIRES),
        said: [
            control.no_store,
            control.private,
            control.public,
            control.must_revalidate,
            control.max_age.is_some(),
            control.s_maxage.is_some(),
        ],
    };
    // One question after the other is the same on most sites, and each costs a dozen
    // allocations to put.
    LAST_VOTE.with(|last| match last.get() {
        Some((asked, vote)) if asked == ballot => vote,
        _ => {
            let vote = ballot.vote();
            last.set(Some((ballot, vote)));
            vote
        }
    })
}

thread_local! {
    static LAST_VOTE: Cell<Option<(Ballot, bool)>> = const { Cell::new(None) };
}

/// All that the second voter's verdict may depend on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ballot {
    status: StatusCode,
    authorised: bool,
    expires: bool,
    /// Which of `DIRECTIVES`.
    said: [bool; 6],
}

const DIRECTIVES: [&str; 6] =
    ["no-store", "private", "public", "must-revalidate", "max-age=1", "s-maxage=1"];

impl Ballot {
    fn vote(self) -> bool {
        let mut request = Request::new(());
        if self.authorised {
            request.headers_mut().insert(header::AUTHORIZATION, HeaderValue::from_static("x"));
        }
        let mut response = Response::new(());
        *response.status_mut() = self.status;
        let said = DIRECTIVES.into_iter().zip(self.said).filter(|(_, said)| *said);
        for (directive, _) in said {
            let line = HeaderValue::from_static(directive);
            response.headers_mut().append(header::CACHE_CONTROL, line);
        }
        if self.expires {
            response.headers_mut().insert(header::EXPIRES, HeaderValue::from_static("0"));
        }
        let options = http_cache_semantics::CacheOptions { shared: true, ..Default::default() };
        let at = std::time::UNIX_EPOCH;
        http_cache_semantics::CachePolicy::new_options(&request, &response, at, options)
            .is_storable()
    }
}

/// Whether `name` has been named by a tag option of the site; used when answers go out.
pub(super) fn is_tag_field(name: &HeaderName, policy: &Policy) -> bool {
    policy.tag_fields.iter().any(|tag| tag == name.as_str())
}
