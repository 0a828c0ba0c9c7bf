//! Where every record lies: fingerprint of the key hash to place, in memory.
//!
//! 20 bytes a record plus one control byte of the table, so 24 bytes an object in a table
//! that is full and 48 in one that has just doubled. The tables are of uneven sizes, so
//! that they double at different times: 33 to 38 bytes, however many there are
//! (`tests::index`). What comes and goes leaves marks in a table; one that is full of them
//! is made anew, because hashbrown would double it instead (89 bytes an object).
//! The fingerprint is half of the 128-bit keyed hash: the whole hash and the key's text
//! are compared on every read, so two keys that share it cost each other a miss at worst.
//! Variants of a key are separate records under one fingerprint, told apart by their
//! variant fingerprint; of two with the same one the later counts. Rejected: one record
//! for all variants (each new variant would rewrite the others), a B-tree (twice the
//! memory), keys in memory (listing is rare and can read the disk).

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as TableEntry;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::format::ALIGN;
use super::meta::VARIANT_BITS;
use crate::store::policy::lanes::READS_MAX;

const SHARDS: usize = 256;
/// Steps in which the keys are divided among them.
const STEPS: usize = 4096;
const VARIANT_MASK: u32 = (1 << VARIANT_BITS) - 1;

/// Number of segment slots that a [`Place`] can name.
pub const SLOTS_MAX: u32 = 1 << 20;

/// Where a record lies: 20 bits of segment slot, 22 bits of offset and 22 of length, both
/// in units of 64 bytes (so 256 MiB each).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u64);

impl Place {
    /// `None` if a part does not fit or is no multiple of 64.
    pub fn new(slot: u32, offset: u64, len: u64) -> Option<Self> {
        let unit = ALIGN as u64;
        let fits = slot < SLOTS_MAX && offset / unit < 1 << 22 && len / unit < 1 << 22;
        let aligned = offset.is_multiple_of(unit) && len.is_multiple_of(unit);
        (fits && aligned)
            .then(|| Place(u64::from(slot) << 44 | (offset / unit) << 22 | (len / unit)))
    }

    /// The segment's slot.
    pub fn slot(self) -> u32 {
        (self.0 >> 44) as u32
    }

    /// Byte offset in the segment.
    pub fn offset(self) -> u64 {
        (self.0 >> 22 & 0x3f_ffff) * ALIGN as u64
    }

    /// Length of the record in bytes.
    pub fn len(self) -> u64 {
        (self.0 & 0x3f_ffff) * ALIGN as u64
    }

    /// A place of no bytes does not occur.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// What a lookup finds.
pub type Found = SmallVec<[(u32, Place); 2]>;

#[derive(Clone, Copy)]
struct Item([u32; 5]);

impl Item {
    fn new(print: u64, variant: u32, place: Place, reads: u32) -> Self {
        let (p, l) = (print, place.0);
        let last = (variant & VARIANT_MASK) | reads.min(READS_MAX) << VARIANT_BITS;
        Item([p as u32, (p >> 32) as u32, l as u32, (l >> 32) as u32, last])
    }

    fn print(&self) -> u64 {
        u64::from(self.0[1]) << 32 | u64::from(self.0[0])
    }

    fn place(&self) -> Place {
        Place(u64::from(self.0[3]) << 32 | u64::from(self.0[2]))
    }

    fn variant(&self) -> u32 {
        self.0[4] & VARIANT_MASK
    }

    fn reads(&self) -> u32 {
        self.0[4] >> VARIANT_BITS
    }

    fn mark_read(&mut self) {
        if self.reads() < READS_MAX {
            self.0[4] += 1 << VARIANT_BITS;
        }
    }
}

/// The index of one directory. All methods take `&self`; locks are a 256th each and held
/// for one table operation.
pub struct Index {
    shards: Box<[Mutex<HashTable<Item>>]>,
    /// Which of them has the keys of a step.
    division: Box<[u8; STEPS]>,
}

impl Default for Index {
    fn default() -> Self {
        // The last shard gets twice what the first one gets, and between them each a little
        // more than the one before: one doubling of all of them together.
        let shard = |step| ((1.0 + step as f64 / STEPS as f64).log2() * SHARDS as f64) as u8;
        Index {
            shards: (0..SHARDS).map(|_| Mutex::new(HashTable::new())).collect(),
            division: Box::new(std::array::from_fn(shard)),
        }
    }
}

/// Before an insertion into a table without room: a new one with an eighth to spare. It is of
/// the same size if marks of what has gone took the room.
fn make_room(table: &mut HashTable<Item>) {
    if table.len() < table.capacity() {
        return;
    }
    let mut roomy = HashTable::with_capacity(table.len() + table.len() / 8 + 1);
    for item in table.drain() {
        roomy.insert_unique(item.print(), item, Item::print);
    }
    *table = roomy;
}

/// The half of the key hash that the index keeps.
pub fn print_of(hash: u128) -> u64 {
    (hash >> 64) as u64
}

impl Index {
    fn shard(&self, print: u64) -> &Mutex<HashTable<Item>> {
        // The low bits choose the bucket and the top seven the tag within a table, so the
        // shard is chosen by bits that are neither.
        &self.shards[usize::from(self.division[(print >> 40) as usize % STEPS])]
    }

    /// All variants of a key; marks them as read.
    pub fn lookup(&self, print: u64) -> Found {
        let mut found = Found::new();
        for item in self.shard(print).lock().iter_hash_mut(print) {
            if item.print() == print {
                item.mark_read();
                found.push((item.variant(), item.place()));
            }
        }
        found
    }

    /// Whether a variant of a key beside this one is here. Marks nothing.
    pub fn contains_other(&self, print: u64, variant: u32) -> bool {
        let other = |item: &Item| item.print() == print && item.variant() != variant;
        self.shard(print).lock().find(print, other).is_some()
    }

    /// Whether any variant of a key is here. Marks nothing.
    pub fn contains(&self, print: u64) -> bool {
        self.shard(print).lock().find(print, |item| item.print() == print).is_some()
    }

    /// Whether this variant is here. Marks nothing.
    pub fn contains_variant(&self, print: u64, variant: u32) -> bool {
        let same = |item: &Item| item.print() == print && item.variant() == variant;
        self.shard(print).lock().find(print, same).is_some()
    }

    /// Puts a record in that counts as read so often, in place of an older one of the same
    /// variant, which is returned.
    pub fn insert(&self, print: u64, variant: u32, place: Place, reads: u32) -> Option<Place> {
        let item = Item::new(print, variant, place, reads);
        let same = |other: &Item| other.print() == print && other.variant() == item.variant();
        let mut shard = self.shard(print).lock();
        make_room(&mut shard);
        match shard.entry(print, same, Item::print) {
            TableEntry::Occupied(mut found) => {
                Some(std::mem::replace(found.get_mut(), item).place())
            }
            TableEntry::Vacant(vacant) => {
                vacant.insert(item);
                None
            }
        }
    }

    /// Moves a record from `from` to `to` (which may be the same) unless it has changed
    /// meanwhile, and leaves it so many reads. Answers whether it did.
    pub fn repoint(&self, print: u64, from: Place, to: Place, reads: u32) -> bool {
        let mut shard = self.shard(print).lock();
        let same = |item: &Item| item.print() == print && item.place() == from;
        match shard.find_mut(print, same) {
            Some(item) => {
                *item = Item::new(print, item.variant(), to, reads);
                true
            }
            None => false,
        }
    }

    /// Drops all variants of a key; returns how many records and bytes that were.
    pub fn remove(&self, print: u64) -> Freed {
        let mut freed = Freed::default();
        let mut shard = self.shard(print).lock();
        while let Ok(found) = shard.find_entry(print, |item| item.print() == print) {
            freed.add(found.remove().0.place());
        }
        freed
    }

    /// Drops one variant of a key.
    pub fn remove_variant(&self, print: u64, variant: u32) -> bool {
        let same = |item: &Item| item.print() == print && item.variant() == variant;
        match self.shard(print).lock().find_entry(print, same) {
            Ok(found) => {
                found.remove();
                true
            }
            Err(_) => false,
        }
    }

    /// Drops the record at `place` if it is still the one of this key.
    pub fn remove_exact(&self, print: u64, place: Place) -> bool {
        let mut shard = self.shard(print).lock();
        let same = |item: &Item| item.print() == print && item.place() == place;
        match shard.find_entry(print, same) {
            Ok(found) => {
                found.remove();
                true
            }
            Err(_) => false,
        }
    }

    /// How often (0 to 3, then saturating) the record at `place` was looked up since it
    /// was written there; `None` if the key is not there any more.
    pub fn reads(&self, print: u64, place: Place) -> Option<u32> {
        let same = |item: &Item| item.print() == print && item.place() == place;
        self.shard(print).lock().find(print, same).map(Item::reads)
    }

    /// The same of whatever record this variant of the key has.
    pub fn reads_of(&self, print: u64, variant: u32) -> Option<u32> {
        let same = |item: &Item| item.print() == print && item.variant() == variant;
        self.shard(print).lock().find(print, same).map(Item::reads)
    }

    /// Drops everything that lies in one segment, by walking the whole index.
    pub fn remove_slot(&self, slot: u32) -> Freed {
        let mut freed = Freed::default();
        for shard in &self.shards {
            shard.lock().retain(|item| {
                let keep = item.place().slot() != slot;
                if !keep {
                    freed.add(item.place());
                }
                keep
            });
        }
        freed
    }

    /// Drops everything.
    pub fn clear(&self) {
        for shard in &self.shards {
            shard.lock().clear();
        }
    }

    /// The records of the `n`-th part (of [`Index::parts`]), in the order they lie on disk.
    pub fn part(&self, n: usize) -> Vec<(u64, Place)> {
        let Some(shard) = self.shards.get(n) else { return Vec::new() };
        let mut items: Vec<_> =
            shard.lock().iter().map(|item| (item.print(), item.place())).collect();
        items.sort_unstable_by_key(|(_, place)| *place);
        items
    }

    /// Number of parts a walk takes.
    pub fn parts(&self) -> usize {
        SHARDS
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory the tables occupy.
    pub fn memory(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().allocation_size()).sum()
    }
}

/// What a removal gave up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Number of records.
    pub records: u64,
    /// Their bytes on disk.
    pub bytes: u64,
}

impl Freed {
    /// Counts one more.
    pub fn add(&mut self, place: Place) {
        self.records += 1;
        self.bytes += place.len();
    }
}
