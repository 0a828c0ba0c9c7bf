//! The switch of an origin to another group (blue and green), and back.
//!
//! One atomic store: a request sees the old group or the new one, and what is in flight
//! finishes where it began. The group before is remembered, so going back is the same
//! store. Groups are held weakly, because two may point at each other; a group that is
//! gone (taken out by a reload) is the same as no switch. A switched-to group answers by
//! itself even if it is switched too: chains would be loops sooner or later.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;

use super::group::Group;

/// Where requests of a group go.
#[derive(Debug, Default)]
pub struct Divert(ArcSwap<Path>);

/// `None` is the group itself.
#[derive(Clone, Debug, Default)]
struct Path {
    current: Option<Weak<Group>>,
    previous: Option<Weak<Group>>,
}

impl Divert {
    /// The other group that answers now, if there is one.
    pub fn target(&self) -> Option<Arc<Group>> {
        self.0.load().current.as_ref().and_then(Weak::upgrade)
    }

    /// From now on `to` answers; `None` is the group itself.
    pub fn switch(&self, to: Option<&Arc<Group>>) {
        let to = to.map(Arc::downgrade);
        self.0.rcu(|path| Path { current: to.clone(), previous: path.current.clone() });
    }

    /// Takes over the switch of a group of the configuration before, by name.
    pub fn adopt(&self, old: &Divert, find: impl Fn(&str) -> Option<Arc<Group>>) {
        let old = old.0.load_full();
        let renew = |group: &Option<Weak<Group>>| {
            let group = group.as_ref().and_then(Weak::upgrade)?;
            find(group.name()).map(|group| Arc::downgrade(&group))
        };
        self.0
            .store(Arc::new(Path { current: renew(&old.current), previous: renew(&old.previous) }));
    }

    /// Back to who answered before the last switch.
    pub fn roll_back(&self) {
        self.0.rcu(|path| Path { current: path.previous.clone(), previous: path.current.clone() });
    }
}
