//! Idle connections: for each runtime thread and server plain stacks.
//!
//! The newest connection is used first, so that a pool that is too large shrinks by its
//! idle deadline. A connection opened on one thread is used there and is taken by
//! requests of that thread only; a wake-up across threads costs more than a second
//! connection. The lock is for the keeper, whose task may run elsewhere where a runtime has
//! several threads; nobody else waits for it. Stacks of servers that no longer exist are
//! dropped by the keeper, and when a new server's first connection comes in.
//!
//! An HTTP/1 connection begins bare. Hyper is put around it by the first request that has a
//! body or asks for an upgrade, and then for good, on a stack of its own: taking it off again
//! would mean to wait for its task.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bare::Bare;
use super::keeper::Keeper;
use super::lease::Link;
use super::link::{Shared, Solo};
use super::options::PoolOptions;
use super::server::Server;

thread_local! {
    static SHELVES: Arc<Mutex<Shelves>> = Arc::default();
}

/// The connections of this thread.
#[derive(Debug, Default)]
pub struct Shelves {
    by_server: BTreeMap<u64, Shelf>,
    pub(super) keeper: Keeper,
}

/// The connections of one server on this thread.
#[derive(Debug)]
struct Shelf {
    owner: Weak<Server>,
    // Boxed, because it is moved often and a connection is large.
    #[expect(clippy::vec_box)]
    bare: Vec<Box<Bare>>,
    solo: Vec<Solo>,
    shared: Vec<Shared>,
    /// Connections being opened ahead of need.
    opening: usize,
}

impl Shelves {
    /// Closes what was called, and what has rested for its time; returns when the next one
    /// will have.
    pub fn sweep(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        self.by_server.retain(|_, shelf| {
            let Some(server) = shelf.owner.upgrade() else { return false };
            let rest = server.pool_options().idle_timeout;
            shelf.bare.retain_mut(|one| {
                let quiet = !one.is_called() || one.is_quiet();
                let end = one.rested + rest;
                if quiet && end > now {
                    next = Some(next.map_or(end, |next| next.min(end)));
                }
                quiet && end > now
            });
            true
        });
        next
    }
}

/// Takes an idle connection of `server`, if there is one, for a request that goes without
/// hyper if `bare`. For a request that goes `once`, not one that rested for long: its server
/// may be closing it now, and then nobody could say whether the request was heard (RFC 9112
/// 9.3.1).
pub fn take(server: &Server, now: Instant, (bare, once): (bool, bool)) -> Option<Link> {
    let options = server.pool_options();
    with_shelf(server.id(), |shelf| {
        if let Some(one) = shelf.shared(now, options) {
            return Some(Link::Shared(one));
        }
        let fresh = |rested| !once || since(rested, now) < options.rest_once_max;
        while !bare && let Some(one) = shelf.solo.pop_if(|one| fresh(one.rested)) {
            if one.sender.is_ready() && is_young(one.born, now, options) {
                return Some(Link::Solo(one));
            }
        }
        while let Some(mut one) = shelf.bare.pop_if(|one| fresh(one.rested)) {
            let quiet = !one.is_called() || one.is_quiet();
            let rested = since(one.rested, now) < options.idle_timeout;
            if quiet && rested && is_young(one.born, now, options) {
                return Some(Link::Bare(one));
            }
        }
        None
    })
    .flatten()
}

impl Shelf {
    /// An HTTP/2 connection with room for one more.
    fn shared(&mut self, now: Instant, options: &PoolOptions) -> Option<Shared> {
        self.shared.retain(|one| {
            !one.sender.is_closed() && !one.line.is_spoiled() && is_young(one.born, now, options)
        });
        let free = self.shared.iter().find(|one| (one.line.busy() as usize) < options.streams_max);
        free.cloned()
    }

    fn resting(&self) -> usize {
        self.bare.len() + self.solo.len()
    }
}

/// Keeps an HTTP/1 connection whose exchange ended properly.
pub fn put(server: &Arc<Server>, link: Link, now: Instant) {
    let options = server.pool_options();
    match link {
        Link::Bare(mut one) => {
            if !one.rest(now) || !is_young(one.born, now, options) || !one.is_quiet() {
                return;
            }
            with_new_shelf(server, |shelf| {
                let room = shelf.resting() < options.idle_max;
                if room {
                    shelf.bare.push(one);
                }
                room
            });
        }
        Link::Solo(mut one) => {
            if one.sender.is_closed() || !is_young(one.born, now, options) {
                return;
            }
            one.rested = now;
            with_new_shelf(server, |shelf| {
                if shelf.resting() >= options.idle_max {
                    shelf.solo.retain(|one| !one.sender.is_closed());
                }
                if shelf.resting() < options.idle_max {
                    shelf.solo.push(one);
                }
                false
            });
        }
        Link::Shared(_) => {}
    }
}

/// Whether one more connection should be opened ahead of need, up to `wanted` idle ones;
/// the caller opens it and calls [`opened`].
pub fn wants(server: &Arc<Server>, wanted: usize) -> bool {
    let mut wants = false;
    with_new_shelf(server, |shelf| {
        wants = shelf.shared.is_empty() && shelf.resting() + shelf.opening < wanted;
        shelf.opening += usize::from(wants);
        false
    });
    wants
}

/// An attempt that [`wants`] asked for is over.
pub fn opened(server: &Arc<Server>) {
    with_new_shelf(server, |shelf| {
        shelf.opening = shelf.opening.saturating_sub(1);
        false
    });
}

/// Makes a fresh HTTP/2 connection known to this thread.
pub fn share(server: &Arc<Server>, one: Shared) {
    with_new_shelf(server, |shelf| {
        shelf.shared.push(one);
        false
    });
}

fn is_young(born: Instant, now: Instant, options: &PoolOptions) -> bool {
    since(born, now) < options.age_max
}

fn since(then: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(then)
}

fn with_shelf<R>(id: u64, work: impl FnOnce(&mut Shelf) -> R) -> Option<R> {
    // The thread may be ending: then there is no pool any more.
    SHELVES.try_with(|shelves| shelves.lock().by_server.get_mut(&id).map(work)).ok().flatten()
}

/// `work` says whether there is something new for the keeper.
fn with_new_shelf(server: &Arc<Server>, work: impl FnOnce(&mut Shelf) -> bool) {
    let _ = SHELVES.try_with(|all| {
        let mut shelves = all.lock();
        if !shelves.by_server.contains_key(&server.id()) {
            shelves.by_server.retain(|_, shelf| shelf.owner.strong_count() > 0);
        }
        let shelf = shelves.by_server.entry(server.id()).or_insert_with(|| Shelf {
            owner: Arc::downgrade(server),
            bare: Vec::new(),
            solo: Vec::new(),
            shared: Vec::new(),
            opening: 0,
        });
        if work(shelf) {
            shelves.keeper.call(all);
        }
    });
}
