//! Objects in pieces: answering from them, and fetching the ones that are missing.
//!
//! ```text
//!  manifest ─► which bytes? ─► first gap? ──no──► head, then the pieces one by one
//!                                  │yes                    │ memory, a run under way, disk
//!                                  ▼                       ▼ or else
//!                        a run: ranges of the origin from the gap to the next piece held
//! ```
//! A *run* fetches neighbouring pieces. Everybody who needs its bytes while they pass reads
//! its window (`store::window`), and every piece that is whole goes into both tiers at once,
//! so a run may stop at any time without loss: it does when nobody reads it any more. It asks
//! the origin for a stride at a time (`rules::pieces::stride`), short at first and longer the
//! longer it is read, because what has been asked for fills the system's buffers (tens of
//! MiB of a fast connection) whether it is read or not: so seeking in a film costs what was
//! watched and about as much again, not a buffer a seek. The head
//! goes out only when the first gap has been agreed to by the origin, because until then
//! a changed object can still be answered as what it is now; later it can only be cut.
//!
//! - [`answer`]: from manifest to response.
//! - [`begin`]: an answer that turns out to be large becomes manifest and first run.
//! - [`run`]: the range requests, the judgement on their answers, the copying.
//! - [`assembly`]: the piece that is coming in.
//! - [`reader`]: the body of a client.
//! - [`table`]: which runs are under way.

mod answer;
mod assembly;
mod begin;
mod reader;
mod run;
mod table;

use std::sync::Arc;

pub(super) use answer::{answer, at_hand, hit};
pub(super) use begin::{Found, begin, split};
pub(super) use reader::{PieceBody, Segment};
pub(super) use table::Runs;

use super::Shared;
use super::order::Order;
use crate::rules::entry::{Entry, weight_of};
use crate::rules::key::Key;
use crate::rules::ledger::Verdict;
use crate::rules::pieces::{self, Grid};
use crate::store::disk::Lent;

/// What is needed to find or fetch pieces of one object for one client.
pub(super) struct Ask {
    pub shared: Arc<Shared>,
    /// Who asks, and where it is asked for.
    pub order: Order,
    pub manifest: Arc<Entry>,
    pub grid: Grid,
    pub version: u128,
}

impl Ask {
    /// `None` if `manifest` is none.
    pub fn new(shared: &Arc<Shared>, order: Order, manifest: &Arc<Entry>) -> Option<Arc<Ask>> {
        let (grid, version) = pieces::of(manifest)?;
        let (shared, manifest) = (shared.clone(), manifest.clone());
        Some(Arc::new(Ask { shared, order, manifest, grid, version }))
    }

    fn key(&self, n: u64) -> Key {
        pieces::key(self.shared.seed, &self.manifest.key, self.version, n)
    }

    /// Piece `n`, if it is in memory.
    fn in_memory(&self, n: u64) -> Option<Arc<Entry>> {
        let slot = self.shared.memory.get(&self.key(n))?;
        self.sound(n, slot.variants.first()?)
    }

    /// Piece `n`, if it is on disk; it is brought up into memory.
    async fn on_disk(&self, n: u64) -> Option<Arc<Entry>> {
        let key = self.key(n);
        let slot = self.shared.disk.as_ref()?.get(&key).await?;
        let piece = self.sound(n, slot.variants.first()?)?;
        self.shared.memory.put(&key, piece.clone());
        Some(piece)
    }

    /// Piece `n` as it lies on disk, if it can be read without waiting and memory would not
    /// keep it anyway.
    fn lent(&self, n: u64) -> Option<Lent> {
        let shared = &self.shared;
        let disk = shared.disk.as_ref()?;
        // What it weighs with all that comes with it: a tier that is just too small takes none.
        if shared.memory.is_worth_trying(weight_of(0, pieces::PIECE)) {
            return None;
        }
        let lent = disk.lend(&self.key(n))?;
        let sound = pieces::is_part(self.grid, n, &lent.entry, lent.body_len())
            && shared.ledger.verdict(&lent.entry) != Verdict::Gone;
        sound.then_some(lent)
    }

    /// The piece, if it is what it should be and no purge has hit it.
    fn sound(&self, n: u64, found: &Arc<Entry>) -> Option<Arc<Entry>> {
        let good = pieces::is_sound(self.grid, n, found)
            && self.shared.ledger.verdict(found) != Verdict::Gone;
        good.then(|| found.clone())
    }

    /// Whether piece `n` seems to be held or on its way: a hint, no promise.
    fn has(&self, n: u64) -> bool {
        self.at_rest(n) || self.shared.runs.serves(self.version, n * pieces::PIECE)
    }

    /// Whether it seems to be held.
    fn at_rest(&self, n: u64) -> bool {
        let key = self.key(n);
        let found = self.shared.memory.peek(&key);
        let sound = found.is_some_and(|(slot, _)| {
            slot.variants.first().is_some_and(|piece| self.sound(n, piece).is_some())
        });
        sound || self.shared.on_disk(&key)
    }

    /// Whether the origin cannot be asked for ranges of this object, as far as is known.
    fn whole_only(&self) -> bool {
        pieces::validator(&self.manifest.head).is_none()
            || pieces::refuses_ranges(&self.manifest.head)
            || self.shared.memos.is_whole_only(self.version, self.shared.clock.now())
    }
}
