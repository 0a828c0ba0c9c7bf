//! A disk in memory, with what a real one does to its users: it fails, tears, flips, and
//! loses at a power cut whatever was not synced.
//!
//! Each file has two contents, what a reader sees and what a power cut leaves. In memory,
//! because a read is then always answered at once and on the caller's thread: with real
//! files some reads would go to a pool of threads and a run could not be repeated.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use brink::store::disk::device::{Device, DeviceFile};
use parking_lot::Mutex;

use super::dice::Dice;
use super::step::DiskFault;

/// What a power cut keeps or loses at a time.
const BLOCK: usize = 4096;

/// The platter: outlives the nodes that use it.
#[derive(Default)]
pub struct Platter {
    files: Mutex<BTreeMap<String, Arc<File>>>,
    fault: Mutex<Option<DiskFault>>,
}

struct File {
    platter: Arc<Platter>,
    content: Mutex<Content>,
}

struct Content {
    seen: Vec<u8>,
    /// Blocks written since the last sync, as they were then.
    unsynced: BTreeMap<usize, Vec<u8>>,
    /// Bytes of holes.
    holes: u64,
}

/// The device of one run of the node.
pub struct Disk(pub Arc<Platter>);

impl Platter {
    /// Makes the disk fail in that way, or work.
    pub fn set_fault(&self, fault: Option<DiskFault>) {
        *self.fault.lock() = fault;
    }

    /// Bytes of files.
    pub fn used(&self) -> u64 {
        self.files.lock().values().map(|file| file.content.lock().held()).sum()
    }

    /// The power goes: of the blocks not synced some are there and some are not.
    pub fn cut_power(&self, dice: &mut Dice) {
        for file in self.files.lock().values() {
            let mut content = file.content.lock();
            for (block, before) in std::mem::take(&mut content.unsynced) {
                if dice.percent(50) {
                    let at = block * BLOCK;
                    let end = (at + before.len()).min(content.seen.len());
                    content.seen[at..end].copy_from_slice(&before[..end - at]);
                }
            }
        }
    }

    fn fails(&self, kinds: &[DiskFault]) -> io::Result<()> {
        match *self.fault.lock() {
            Some(DiskFault::Full) if kinds.contains(&DiskFault::Full) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            Some(fault) if kinds.contains(&fault) => Err(io::Error::other("simulated fault")),
            _ => Ok(()),
        }
    }

    fn file(self: &Arc<Self>, len: u64) -> Arc<File> {
        let content = Content { seen: vec![0; len as usize], unsynced: BTreeMap::new(), holes: 0 };
        Arc::new(File { platter: self.clone(), content: Mutex::new(content) })
    }
}

impl Device for Disk {
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DeviceFile>> {
        self.0.fails(&[DiskFault::Writes, DiskFault::Torn, DiskFault::Full])?;
        let file = self.0.file(len);
        match self.0.files.lock().entry(name.to_owned()) {
            std::collections::btree_map::Entry::Occupied(_) => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(file.clone());
                Ok(file)
            }
        }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DeviceFile>> {
        self.0.fails(&[DiskFault::Reads])?;
        let files = self.0.files.lock();
        let found = files.get(name).ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        Ok(found.clone())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.fails(&[DiskFault::Writes])?;
        let mut files = self.0.files.lock();
        let file = files.remove(from).ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.fails(&[DiskFault::Writes])?;
        let gone = self.0.files.lock().remove(name);
        gone.map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.fails(&[DiskFault::Reads])?;
        Ok(self.0.files.lock().keys().cloned().collect())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.fails(&[DiskFault::Syncs])
    }

    fn release(&self) {}

    fn reopen(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Content {
    fn held(&self) -> u64 {
        self.seen.len() as u64 - self.holes
    }
}

impl File {
    fn write(content: &mut Content, buf: &[u8], offset: u64) -> io::Result<usize> {
        let at = offset as usize;
        let end = (at + buf.len()).min(content.seen.len());
        let Some(len) = end.checked_sub(at).filter(|len| *len > 0 || buf.is_empty()) else {
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        for block in at / BLOCK..end.div_ceil(BLOCK) {
            let from = block * BLOCK;
            let to = (from + BLOCK).min(content.seen.len());
            let before = content.seen[from..to].to_vec();
            content.unsynced.entry(block).or_insert(before);
        }
        content.seen[at..end].copy_from_slice(&buf[..len]);
        Ok(len)
    }
}

impl DeviceFile for File {
    fn size(&self) -> io::Result<u64> {
        self.platter.fails(&[DiskFault::Reads])?;
        Ok(self.content.lock().seen.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.platter.fails(&[DiskFault::Reads])?;
        let content = self.content.lock();
        let at = (offset as usize).min(content.seen.len());
        let len = buf.len().min(content.seen.len() - at);
        buf[..len].copy_from_slice(&content.seen[at..at + len]);
        if len > 0 && *self.platter.fault.lock() == Some(DiskFault::FlipReads) {
            buf[(offset as usize / 7) % len] ^= 1 << (offset % 8);
        }
        Ok(len)
    }

    fn read_now(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut content = self.content.lock();
        if *self.platter.fault.lock() == Some(DiskFault::Torn) {
            Self::write(&mut content, &buf[..buf.len() / 2], offset)?;
        }
        self.platter.fails(&[DiskFault::Writes, DiskFault::Torn, DiskFault::Full])?;
        Self::write(&mut content, buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.platter.fails(&[DiskFault::Syncs])?;
        self.content.lock().unsynced.clear();
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        self.platter.fails(&[DiskFault::Writes])?;
        let zeros = vec![0; len as usize];
        Self::write(&mut self.content.lock(), &zeros, offset).map(|_| ())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.zero(offset, len)?;
        self.content.lock().holes += len;
        Ok(())
    }

    fn held(&self) -> io::Result<u64> {
        self.platter.fails(&[DiskFault::Reads])?;
        Ok(self.content.lock().held())
    }
}
