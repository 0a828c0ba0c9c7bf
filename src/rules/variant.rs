//! Secondary keys: which stored variant answers which request (RFC 9111 4.1).

use std::sync::Arc;

use http::header::{self, HeaderMap};

use super::entry::{Entry, Slot};
use super::partial;

/// The newest variant in `slot` that answers `request`.
pub fn select<'a>(slot: &'a Slot, request: &HeaderMap) -> Option<&'a Arc<Entry>> {
    slot.variants.iter().find(|entry| match &entry.vary {
        None => true,
        Some(vary) => vary.matches(request, entry.head.text(&header::CONTENT_LANGUAGE)),
    })
}

/// `slot` with `entry` as its newest variant: what it replaces goes, and of more than
/// `variants_max` the oldest.
pub fn join(slot: Option<&Slot>, entry: Arc<Entry>, variants_max: usize) -> Slot {
    let same = |old: &&Arc<Entry>| old.vary == entry.vary;
    let older = slot.and_then(|slot| slot.variants.iter().find(same));
    let entry = match older.and_then(|old| partial::combine(old, &entry)) {
        Some(joined) => Arc::new(joined),
        None => entry,
    };
    let mut joined = Slot::one(entry.clone());
    // An answer that varies on nothing matches every request, and one that varies on other
    // fields than an older one shows what that lacked: the older is never asked again, and must
    // not come back when this one is purged. A part is no such answer for those who want the
    // whole.
    let replaces =
        |old: &Entry| old.vary == entry.vary || (entry.is_whole() && competes(old, &entry));
    for old in slot.into_iter().flat_map(|slot| &slot.variants).filter(|old| !replaces(old)) {
        if joined.variants.len() < variants_max.max(1) {
            joined.variants.push(old.clone());
        }
    }
    joined
}

/// Whether one of the two could be given for what the other answers: all but variants by the
/// same fields with different values.
pub fn competes(one: &Entry, other: &Entry) -> bool {
    let (Some(one), Some(other)) = (&one.vary, &other.vary) else { return true };
    one == other
        || !one.fields.iter().map(|field| &field.0).eq(other.fields.iter().map(|field| &field.0))
}
