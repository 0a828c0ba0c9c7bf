//! The purge ledger on disk: an append-only file, synced before a purge is acknowledged.
//!
//! ```text
//! [header 64: magic "BRKl", version, floor, seq, crc]
//! [frame: magic 4, payload length 4, seq 8, crc of those 4, payload, crc of payload 4] ...
//! ```
//! A purge that was acknowledged must be one after a crash, and a purge must never be lost
//! silently. So a frame's header and its payload are checked apart: a frame that merely
//! ends too early is the torn tail of a call that was never answered and is cut off;
//! anything else that does not verify means that a purge may be unknown, and
//! [`Restored::damaged`] raises the floor so that everything stored before counts as gone.
//! The payload is the caller's (`rules::purge` encodes itself). Rejected: redb and SQLite
//! (a purge is one small append), one file per purge.
//!
//! Sequence numbers are given out by the caller in rising order, and only after
//! [`LedgerFile::append`] has returned may a purge take effect: then a number that an
//! entry carries is never used again for another purge.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::FlockOperation;

use super::disk::format::{Flaw, HEADER, checked, sealed};
use super::disk::wire::Cursor;

const MAGIC: [u8; 4] = *b"BRKl";
const FRAME: [u8; 4] = *b"BRKp";
const VERSION: u16 = 1;
/// Bytes of a frame before its payload, and behind it.
const FRAME_FRONT: usize = 20;
const FRAME_BACK: usize = 4;
/// Longest payload in bytes.
pub const PAYLOAD_MAX: usize = 64 << 10;
/// Longest file that is read at the start, in bytes.
const FILE_MAX: u64 = 1 << 30;
/// Numbers skipped when purges may have been lost: more than one call can make.
const LOST_MAX: u64 = 1 << 10;

/// What the file kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The newest sequence number given out.
    pub seq: u64,
    /// Purges up to this number are forgotten.
    pub floor: u64,
    /// Number and payload of every purge kept, oldest first.
    pub records: Vec<(u64, Vec<u8>)>,
    /// The file did not verify: purges may be lost, and `floor` and `seq` were raised so
    /// that nothing stored before is used.
    pub damaged: bool,
    /// There was no file: this one is new.
    pub made: bool,
}

/// The open file. Appends are serialised by a lock.
pub struct LedgerFile {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    len: u64,
    broken: bool,
    released: bool,
}

impl LedgerFile {
    /// Opens or makes the file at `path` and reads what it kept.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process has it,
    /// [`io::ErrorKind::Unsupported`] if a later version wrote it, and what the system says.
    pub fn open(path: &Path) -> io::Result<(Self, Restored)> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(FILE_MAX).read_to_end(&mut bytes)?;
        let (restored, good) = restore(&bytes)?;
        let inner = Inner { file, len: good as u64, broken: false, released: false };
        let ledger = LedgerFile { path: path.to_owned(), inner: Mutex::new(inner) };
        if restored.damaged || good < HEADER {
            let bytes = image(restored.floor, restored.seq, &restored.records)?;
            *ledger.inner.lock() = ledger.replace(&bytes)?;
        } else if good < bytes.len() {
            let inner = ledger.inner.lock();
            inner.file.set_len(good as u64)?;
            inner.file.sync_all()?;
        }
        Ok((ledger, restored))
    }

    /// Appends purges and syncs once. When it returns they survive any crash.
    ///
    /// # Errors
    /// What the system says: then none of them may be acknowledged. After a failed sync
    /// the kernel no longer knows what is on disk, so the next call first makes a new file
    /// of what was good before.
    pub fn append(&self, records: &[(u64, Vec<u8>)]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (seq, payload) in records {
            frame(*seq, payload, &mut bytes)?;
        }
        let mut inner = self.inner.lock();
        inner.open()?;
        if inner.broken {
            let good = inner.good()?;
            *inner = self.replace(&good)?;
        }
        let written = inner.append(&bytes);
        if written.is_err() {
            inner.broken = true;
            let len = inner.len;
            let _ = inner.file.set_len(len);
        }
        written
    }

    /// Replaces the file by one with `floor`, `seq` and `records`, after purges were
    /// forgotten. Numbers above `seq` and the records, which another thread has appended and
    /// not yet applied, are kept.
    ///
    /// # Errors
    /// What the system says; the old file is still in place then.
    pub fn rewrite(&self, floor: u64, seq: u64, records: &[(u64, Vec<u8>)]) -> io::Result<()> {
        let mut bytes = image(floor, seq, records)?;
        let known = records.last().map_or(seq, |(last, _)| seq.max(*last));
        let mut inner = self.inner.lock();
        inner.open()?;
        let (own, _) = restore(&inner.good()?)?;
        for (seq, payload) in own.records.iter().filter(|(seq, _)| *seq > known) {
            frame(*seq, payload, &mut bytes)?;
        }
        *inner = self.replace(&bytes)?;
        Ok(())
    }

    /// Lets another process have the file: every later call fails.
    pub fn release(&self) {
        let mut inner = self.inner.lock();
        inner.released = true;
        let _ = rustix::fs::flock(&inner.file, FlockOperation::Unlock);
    }

    /// Makes a new file of `bytes` and puts it in place of the old one.
    fn replace(&self, bytes: &[u8]) -> io::Result<Inner> {
        let new = self.path.with_extension("new");
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&new)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(Inner { file, len: bytes.len() as u64, broken: false, released: false })
    }

    /// Length of the file in bytes; when it is far more than what is kept, rewrite it.
    pub fn len(&self) -> u64 {
        self.inner.lock().len
    }

    /// Whether it holds no purge.
    pub fn is_empty(&self) -> bool {
        self.len() <= HEADER as u64
    }
}

impl Inner {
    /// Fails once the file belongs to another process.
    fn open(&self) -> io::Result<()> {
        match self.released {
            true => Err(io::Error::other("another process has the ledger")),
            false => Ok(()),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(bytes)?;
        self.file.sync_data()?;
        // Removed, with its directory perhaps: then nobody will find what was written.
        if rustix::fs::fstat(&self.file)?.st_nlink == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the ledger file was removed"));
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// The bytes that were good before an append failed.
    fn good(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        Read::by_ref(&mut self.file).take(self.len).read_to_end(&mut bytes)?;
        let (restored, good) = restore(&bytes)?;
        if restored.damaged || good as u64 != self.len {
            return Err(io::Error::other("the ledger file failed and cannot be read again"));
        }
        Ok(bytes)
    }
}

/// A whole file.
fn image(floor: u64, seq: u64, records: &[(u64, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut bytes = header(floor, seq).to_vec();
    for (seq, payload) in records {
        frame(*seq, payload, &mut bytes)?;
    }
    Ok(bytes)
}

fn header(floor: u64, seq: u64) -> [u8; HEADER] {
    let mut out = Vec::with_capacity(HEADER);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&floor.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.resize(HEADER - 4, 0);
    sealed(out)
}

fn frame(seq: u64, payload: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    if payload.len() > PAYLOAD_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a purge above 64 KiB"));
    }
    let mut front = Vec::with_capacity(FRAME_FRONT);
    front.extend_from_slice(&FRAME);
    front.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    front.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&front);
    out.extend_from_slice(&crc32fast::hash(&front).to_le_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    Ok(())
}

/// One frame, as far as it is one.
enum Step<'a> {
    /// A whole one, and its length with frame.
    Whole { seq: u64, payload: &'a [u8], len: usize },
    /// The bytes end before the frame does.
    Torn,
    /// Not a frame.
    Flawed,
}

fn step(bytes: &[u8]) -> Step<'_> {
    let Some((front, rest)) = bytes.split_at_checked(FRAME_FRONT) else { return Step::Torn };
    let mut cursor = Cursor::new(front);
    let mut fields = || Some((cursor.take(4)?, cursor.u32()?, cursor.u64()?, cursor.u32()?));
    let Some((magic, len, seq, crc)) = fields() else { return Step::Torn };
    let covered = front.get(..FRAME_FRONT - 4).unwrap_or_default();
    let len = len as usize;
    if magic != FRAME || crc != crc32fast::hash(covered) || len > PAYLOAD_MAX {
        return Step::Flawed;
    }
    let Some((payload, rest)) = rest.split_at_checked(len) else { return Step::Torn };
    match Cursor::new(rest).u32() {
        Some(crc) if crc == crc32fast::hash(payload) => {
            Step::Whole { seq, payload, len: FRAME_FRONT + len + FRAME_BACK }
        }
        Some(_) => Step::Flawed,
        None => Step::Torn,
    }
}

/// Reads a whole file; also how many bytes of it are good. Total.
fn restore(bytes: &[u8]) -> io::Result<(Restored, usize)> {
    let mut restored = Restored::default();
    if bytes.is_empty() {
        restored.made = true;
        return Ok((restored, 0));
    }
    let fields = |cursor: &mut Cursor<'_>| {
        cursor.take(2)?;
        Some((cursor.u64()?, cursor.u64()?))
    };
    match bytes.get(..HEADER).ok_or(Flaw::Length).and_then(|head| checked(head, MAGIC, VERSION)) {
        Ok(mut cursor) => {
            (restored.floor, restored.seq) = fields(&mut cursor).unwrap_or_default();
        }
        Err(Flaw::Version(_)) => {
            let text = "the ledger file was written by a later version";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        // A file that a crash kept from being made holds no purge.
        Err(Flaw::Length | Flaw::Blank) if bytes.len() <= HEADER => return Ok((restored, 0)),
        Err(_) => restored.damaged = true,
    }
    let mut at = HEADER.min(bytes.len());
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match step(rest) {
            Step::Whole { seq, payload, len } => {
                restored.seq = restored.seq.max(seq);
                restored.records.push((seq, payload.to_vec()));
                at += len;
            }
            Step::Torn if !restored.damaged => break,
            Step::Torn | Step::Flawed => {
                restored.damaged = true;
                let next = memchr::memmem::find(rest.get(1..).unwrap_or_default(), &FRAME);
                at = next.map_or(bytes.len(), |skip| at + 1 + skip);
            }
        }
    }
    if restored.damaged {
        restored.seq += LOST_MAX;
        restored.floor = restored.seq;
    }
    Ok((restored, at))
}

#[cfg(test)]
mod tests;
