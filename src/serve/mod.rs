//! Level 4: the journey of one exchange from request to last byte.
//!
//! `rules` decides, `store` keeps, `origin` fetches, `front` speaks with clients; here the
//! four meet in the order that `exchange` shows.

mod answer;
mod ask;
pub mod body;
mod carry;
mod deliver;
mod exchange;
mod fetch;
mod fill;
pub mod flights;
mod follow;
mod interim;
mod log;
mod memo;
mod miss;
mod order;
mod pass;
mod pieces;
mod purge;
mod routing;
mod straight;
mod straight_pieces;
mod upgrade;
mod visit;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response, StatusCode, request};

pub use body::Body;
pub use purge::{Purged, Purger, Purging};
pub use routing::{Place, Routing};

use crate::base::{Clock, Now};
use crate::front::{Answering, Connection, Handler, Plain, Upload};
use crate::origin::Answer;
use crate::rules::entry::{Entry, Slot};
use crate::rules::fault::Fault;
use crate::rules::key::{Key, KeySeed};
use crate::rules::ledger::{Ledger, Verdict};
use crate::rules::variant;
use crate::store::{Disk, Memory};
use crate::telemetry::{Count, Event, Telemetry};

use flights::{Flight, Flights, Progress};
use memo::Memos;

/// Settings of the journey.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a key whose answer could not be shared is not queued for.
    pub uncacheable_memo: Duration,
    /// How long a follower waits for the head of somebody else's fetch before it asks for
    /// itself. Longer than an origin's first-byte deadline: when the origin hangs, the
    /// followers share the leader's 504 and do not ask the hanging origin one after another.
    pub follow_wait: Duration,
    /// How long a request that a stale copy may answer waits for an origin that is silent
    /// before that copy answers it (RFC 5861 4: the answer would become a 504).
    pub stale_wait: Duration,
    /// Largest body kept, in bytes; longer ones stream through. At most a share of the
    /// memory tier, whatever the sites' policies say.
    pub object_max: u64,
    /// Bytes of bodies that may be held whole while they are being filled, all together.
    /// What comes beyond streams through a bounded window and is not stored.
    pub fills_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            uncacheable_memo: Duration::from_secs(120),
            follow_wait: Duration::from_secs(20),
            stale_wait: Duration::from_secs(5),
            object_max: 64 << 20,
            fills_max: 128 << 20,
        }
    }
}

/// What all exchanges share.
pub struct Shared {
    /// Time.
    pub clock: Clock,
    /// Seed of the key hash.
    pub seed: KeySeed,
    /// Sites and origins; swapped on reload.
    pub routing: ArcSwap<Routing>,
    /// The memory tier.
    pub memory: Arc<Memory>,
    /// The disk tier, if there is one.
    pub disk: Option<Arc<Disk>>,
    /// Purges.
    pub ledger: Arc<Ledger>,
    /// Fetches under way.
    pub flights: Arc<Flights>,
    /// Counters, log, tail.
    pub telemetry: Telemetry,
    /// Settings.
    pub options: Options,
    /// Takes `PURGE` from clients, if anybody does.
    pub purger: OnceLock<Purger>,
    memos: Memos,
    /// Ranges of large objects on their way in.
    runs: Arc<pieces::Runs>,
    /// Bytes of bodies held whole by fills under way.
    filling: AtomicU64,
    retired: AtomicBool,
}

/// Where answers are kept, and what purges say of them.
pub struct Stores {
    /// The memory tier.
    pub memory: Arc<Memory>,
    /// The disk tier, if there is one.
    pub disk: Option<Arc<Disk>>,
    /// Purges.
    pub ledger: Arc<Ledger>,
}

impl Shared {
    /// Remembers that the answer for `key` could not be shared.
    fn remember_uncacheable(&self, key: u128, now: Now) {
        self.memos.remember_uncacheable(key, now, self.options.uncacheable_memo);
    }

    /// Puts the parts together.
    pub fn new(
        clock: Clock,
        seed: KeySeed,
        routing: Routing,
        stores: Stores,
        telemetry: Telemetry,
        options: Options,
    ) -> Self {
        Shared {
            clock,
            seed,
            routing: ArcSwap::from_pointee(routing),
            memory: stores.memory,
            disk: stores.disk,
            ledger: stores.ledger,
            flights: Arc::default(),
            telemetry,
            options,
            purger: OnceLock::new(),
            memos: Memos::default(),
            runs: Arc::default(),
            filling: AtomicU64::new(0),
            retired: AtomicBool::new(false),
        }
    }

    /// The slot of `key` in memory, less what a purge has hit since it was last looked at.
    fn lookup(&self, key: &Key) -> Option<Slot> {
        let slot = self.memory.get(key)?;
        self.unpurged(key, slot)
    }

    /// Whether it is worth asking the disk for `key`.
    fn on_disk(&self, key: &Key) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.contains(key))
    }

    /// The slot of `key` on disk, brought up into memory.
    async fn lookup_disk(&self, key: &Key) -> Option<Slot> {
        let slot = self.disk.as_ref()?.get(key).await?;
        self.memory.promote(key, &slot);
        // Invalidated while it was read: it must not live on in memory.
        if !self.on_disk(key) || self.retired.load(Ordering::SeqCst) {
            self.memory.remove(key);
        }
        self.unpurged(key, slot)
    }

    /// Whether a hard purge has hit `entry`.
    fn is_purged(&self, entry: &Entry) -> bool {
        self.ledger.verdict(entry) == Verdict::Gone
    }

    fn unpurged(&self, key: &Key, mut slot: Slot) -> Option<Slot> {
        let before = slot.variants.len();
        slot.variants.retain(|entry| !self.is_purged(entry));
        if slot.variants.len() < before {
            // The sweep will find it too; nobody should have to look at it again.
            self.memory.remove(key);
            for entry in slot.variants.iter().rev() {
                self.memory.put(key, entry.clone());
            }
        }
        (!slot.variants.is_empty()).then_some(slot)
    }

    /// Whether something is stored that a fetch which began later, or was quicker, has brought:
    /// fetches of one key may run side by side, and the last to end need not be the newest
    /// (RFC 9111 4: of several suitable answers the most recent one is used).
    fn is_outrun(&self, key: &Key, entry: &Entry) -> bool {
        self.holds(key, |held| {
            held.freshness.received_mono_ms > entry.freshness.received_mono_ms
                && (held.is_whole() || !entry.is_whole())
                && variant::competes(held, entry)
        })
    }

    /// Whether another answer has taken the place of `entry` since it was looked up.
    fn is_replaced(&self, key: &Key, entry: &Entry) -> bool {
        self.holds(key, |held| {
            held.freshness.received_mono_ms > entry.freshness.received_mono_ms
                && held.is_whole()
                && (held.vary.is_none() || held.vary == entry.vary)
        })
    }

    fn holds(&self, key: &Key, wanted: impl Fn(&Entry) -> bool) -> bool {
        let slot = self.memory.peek(key);
        slot.is_some_and(|(slot, _)| slot.variants.iter().any(|held| wanted(held)))
    }

    /// Puts `entry` into the cache unless a purge since its request was sent hit it.
    fn store(&self, key: &Key, entry: Arc<Entry>) {
        if !self.is_purged(&entry) && !self.is_outrun(key, &entry) {
            if let Some(disk) = &self.disk {
                // Chosen by other fields than before: those of the disk would come back when
                // memory has given this one up, which the disk may not take.
                let other =
                    |held: &&Arc<Entry>| held.vary != entry.vary && variant::competes(held, &entry);
                if let Some((slot, _)) = self.memory.peek(key) {
                    slot.variants.iter().filter(other).for_each(|held| disk.remove_variant(held));
                }
                disk.put(entry.clone());
            }
            self.memory.put(key, entry);
            if self.retired.load(Ordering::SeqCst) {
                self.memory.remove(key);
                return;
            }
            self.telemetry.counters.add(Count::Stored, 1);
        }
    }

    /// Puts a piece into the cache unless a purge since its request was sent hit it.
    fn store_piece(&self, key: &Key, piece: Arc<Entry>) {
        if !self.is_purged(&piece) {
            if let Some(disk) = &self.disk {
                disk.put(piece.clone());
            }
            self.memory.put(key, piece);
            self.telemetry.counters.add(Count::PieceStored, 1);
        }
    }

    /// Ranges of large objects on their way in.
    pub fn piece_runs(&self) -> usize {
        self.runs.len()
    }

    /// Counts a request that was sent to the origin called `name`, by what came of it.
    fn asked<E>(&self, name: &str, answer: &Result<Answer, E>) {
        let code = answer.as_ref().map(|answer| answer.response.status());
        let code = code.as_ref().map_or("error", StatusCode::as_str);
        self.telemetry.counters.note(Event::OriginRequest, &[name, code], 1);
    }

    /// Another process has the cache from now on, and its purges: nothing that is stored
    /// here is used any more and nothing is stored, while what runs is finished.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.memory.clear();
    }

    /// Drops what is stored under `key` and dooms a fetch under way for it.
    fn invalidate(&self, key: &Key) {
        self.flights.doom(key.hash());
        // The disk first: a lookup that brings up what it read looks there again after.
        if let Some(disk) = &self.disk {
            disk.remove(key);
        }
        self.memory.remove(key);
    }

    /// What the purges since the flight began say of what it brings.
    fn overtaken(&self, flight: &Flight, progress: &Progress) -> Verdict {
        if flight.seq == self.ledger.seq() {
            return Verdict::Live;
        }
        match progress {
            Progress::Shared { head: entry, .. }
            | Progress::Landed { entry, .. }
            | Progress::Settled { entry, .. }
            | Progress::Pieces { manifest: entry, .. } => {
                self.ledger.verdict_of(&entry.key, &entry.tags, flight.seq)
            }
            Progress::Requested | Progress::Alone | Progress::Failed(_) => Verdict::Live,
        }
    }
}

/// The handler that `front` calls.
#[derive(Clone)]
pub struct Serve {
    shared: Arc<Shared>,
}

impl Serve {
    /// A handler over the shared state.
    pub fn new(shared: Arc<Shared>) -> Self {
        Serve { shared }
    }
}

impl Handler for Serve {
    type Body = Body;

    async fn handle(&self, request: Request<Upload>, conn: Arc<Connection>) -> Response<Body> {
        exchange::exchange(&self.shared, request, conn).await
    }

    fn plain(&self, head: request::Parts, conn: &Arc<Connection>) -> Option<Answering<Body>> {
        Some(exchange::plain(&self.shared, head, conn.clone()))
    }

    fn refuse(&self, fault: Fault, conn: Arc<Connection>) -> Response<Body> {
        let meter = log::Meter::start(&self.shared, &conn);
        answer::fault(&self.shared.routing.load().node, fault, meter)
    }

    type Ready = straight::Standing;

    fn ready(
        &self,
        asked: &Plain<'_>,
        conn: &Arc<Connection>,
        head: &mut Vec<u8>,
    ) -> Option<Self::Ready> {
        straight::ready(&self.shared, asked, conn, head)
    }

    fn ready_http2(
        &self,
        asked: &request::Parts,
        conn: &Connection,
    ) -> Option<(Response<()>, Self::Ready)> {
        straight::ready_http2(&self.shared, asked, conn)
    }

    fn sent(&self, ready: Self::Ready, asked: &Plain<'_>, conn: &Connection, told: (u64, bool)) {
        straight::sent(&self.shared, &ready, asked, conn, told);
    }
}
