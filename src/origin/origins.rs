//! All origins of a node by name, and the switch from one to another.
//!
//! A switch makes another group answer for a name, in one atomic store: a request sees
//! the old group or the new one, and what is in flight finishes where it began. The
//! previous group is kept, so going back is the same store. The groups themselves never
//! change names, so `switch app --to green` can be undone by name as well.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::group::Group;
use super::state::GroupState;

/// The origins of a node.
#[derive(Debug, Default)]
pub struct Origins {
    routes: HashMap<String, Route>,
}

#[derive(Debug)]
struct Route {
    own: Arc<Group>,
    path: ArcSwap<Path>,
}

#[derive(Debug)]
struct Path {
    current: Arc<Group>,
    previous: Arc<Group>,
}

impl Origins {
    /// Names must be unique; of two equal ones the later wins.
    pub fn new(groups: impl IntoIterator<Item = Arc<Group>>) -> Self {
        let route = |group: Arc<Group>| {
            let path = Path { current: group.clone(), previous: group.clone() };
            (group.name().to_owned(), Route { own: group, path: ArcSwap::from_pointee(path) })
        };
        Origins { routes: groups.into_iter().map(route).collect() }
    }

    /// The group that answers for `name` now.
    pub fn group(&self, name: &str) -> Option<Arc<Group>> {
        self.routes.get(name).map(|route| route.path.load().current.clone())
    }

    /// Starts health checks and discovery on this runtime.
    pub fn watch(&self) {
        for route in self.routes.values() {
            route.own.watch();
        }
    }

    /// Makes the group called `to` answer for `name`.
    pub fn switch(&self, name: &str, to: &str) -> Result<(), String> {
        let route = self.route(name)?;
        let target = self.route(to)?.own.clone();
        route.path.rcu(|path| Path {
            current: target.clone(),
            previous: if path.current.name() == to {
                path.previous.clone()
            } else {
                path.current.clone()
            },
        });
        tracing::warn!(origin = name, to, "origin switched");
        Ok(())
    }

    /// Back to the group before the last switch. Returns its name.
    pub fn roll_back(&self, name: &str) -> Result<String, String> {
        let route = self.route(name)?;
        let old = route
            .path
            .rcu(|path| Path { current: path.previous.clone(), previous: path.current.clone() });
        tracing::warn!(origin = name, to = old.previous.name(), "origin rolled back");
        Ok(old.previous.name().to_owned())
    }

    /// Takes a server out; requests in flight finish.
    pub fn drain(&self, name: &str, server: &str) -> Result<(), String> {
        self.route(name)?.own.drain(server, true)
    }

    /// Takes a server back in, with a slow start.
    pub fn resume(&self, name: &str, server: &str) -> Result<(), String> {
        self.route(name)?.own.drain(server, false)
    }

    /// Changes the share of a server, 0 to 1000.
    pub fn set_weight(&self, name: &str, server: &str, weight: u32) -> Result<(), String> {
        self.route(name)?.own.set_weight(server, weight)
    }

    /// All groups by name.
    pub fn states(&self) -> Vec<GroupState> {
        let mut states: Vec<GroupState> = self
            .routes
            .values()
            .map(|route| {
                let mut state = route.own.state();
                let current = route.path.load();
                if current.current.name() != route.own.name() {
                    state.switched_to = Some(current.current.name().to_owned());
                }
                state
            })
            .collect();
        states.sort_by(|a, b| a.name.cmp(&b.name));
        states
    }

    fn route(&self, name: &str) -> Result<&Route, String> {
        self.routes.get(name).ok_or_else(|| format!("no origin is called {name:?}"))
    }
}
