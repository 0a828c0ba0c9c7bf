//! What the cache must know of a plain HTTP/1.1 request that `front`'s guard has read: the
//! same nouns as behind the door, without a header map.
//!
//! The guard has refused everything ambiguous and calls no request plain that carries a
//! framing, a condition, a range, a directive or a loop. What is left of the door's work is
//! the target and the host, by the door's own rules.

use bytes::Bytes;
use http::Method;
use http::header::{HeaderMap, HeaderValue};
use http::uri::PathAndQuery;

use super::asked::{Asked, Scheme};
use super::door;
use super::entry::Slot;
use super::normalise::normalise;
use super::site::Policy;

/// The request as `door::admit` would make it; `None` if the door should have a look.
pub fn asked(target: &[u8], host: &[u8], scheme: Scheme) -> Option<Asked> {
    let plain = |byte: &u8| matches!(byte, 0x21..=0x7e) && *byte != b'#';
    let fits = target.first() == Some(&b'/')
        && target.len() + host.len() <= door::TARGET_MAX
        && target.iter().all(plain);
    if !fits {
        return None;
    }
    let (host, port) = door::parse_authority(host).ok()?;
    let target = PathAndQuery::from_maybe_shared(Bytes::copy_from_slice(target)).ok()?;
    let port = port.unwrap_or(scheme.default_port());
    Some(Asked { method: Method::GET, scheme, host, port, target })
}

/// The fields that choose among the variants of `slot`, normalised as the whole head would
/// be; `values` calls back with each line of a field by its lower-case name. `None` if one of
/// them cannot be a field value.
pub fn selecting(
    slot: &Slot,
    policy: &Policy,
    values: impl Fn(&str, &mut dyn FnMut(&[u8])),
) -> Option<HeaderMap> {
    let mut sound = true;
    let mut fields = HeaderMap::new();
    let named = slot.variants.iter().filter_map(|entry| entry.vary.as_deref());
    for (name, _) in named.flat_map(|vary| &vary.fields) {
        if fields.contains_key(name) {
            continue;
        }
        values(name.as_str(), &mut |line| match HeaderValue::from_bytes(line) {
            Ok(value) => drop(fields.append(name, value)),
            Err(_) => sound = false,
        });
    }
    if !fields.is_empty() {
        normalise(&mut fields, policy);
    }
    sound.then_some(fields)
}
