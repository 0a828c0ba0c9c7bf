//! Takes the directories at the start of a node.
//!
//! What is plainly a mistake of the operator (in use, another version, another store)
//! refuses the start. A device that is broken must not: the node then starts without it
//! and says so, as if it had broken a minute later.

use std::sync::Arc;

use super::device::Device;
use super::identity::{DiskError, Identity, absent, open_locked};
use super::options::{DirectoryOptions, Options};
use crate::rules::key::KeySeed;

/// A directory, what it is reached by, and why it cannot be used now, if so.
pub(super) type Taken = (DirectoryOptions, (Arc<dyn Device>, Identity), Option<DiskError>);

/// Opens and locks all directories and finds, or makes, the seed that they share.
///
/// # Errors
/// As [`super::Disk::open`].
pub(super) fn take(
    options: &Options,
    wrap: &dyn Fn(usize, Arc<dyn Device>) -> Arc<dyn Device>,
) -> Result<(Vec<Taken>, KeySeed), DiskError> {
    let mut opened = Vec::new();
    let mut seed = None;
    for own in &options.directories {
        let found = open_locked(&own.path).and_then(|device| {
            let identity = Identity::read(&own.path)?;
            Ok((device, identity))
        });
        let (device, identity, lost) = match found {
            Ok((device, identity)) => (device, identity, None),
            Err(error @ DiskError::Io { .. }) => (absent(&own.path), None, Some(error)),
            Err(error) => return Err(error),
        };
        if let Some(found) = identity
            && *seed.get_or_insert(found.seed) != found.seed
        {
            return Err(DiskError::Seed { path: own.path.clone() });
        }
        opened.push((own, device, identity, lost));
    }
    let seed = seed.unwrap_or_else(|| KeySeed(rand::random()));
    let mut taken: Vec<Taken> = Vec::new();
    for (place, (own, device, identity, mut lost)) in opened.into_iter().enumerate() {
        let fresh = Identity { seed, id: rand::random() };
        if identity.is_none() && lost.is_none() {
            lost = fresh.write(&own.path).err();
        }
        let device = wrap(place, Arc::new(device));
        taken.push((own.clone(), (device, identity.unwrap_or(fresh)), lost));
    }
    match taken.iter_mut().all(|(_, _, lost)| lost.is_some()).then(|| taken.pop()).flatten() {
        Some((_, _, Some(error))) => Err(error),
        _ => Ok((taken, seed)),
    }
}
