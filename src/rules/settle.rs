//! What to do with the origin's answer: store it, freshen what is stored, pass it on, or
//! serve what is stored instead of it (RFC 9111 3, 3.2, 4.3.3 to 4.3.5; RFC 5861 4).

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::control::RequestControl;
use super::entry::{Entry, Extent};
use super::fault::Fault;
use super::lifetime;
pub use super::lifetime::AnswerHead;
use super::partial;
use super::site::Policy;
use super::storable::{self, storable};
pub use super::storable::{FillRequest, Storable, Uncacheable};
use super::validate;
use super::vary::{self, Varies};
use super::{date, hop, tags, targeted};
use crate::base::Now;

/// The verdict on an answer.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// Store it (begin the stored body with `Storable::prefix`) and serve it.
    Store(Box<Storable>),
    /// Replace the stored response by this one, which shares its body, and serve it.
    Freshen(Arc<Entry>),
    /// Pass the answer on and store nothing.
    Relay(Uncacheable),
    /// Pass the answer on; the stored response it was compared with is out of date and
    /// must not be used without validation (RFC 9111 4.3.5).
    Outdated(Uncacheable),
    /// Drop the answer and serve the stored response although it is stale.
    Rescue(Arc<Entry>),
    /// The answer fits nothing that is stored: ask once more without conditions and
    /// range (`Purpose::Fill`); if that ends here again, it is a bad gateway.
    Refetch,
    /// The answer makes no sense for what was asked.
    Reject(Fault),
}

/// Decides on `answer` to `ask`. `stored` is the entry whose validators (`Revalidate`) or
/// rest (`Complete`) were asked for, or that the plan would fall back to.
pub fn settle(
    ask: &FillRequest<'_>,
    answer: &AnswerHead<'_>,
    policy: &Policy,
    stored: Option<&Arc<Entry>>,
) -> Settlement {
    if let Some(entry) = stored {
        if is_failure(answer.status) && rescue(entry, answer.received_at) {
            return Settlement::Rescue(entry.clone());
        }
        if answer.status == StatusCode::NOT_MODIFIED {
            return match selects(answer.headers, entry) {
                true => confirmed(freshen(ask, answer, policy, entry), entry),
                false => Settlement::Refetch,
            };
        }
        if *ask.method == Method::HEAD {
            return by_head(ask, answer, policy, entry);
        }
    }
    // The node asked for a range of its own accord and the client wants the whole.
    let completing = ask.range.is_some() && !ask.headers.contains_key(header::RANGE);
    match answer.status {
        StatusCode::NOT_MODIFIED => {
            Settlement::Reject(Fault::BadGateway("the origin sent 304 to an unconditional request"))
        }
        StatusCode::PARTIAL_CONTENT if ask.range.is_none() => {
            Settlement::Reject(Fault::BadGateway("the origin sent 206 to a request without range"))
        }
        StatusCode::PARTIAL_CONTENT if completing => {
            match stored.and_then(|entry| completed(ask, answer, policy, entry)) {
                Some(whole) => Settlement::Store(Box::new(whole)),
                None => Settlement::Refetch,
            }
        }
        StatusCode::RANGE_NOT_SATISFIABLE if completing => Settlement::Refetch,
        _ => match storable(ask, answer, policy) {
            Ok(storable) => Settlement::Store(Box::new(storable)),
            Err(why) => Settlement::Relay(why),
        },
    }
}

/// Whether `entry` may be served because the origin cannot be reached or fails
/// (RFC 9111 4.2.4, RFC 5861 4). Also for failures of the transport.
pub fn rescue(entry: &Entry, now: Now) -> bool {
    let freshness = &entry.freshness;
    // A part is no stand-in for the whole that its rest was asked for.
    if freshness.always_validate || entry.extent != Extent::Whole {
        return false;
    }
    let fresh = freshness.is_fresh(now) && !entry.is_soft_purged();
    let window = freshness.if_error_ms;
    fresh || (window > 0 && freshness.staleness_ms(now) <= window)
}

/// The errors of RFC 5861 4.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether a 304 with `fields` is about `entry` (RFC 9111 4.3.4): its strong validator
/// must be ours; a weak one must match weakly; without any, the one we asked with is it.
fn selects(fields: &HeaderMap, entry: &Entry) -> bool {
    if let Some(tag) = fields.get(header::ETAG) {
        let stored = entry.head.find(&header::ETAG);
        return stored.is_some_and(|stored| validate::weak_match(stored, tag.as_bytes()));
    }
    match (fields.get(header::LAST_MODIFIED), entry.head.find(&header::LAST_MODIFIED)) {
        (Some(new), Some(old)) => new.as_bytes().trim_ascii() == old.trim_ascii(),
        _ => true,
    }
}

/// Pieces are tied to the validators word for word: a 304 that changes them (from a weak
/// tag to a strong one, say) confirms the meaning but not the bytes.
fn confirmed(fresh: Arc<Entry>, entry: &Entry) -> Settlement {
    let same = |name: &HeaderName| fresh.head.find(name) == entry.head.find(name);
    match entry.in_pieces() && !(same(&header::ETAG) && same(&header::LAST_MODIFIED)) {
        true => Settlement::Refetch,
        false => Settlement::Freshen(fresh),
    }
}

/// The stored response with the fields of a 304 (or HEAD) answer (RFC 9111 3.2).
fn freshen(
    ask: &FillRequest<'_>,
    answer: &AnswerHead<'_>,
    policy: &Policy,
    entry: &Arc<Entry>,
) -> Arc<Entry> {
    let merged = merge(entry, answer, policy);
    let whole = AnswerHead { status: entry.head.status, headers: &merged, ..*answer };
    let (control, place) = targeted::applicable(&merged, policy);
    // RFC 9111 3.5, 5.2.1.5: what was said to an authorised request is not for others, and
    // of what is said to a no-store request nothing is kept; the entry is confirmed for
    // this client and stays as it was.
    let authorised = ask.headers.contains_key(header::AUTHORIZATION);
    if (authorised && !storable::is_shared(&control)) || RequestControl::of(ask.headers).no_store {
        return entry.clone();
    }
    let mut fresh = lifetime::freshness(&whole, &control, place, policy);
    let vary = match vary::varies(&merged, ask.headers) {
        Varies::Never => Some(None),
        Varies::On(vary) => Some(Some(Box::new(vary))),
        Varies::Always => None,
    };
    // What was said now may no longer be shared or kept: then the entry stays as it was,
    // and is never again used without asking.
    let shareable = !(control.private || (control.no_store && !control.must_understand));
    let head = vary.is_some().then(|| storable::head_of(&whole, &control, policy)).flatten();
    let (head, vary) = match (head, vary) {
        (Some(head), Some(vary)) if shareable => (head, vary),
        _ => {
            fresh.always_validate = true;
            fresh.never_stale = true;
            (entry.head.clone(), entry.vary.clone())
        }
    };
    let tags = match policy.tag_fields.iter().any(|name| answer.headers.contains_key(name)) {
        true => tags::tags(answer.headers, &policy.tag_fields),
        false => Ok(entry.tags.clone()),
    };
    // With tags that nobody could purge by, it is not used again without asking.
    let tags = tags.unwrap_or_else(|_| {
        fresh.always_validate = true;
        fresh.never_stale = true;
        entry.tags.clone()
    });
    Arc::new(Entry {
        key: entry.key.clone(),
        head,
        body: entry.body.clone(),
        extent: entry.extent,
        freshness: fresh,
        vary,
        tags,
        seq: entry.seq,
        checked_seq: AtomicU64::new(entry.checked_seq.load(Ordering::Acquire)),
        soft_purged: AtomicBool::new(false),
    })
}

/// Stored fields with those of the answer put in their place. Not taken: what is never
/// stored, `Content-Length`, the part's `Content-Range`, cookies that are not replayed.
fn merge(entry: &Entry, answer: &AnswerHead<'_>, policy: &Policy) -> HeaderMap {
    let mut merged = entry.head.to_map(answer.headers.len());
    let listed = hop::listed(answer.headers);
    let part = !entry.is_whole();
    let taken = |name: &HeaderName| {
        !(hop::is_hop(name)
            || listed.contains(name)
            || *name == header::CONTENT_LENGTH
            || (part && *name == header::CONTENT_RANGE)
            || (!policy.replay_set_cookie && *name == header::SET_COOKIE))
    };
    for name in answer.headers.keys().filter(|name| taken(name)) {
        merged.remove(name);
        for value in answer.headers.get_all(name) {
            merged.append(name.clone(), value.clone());
        }
    }
    if !answer.headers.contains_key(header::DATE) {
        let now = date::format(answer.received_at.wall_secs());
        if let Ok(now) = HeaderValue::try_from(now) {
            merged.insert(header::DATE, now);
        }
    }
    merged
}

/// An answer to HEAD while a GET is stored (RFC 9111 4.3.5).
fn by_head(
    ask: &FillRequest<'_>,
    answer: &AnswerHead<'_>,
    policy: &Policy,
    entry: &Arc<Entry>,
) -> Settlement {
    let length = match entry.extent {
        Extent::Whole | Extent::Pieces { .. } => Some(entry.content_len()),
        Extent::Part { total, .. } => total,
    };
    let said = answer.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let agrees = |name: &HeaderName| match (answer.headers.get(name), entry.head.find(name)) {
        (Some(new), Some(old)) => new.as_bytes() == old,
        (None, None) => true,
        _ => false,
    };
    let same = answer.status == entry.head.status
        && agrees(&header::ETAG)
        && agrees(&header::LAST_MODIFIED)
        && said.is_none_or(|said| said.parse().ok() == length);
    let why = Uncacheable { reason: "method", remember: false };
    match same {
        true => Settlement::Freshen(freshen(ask, answer, policy, entry)),
        false if answer.status.is_success() => Settlement::Outdated(why),
        false => Settlement::Relay(why),
    }
}

/// The whole, made of the stored beginning and a 206 with the rest (RFC 9111 3.4).
fn completed(
    ask: &FillRequest<'_>,
    answer: &AnswerHead<'_>,
    policy: &Policy,
    entry: &Entry,
) -> Option<Storable> {
    let (prefix, total) = partial::prefix(entry, answer.headers)?;
    // RFC 9111 3.4: the newer fields update the stored ones; the status is that of a whole.
    let mut merged = merge(entry, answer, policy);
    merged.remove(header::CONTENT_RANGE);
    let whole = AnswerHead { status: StatusCode::OK, headers: &merged, ..*answer };
    let ask = FillRequest { range: None, ..*ask };
    let mut storable = storable(&ask, &whole, policy).ok()?;
    storable.expected_len = Some(total);
    storable.prefix = prefix;
    Some(storable)
}
