//! Idle connections: for each runtime thread and server a plain stack, no lock.
//!
//! The newest connection is used first, so that a pool that is too large shrinks by its
//! idle deadline. A connection opened on one thread is driven there and is taken by
//! requests of that thread only; a wake-up across threads costs more than a second
//! connection. Stacks of servers that no longer exist are dropped when a new server's
//! first connection comes in.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::link::{Shared, Solo};
use super::options::PoolOptions;
use super::server::Server;

thread_local! {
    static SHELVES: RefCell<HashMap<u64, Shelf>> = RefCell::new(HashMap::new());
}

/// The connections of one server on this thread.
struct Shelf {
    owner: Weak<Server>,
    solo: Vec<Solo>,
    shared: Vec<Shared>,
    /// Connections being opened ahead of need.
    opening: usize,
}

/// A usable connection of either kind.
pub enum Taken {
    /// HTTP/1, now ours alone.
    Solo(Solo),
    /// HTTP/2, shared.
    Shared(Shared),
}

/// Takes an idle connection of `server`, if there is one. For a request that goes `once`,
/// not one that rested for long: its server may be closing it now, and then nobody could
/// say whether the request was heard (RFC 9112 9.3.1).
pub fn take(server: &Server, now: Instant, once: bool) -> Option<Taken> {
    let options = server.pool_options();
    with_shelf(server.id(), |shelf| {
        shelf.shared.retain(|one| {
            !one.sender.is_closed() && !one.line.is_spoiled() && is_young(one.born, now, options)
        });
        let free = shelf.shared.iter().find(|one| (one.line.busy() as usize) < options.streams_max);
        if let Some(one) = free {
            return Some(Taken::Shared(one.clone()));
        }
        let rested = |one: &Solo| now.saturating_duration_since(one.rested);
        while let Some(one) = shelf.solo.pop() {
            if once && rested(&one) >= options.rest_once_max {
                shelf.solo.push(one);
                return None;
            }
            if one.sender.is_ready() && is_young(one.born, now, options) {
                return Some(Taken::Solo(one));
            }
        }
        None
    })
    .flatten()
}

/// Keeps an HTTP/1 connection whose exchange ended properly.
pub fn put(server: &Arc<Server>, mut one: Solo, now: Instant) {
    let options = server.pool_options();
    if one.sender.is_closed() || !is_young(one.born, now, options) {
        return;
    }
    one.rested = now;
    with_new_shelf(server, |shelf| {
        if shelf.solo.len() >= options.idle_max {
            shelf.solo.retain(|one| !one.sender.is_closed());
        }
        if shelf.solo.len() < options.idle_max {
            shelf.solo.push(one);
        }
    });
}

/// Whether one more connection should be opened ahead of need, up to `wanted` idle ones;
/// the caller opens it and calls [`opened`].
pub fn wants(server: &Arc<Server>, wanted: usize) -> bool {
    let mut wants = false;
    with_new_shelf(server, |shelf| {
        wants = shelf.shared.is_empty() && shelf.solo.len() + shelf.opening < wanted;
        shelf.opening += usize::from(wants);
    });
    wants
}

/// An attempt that [`wants`] asked for is over.
pub fn opened(server: &Arc<Server>) {
    with_new_shelf(server, |shelf| shelf.opening = shelf.opening.saturating_sub(1));
}

/// Makes a fresh HTTP/2 connection known to this thread.
pub fn share(server: &Arc<Server>, one: Shared) {
    with_new_shelf(server, |shelf| shelf.shared.push(one));
}

fn is_young(born: Instant, now: Instant, options: &PoolOptions) -> bool {
    now.checked_duration_since(born).unwrap_or(Duration::ZERO) < options.age_max
}

fn with_shelf<R>(id: u64, work: impl FnOnce(&mut Shelf) -> R) -> Option<R> {
    // The thread may be ending: then there is no pool any more.
    SHELVES.try_with(|shelves| shelves.try_borrow_mut().ok()?.get_mut(&id).map(work)).ok().flatten()
}

fn with_new_shelf(server: &Arc<Server>, work: impl FnOnce(&mut Shelf)) {
    let _ = SHELVES.try_with(|shelves| {
        let Ok(mut shelves) = shelves.try_borrow_mut() else { return };
        if !shelves.contains_key(&server.id()) {
            shelves.retain(|_, shelf| shelf.owner.strong_count() > 0);
        }
        let shelf = shelves.entry(server.id()).or_insert_with(|| Shelf {
            owner: Arc::downgrade(server),
            solo: Vec::new(),
            shared: Vec::new(),
            opening: 0,
        });
        work(shelf);
    });
}
