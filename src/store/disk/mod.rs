//! The disk tier: segments of records in one or more directories, an index in memory.
//!
//! ```text
//! put/evicted -> admit -> queue -> writer thread -> segment files -> reclaim (FIFO), thin
//!                          |          '-> index (published when the bytes are written)
//! get -> queue (still waiting?) -> index -> page cache now, or reader pool -> verify
//! ```
//! Every variant of a key is a record of its own (see `index`); a lookup gathers them
//! into a [`Slot`]. A directory joins in the background: until then it misses. Whatever
//! goes wrong is a miss and a counter. Purges are judged by the ledger on what a lookup
//! returns ([`Entry::checked_seq`] starts at [`Entry::seq`]); [`Disk::sweep`] then frees the
//! space. There is no snapshot file: footers hold the same facts (see `segment`).
//!
//! Durability: records reach the kernel within a batch, the disk when their segment is
//! sealed, at [`Disk::sync`] and at [`Disk::close`]. `kill -9` loses what was queued; power
//! loss may lose the unsealed segment. What is lost or torn is a miss.
//!
//! Rejected: foyer (whole-entry reads only, no listing), a file per object (inodes,
//! unlink storms), an LSM tree (writes bodies again and again).

mod active;
mod burial;
pub mod device;
pub mod directory;
pub mod faulty;
pub mod format;
pub mod health;
pub mod identity;
pub mod index;
mod lend;
mod life;
pub mod marks;
pub mod meta;
pub mod offline;
mod open;
pub mod options;
pub mod payload;
pub mod queue;
pub mod rate;
pub mod reader;
mod reclaim;
mod recover;
mod room;
pub mod segment;
pub mod service;
mod sweep;
mod thin;
pub mod wire;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use smallvec::SmallVec;

use self::device::Device;
use self::directory::Directory;
pub use self::health::State;
pub use self::identity::DiskError;
use self::index::{Place, print_of};
pub use self::lend::Lent;
use self::meta::{Run, UNVARIED};
use self::open::take;
pub use self::options::{AdmitPolicy, DirectoryOptions, Options};
use self::payload::Payload;
use self::queue::{ALL_VARIANTS, Command, Job};
use self::reader::{ReadFault, ReadPool, Record, Wait, read_record};
pub use self::service::DirectoryStats;
pub use self::sweep::SweepReport;
use crate::base::Clock;
use crate::rules::entry::{Entry, Extent, Slot};
use crate::rules::key::{Key, KeySeed};
pub use crate::store::policy::admission::Offer;

/// The disk tier of a node.
pub struct Disk {
    members: Vec<Member>,
    seed: KeySeed,
    options: Options,
}

struct Member {
    weight: f64,
    dir: Arc<Directory>,
    pool: ReadPool,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Disk {
    /// Opens the directories and returns at once; they join in the background.
    ///
    /// # Errors
    /// A directory that is locked by another process, or not a store of this version and
    /// with this seed: nothing has been written to it then. One that is not accessible is
    /// out from the start, unless none is accessible.
    pub fn open(options: Options, clock: Clock) -> Result<Self, DiskError> {
        Self::open_with(options, clock, &|_, device| device)
    }

    /// Like [`Disk::open`], with each directory's device passed through `wrap`: the seam
    /// for fault injection.
    ///
    /// # Errors
    /// As [`Disk::open`].
    pub fn open_with(
        options: Options,
        clock: Clock,
        wrap: &dyn Fn(usize, Arc<dyn Device>) -> Arc<dyn Device>,
    ) -> Result<Self, DiskError> {
        let (taken, seed) = take(&options, wrap)?;
        let run = Run(rand::random());
        let mut disk = Disk { members: Vec::new(), seed, options };
        for (own, device, lost) in taken {
            let dir = Directory::new(&disk.options, &own, device, clock.clone(), run);
            if let Some(error) = lost {
                tracing::error!(path = %own.path.display(), %error, "disk directory is out");
                dir.health.take_out(error.to_string());
            }
            disk.members.push(Member::start(Arc::new(dir), &disk.options)?);
        }
        Ok(disk)
    }

    /// The seed that keys must be hashed with.
    pub fn seed(&self) -> KeySeed {
        self.seed
    }

    /// The directory of a key: rendezvous hashing by weight, so that adding or losing one
    /// moves only its own share.
    fn member(&self, hash: u128) -> Option<&Member> {
        if let [only] = self.members.as_slice() {
            return Some(only);
        }
        let score = |member: &Member| {
            let mixed = xxhash_rust::xxh3::xxh3_64_with_seed(&hash.to_le_bytes(), member.id());
            let uniform = (mixed >> 11) as f64 / (1u64 << 53) as f64;
            member.weight / -uniform.max(f64::MIN_POSITIVE).ln()
        };
        self.members.iter().max_by(|a, b| score(a).total_cmp(&score(b)))
    }

    /// All stored variants of `key`, newest first. Anything that is wrong is a miss.
    pub async fn get(&self, key: &Key) -> Option<Slot> {
        let member = self.member(key.hash()).filter(|member| member.dir.is_ready())?;
        let slot = member.get(key, &self.options).await;
        let counters = &member.dir.counters;
        if slot.is_some() {
            counters.hits.one()
        } else {
            counters.misses.one()
        }
        slot
    }

    /// The same without counting a hit or miss, for those who only look.
    pub async fn look(&self, key: &Key) -> Option<Slot> {
        let member = self.member(key.hash()).filter(|member| member.dir.is_ready())?;
        member.get(key, &self.options).await
    }

    /// Whether something is stored under the hash of `key`; a quick hint, no promise.
    pub fn contains(&self, key: &Key) -> bool {
        self.member(key.hash()).is_some_and(|member| {
            member.dir.is_ready()
                && (member.dir.index.contains(print_of(key.hash()))
                    || !member.dir.queue.pending(key.hash()).is_empty())
        })
    }

    /// Offers what has just been stored or freshened. Never blocks; whether it is written
    /// is decided by admission and room.
    pub fn put(&self, entry: Arc<Entry>) {
        self.offer(entry, Offer::Stored);
    }

    /// Offers what the memory tier has given up after `hits` hits there.
    pub fn evicted(&self, entry: Arc<Entry>, hits: u32) {
        self.offer(entry, Offer::Evicted { hits });
    }

    fn offer(&self, entry: Arc<Entry>, why: Offer) {
        let key = Key::new(self.seed, SmallVec::from_slice(&entry.key));
        let Some(member) = self.member(key.hash()) else { return };
        let (dir, hash) = (&member.dir, key.hash());
        let (print, variant) = (print_of(hash), meta::variant_of(&entry));
        let held = dir.index.contains_variant(print, variant)
            || dir.queue.pending(hash).iter().any(|waits| waits.variant() == variant);
        if replaces_all(&entry, why) && dir.holds_other(hash, variant) {
            // It answers every request, so the others are never asked again; should it be
            // purged or lost they must not come back in its place.
            self.remove(&key);
        }
        // Older than this one, and varying on nothing: it would answer in its place.
        let unvaried = matches!(why, Offer::Stored) && entry.vary.is_some() && entry.is_whole();
        if unvaried && dir.index.contains_variant(print, UNVARIED) {
            dir.remove_variant(hash, UNVARIED);
        }
        if !dir.is_ready() {
            // What is on disk is older than this: it must not come back later.
            dir.counters.writes_shed.one();
            self.remove(&key);
        } else if !dir.admission.admits(why, print, held) {
            dir.counters.declined.one();
        } else if !dir.rate.takes(entry.weight(), dir.clock.now().mono_ms)
            || !dir.queue.put(hash, variant, Payload::Entry(entry))
        {
            dir.counters.writes_shed.one();
            if held {
                dir.remove_variant(hash, variant);
            }
        }
    }

    /// Removes all variants of `key`. In effect when it returns; after a crash too once
    /// the writer has caught up. Answers whether there was anything.
    pub fn remove(&self, key: &Key) -> bool {
        let Some(member) = self.member(key.hash()) else { return false };
        let (dir, hash) = (&member.dir, key.hash());
        let index = || dir.index.remove(print_of(hash)).records > 0;
        dir.queue.remove(hash, ALL_VARIANTS, || dir.is_ready(), index)
    }

    /// Removes the variant that `entry` is, as [`Disk::remove`] does all of them.
    pub fn remove_variant(&self, entry: &Entry) {
        let key = Key::new(self.seed, SmallVec::from_slice(&entry.key));
        if let Some(member) = self.member(key.hash()) {
            member.dir.remove_variant(key.hash(), meta::variant_of(entry));
        }
    }

    /// Makes everything offered so far durable. False if a directory could not: one that is
    /// not in service knows of what was removed since in memory alone.
    pub async fn sync(&self) -> bool {
        let mut all = true;
        for member in &self.members {
            if !member.dir.is_ready() {
                all = false;
                continue;
            }
            let (sender, done) = tokio::sync::oneshot::channel();
            member.dir.queue.order(Job::Sync(sender));
            all &= done.await.unwrap_or(false);
        }
        all
    }

    /// Writes what is queued, leaves a checkpoint in each directory, stops and lets the
    /// directories go: afterwards everything misses. Blocks for as long as the disks take;
    /// call it off the network threads.
    pub fn close(&self) {
        for member in &self.members {
            member.dir.queue.command(Command::Close);
        }
        self.members.iter().for_each(Member::join);
    }
}

/// Whether no older variant of its key counts any more (see `rules::variant::join`).
fn replaces_all(entry: &Entry, why: Offer) -> bool {
    matches!(why, Offer::Stored) && entry.vary.is_none() && entry.extent == Extent::Whole
}

impl Drop for Disk {
    /// Without [`Disk::close`] the directories are left as a crash would leave them.
    fn drop(&mut self) {
        for member in &self.members {
            member.dir.queue.command(Command::Abort);
        }
        self.members.iter().for_each(Member::join);
    }
}

impl Member {
    fn start(dir: Arc<Directory>, options: &Options) -> Result<Self, DiskError> {
        let failed = |error| DiskError::Io { path: dir.path.clone(), error };
        let pool = ReadPool::new(options.read_threads, options.reads_queued_max).map_err(failed)?;
        let shared = Arc::clone(&dir);
        let writer = std::thread::Builder::new()
            .name("disk-write".into())
            .spawn(move || life::run(shared))
            .map_err(failed)?;
        Ok(Member { weight: dir.capacity as f64, dir, pool, writer: Mutex::new(Some(writer)) })
    }

    fn id(&self) -> u64 {
        self.dir.id.load(Ordering::Relaxed)
    }

    fn join(&self) {
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            let _ = writer.join();
            self.dir.device.release();
        }
    }

    async fn get(&self, key: &Key, options: &Options) -> Option<Slot> {
        let mut variants: SmallVec<[Arc<Entry>; 1]> = SmallVec::new();
        let mut seen: SmallVec<[u32; 4]> = SmallVec::new();
        for waiting in self.dir.queue.pending(key.hash()) {
            let Payload::Entry(entry) = waiting;
            let variant = meta::variant_of(&entry);
            if *entry.key == *key.text() && !seen.contains(&variant) {
                seen.push(variant);
                variants.push(entry);
            }
        }
        let mut found = Vec::new();
        for (variant, place) in self.dir.index.lookup(print_of(key.hash())) {
            if seen.contains(&variant) {
                continue;
            }
            if let Some((serial, entry)) = self.read_entry(key, place, options).await {
                found.push(((serial, place.offset()), entry));
            }
        }
        found.sort_by_key(|one| std::cmp::Reverse(one.0));
        variants.extend(found.into_iter().map(|(_, entry)| Arc::new(entry)));
        (!variants.is_empty()).then_some(Slot { variants })
    }

    async fn read_entry(&self, key: &Key, place: Place, options: &Options) -> Option<(u64, Entry)> {
        let record = self.read(key.hash(), place, options).await?;
        if record.header.hash != key.hash() {
            return None;
        }
        let now = self.dir.clock.now();
        let judged = self.dir.marks.judged(&record.header, place.offset());
        let entry = meta::decode(&record.meta, record.body, judged, now, self.dir.run);
        match entry {
            Some(entry) => (*entry.key == *key.text()).then_some((record.header.serial, entry)),
            None => {
                self.dir.flawed(print_of(key.hash()), place);
                None
            }
        }
    }

    /// Reads a record: from the page cache here, else on the pool.
    async fn read(&self, hash: u128, place: Place, options: &Options) -> Option<Record> {
        let segment = self.dir.segments.at(place.slot())?;
        let counters = &self.dir.counters;
        if place.len() <= options.read_inline_max.bytes() {
            match read_record(&segment, place, Wait::No) {
                Err(ReadFault::WouldBlock) => {}
                other => {
                    counters.reads_inline.one();
                    return self.dir.judged(other, hash, place);
                }
            }
        }
        counters.reads_pooled.one();
        let (sender, answer) = tokio::sync::oneshot::channel();
        let task = move || {
            let _ = sender.send(read_record(&segment, place, Wait::Yes));
        };
        if !self.pool.submit(Box::new(task)) {
            counters.reads_shed.one();
            return None;
        }
        match tokio::time::timeout(options.read_timeout, answer).await {
            Ok(answer) => {
                self.dir.late.store(0, Ordering::Relaxed);
                self.dir.judged(answer.ok()?, hash, place)
            }
            Err(_) => {
                counters.reads_shed.one();
                self.dir.late();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
