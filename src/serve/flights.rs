//! One fetch per key: the flight table.
//!
//! ```text
//!  join ──► Lead ──► HeadKnown(Shared) ──► Landed (in the cache, leaves the table)
//!    └────► Follow      ├─► Alone     the answer is nobody else's: everyone asks for himself
//!                       ├─► Settled   a stored entry was confirmed, or rescues the failure
//!                       └─► Failed    nothing to serve
//! ```
//!
//! A `Lead` is handed out once per key and is what the fetch owns: whoever drops it without
//! a word fails the flight, so a follower never hangs and never takes silence for an end.
//! The table is sharded; a shard's lock is held for a map operation, never across an await.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::rules::entry::Entry;
use crate::rules::fault::Fault;
use crate::store::spool::Spool;

const SHARDS: usize = 64;

/// What a flight's followers can know.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Asked, no answer yet.
    Requested,
    /// The head is known and the answer may be shared; the body streams.
    Shared {
        /// The entry to be, without its body.
        head: Arc<Entry>,
        /// Its body.
        spool: Arc<Spool>,
        /// The origin's status.
        fwd_status: u16,
    },
    /// The answer may be shared and all of it is here.
    Landed {
        /// The entry.
        entry: Arc<Entry>,
        /// The origin's status.
        fwd_status: u16,
    },
    /// A large object: its pieces come by themselves.
    Pieces {
        /// What they are found by.
        manifest: Arc<Entry>,
        /// The origin's status.
        fwd_status: u16,
    },
    /// The answer may not be shared: followers ask for themselves.
    Alone,
    /// A stored entry answers: confirmed by a 304, or rescuing from `fault`.
    Settled {
        /// The entry.
        entry: Arc<Entry>,
        /// The origin's status, if it answered.
        fwd_status: Option<u16>,
        /// Why a stale entry has to serve.
        rescued_from: Option<Fault>,
    },
    /// There is nothing to serve.
    Failed(Fault),
}

/// Which flight: the hash of the key, and what sets flights of one key apart (the variant
/// a stored entry names, a range that is fetched alone).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlightId {
    /// Hash of the key.
    pub key: u128,
    /// Zero for the plain flight of the key.
    pub apart: u64,
}

type Shard = Mutex<HashMap<FlightId, Arc<Flight>>>;

/// The table.
#[derive(Debug)]
pub struct Flights {
    shards: Box<[Shard]>,
    solos: AtomicU64,
}

/// One fetch under way.
#[derive(Debug)]
pub struct Flight {
    progress: Mutex<Progress>,
    /// Wakes those who wait for the progress to be known.
    news: Notify,
    /// Something has changed at the origin meanwhile: serve the waiters, store nothing.
    doomed: AtomicBool,
    /// Ledger sequence when the fetch began: a purge after it dooms the flight.
    pub seq: u64,
}

/// What [`Flights::join`] gives.
#[derive(Debug)]
pub enum Joined {
    /// You fetch.
    Lead(Lead),
    /// Somebody fetches already.
    Follow(Arc<Flight>),
}

/// The right and the duty to fetch one key.
#[derive(Debug)]
pub struct Lead {
    flights: Arc<Flights>,
    id: FlightId,
    flight: Arc<Flight>,
}

impl Default for Flights {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Flights { shards, solos: AtomicU64::new(0) }
    }
}

impl Flights {
    /// Leads the flight `id`, or follows the one under way. One that began before `seq` is
    /// followed too: the follower decides whether the purge in between concerns it, and
    /// calls [`Flights::supersede`] if so.
    pub fn join(self: &Arc<Self>, id: FlightId, seq: u64) -> Joined {
        let mut shard = self.shard(id.key).lock();
        match shard.entry(id) {
            MapEntry::Occupied(flight) => Joined::Follow(flight.get().clone()),
            MapEntry::Vacant(place) => {
                let (lead, flight) = self.launch(id, seq);
                place.insert(flight);
                Joined::Lead(lead)
            }
        }
    }

    /// A flight that nobody joins: for keys whose answers could not be shared lately. It is
    /// in the table all the same, so that it can be doomed.
    pub fn alone(self: &Arc<Self>, key: u128, seq: u64) -> Lead {
        // Odd numbers are taken by hashes of what sets flights apart.
        let apart = self.solos.fetch_add(1, Ordering::Relaxed).wrapping_mul(2).wrapping_add(2);
        let id = FlightId { key, apart };
        let (lead, flight) = self.launch(id, seq);
        self.shard(key).lock().insert(id, flight);
        lead
    }

    /// Takes `old` out of the table if it is still there, so that the next `join` leads:
    /// a purge or time has overtaken it. Those who already follow it are served; what it
    /// brings is not stored, because it may land after its successor and be older.
    pub fn supersede(&self, id: FlightId, old: &Arc<Flight>) {
        old.doomed.store(true, Ordering::Release);
        self.take_out(id, old);
    }

    fn take_out(&self, id: FlightId, old: &Arc<Flight>) {
        let mut shard = self.shard(id.key).lock();
        if shard.get(&id).is_some_and(|flight| Arc::ptr_eq(flight, old)) {
            shard.remove(&id);
        }
    }

    /// Dooms every flight of `key`: what they bring is not stored, and nobody joins them
    /// any more (an unsafe method has just changed the resource, RFC 9111 4.4).
    pub fn doom(&self, key: u128) {
        self.shard(key).lock().retain(|id, flight| {
            if id.key == key {
                flight.doomed.store(true, Ordering::Release);
            }
            id.key != key
        });
    }

    /// Flights under way.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn launch(self: &Arc<Self>, id: FlightId, seq: u64) -> (Lead, Arc<Flight>) {
        let flight = Arc::new(Flight {
            progress: Mutex::new(Progress::Requested),
            news: Notify::new(),
            doomed: AtomicBool::new(false),
            seq,
        });
        let lead = Lead { flights: self.clone(), id, flight: flight.clone() };
        (lead, flight)
    }

    fn shard(&self, key: u128) -> &Shard {
        &self.shards[key as usize % SHARDS]
    }
}

impl Flight {
    /// Waits until the head is known (or better); at once if it is.
    pub async fn known(&self) -> Progress {
        loop {
            // Heard from here on, so that nothing is missed between the look and the wait.
            let mut news = pin!(self.news.notified());
            news.as_mut().enable();
            let now = self.progress.lock().clone();
            if !matches!(now, Progress::Requested) {
                return now;
            }
            news.await;
        }
    }

    fn publish(&self, progress: Progress) {
        *self.progress.lock() = progress;
        self.news.notify_waiters();
    }
}

impl Lead {
    /// Tells everybody how far it is.
    pub fn publish(&self, progress: Progress) {
        self.flight.publish(progress);
    }

    /// The sequence number of the ledger when this flight began.
    pub fn seq(&self) -> u64 {
        self.flight.seq
    }

    /// Whether what it brings must not be stored.
    pub fn is_doomed(&self) -> bool {
        self.flight.doomed.load(Ordering::Acquire)
    }

    /// Nobody may join any more; those who follow are served to the end.
    pub fn leave_table(&self) {
        self.flights.take_out(self.id, &self.flight);
    }
}

impl Drop for Lead {
    /// Leaves the table; a lead that never said anything has failed.
    fn drop(&mut self) {
        self.leave_table();
        if matches!(*self.flight.progress.lock(), Progress::Requested) {
            self.flight.publish(Progress::Failed(Fault::Internal));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: u128) -> FlightId {
        FlightId { key, apart: 0 }
    }

    #[tokio::test]
    async fn a_flight_alone_is_joined_by_nobody_and_can_be_doomed() {
        let flights = Arc::new(Flights::default());
        let (one, two) = (flights.alone(7, 1), flights.alone(7, 1));
        assert!(matches!(flights.join(id(7), 1), Joined::Lead(_)));
        flights.doom(7);
        assert!(one.is_doomed() && two.is_doomed());
        drop((one, two));
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn a_doomed_flight_is_left_alone_by_those_who_come_later() {
        let flights = Arc::new(Flights::default());
        let Joined::Lead(old) = flights.join(id(7), 1) else { panic!("leads") };
        flights.doom(7);
        assert!(old.is_doomed());
        let Joined::Lead(new) = flights.join(id(7), 1) else { panic!("leads anew") };
        assert!(!new.is_doomed());
    }

    #[tokio::test]
    async fn one_leads_others_follow_and_a_dropped_lead_fails_them() {
        let flights = Arc::new(Flights::default());
        let Joined::Lead(lead) = flights.join(id(7), 1) else { panic!("the first one leads") };
        let Joined::Follow(flight) = flights.join(id(7), 1) else { panic!("the second follows") };
        assert!(matches!(flights.join(id(8), 1), Joined::Lead(_)));
        drop(lead);
        assert!(matches!(flight.known().await, Progress::Failed(Fault::Internal)));
        assert!(matches!(flights.join(id(7), 1), Joined::Lead(_)));
    }

    #[tokio::test]
    async fn a_superseded_flight_does_not_take_its_successor_out() {
        let flights = Arc::new(Flights::default());
        let Joined::Lead(old) = flights.join(id(7), 1) else { panic!("leads") };
        let Joined::Follow(flight) = flights.join(id(7), 2) else { panic!("follows") };
        flights.supersede(id(7), &flight);
        let Joined::Lead(new) = flights.join(id(7), 2) else { panic!("leads anew") };
        drop(old);
        assert!(matches!(flights.join(id(7), 2), Joined::Follow(_)));
        drop(new);
        assert!(flights.is_empty());
    }
}
