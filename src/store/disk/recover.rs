//! Finds out what is on disk: footers where there are any, a scan where there are none.
//!
//! Segments are taken in the order of their serials and their records in the order they
//! lie, later ones winning, tombstones voiding: the same order in which they were
//! written. Files that are not segments, and segments of another format version, are
//! left where they are and count against the capacity; nothing foreign is ever deleted. One
//! that was being made when the process was killed is removed.
//! A segment whose records cannot be known may have held tombstones and marks: nothing that
//! was written before it is used again, or what was purged or replaced would come back.
//! The space behind the last whole record is zeroed before more is written, so that a
//! later scan cannot run into bytes that a torn write left there.

use std::io;
use std::sync::Arc;

use super::active::{self, Active, Done, Unsynced};
use super::device::{Device, DeviceFile, read_full};
use super::directory::{Directory, Segment};
use super::format::{Flaw, HEADER, Kind};
use super::index::{Place, print_of};
use super::marks::Mark;
use super::queue::ALL_VARIANTS;
use super::reader::{ReadFault, read_meta};
use super::room::Room;
use super::segment::{
    FooterEntry, START, SegmentHeader, TRAILER, Trailer, file_name, is_draft, scan_step, serial_of,
};
use super::thin::held_of;
use super::writer::Writer;
use crate::store::policy::lanes::Step;

/// Bytes read at a time by the scan.
const WINDOW: usize = 256 << 10;

/// What lies in one segment.
pub(super) struct Contents {
    /// The records, in the order they lie.
    pub(super) entries: Vec<FooterEntry>,
    /// Offset behind the last of them.
    pub(super) end: u64,
    /// Nothing may follow.
    pub(super) sealed: bool,
}

/// Rebuilds the index of `dir` and ends with the directory in service.
///
/// # Errors
/// If the directory cannot be listed, or what cannot be trusted cannot be removed.
pub(super) fn recover(dir: &Arc<Directory>) -> io::Result<Writer> {
    let started = crate::base::clock::instant();
    dir.index.clear();
    dir.segments.clear();
    dir.marks.clear();
    let mut writer = Writer {
        dir: Arc::clone(dir),
        done: Default::default(),
        active: None,
        retired: Vec::new(),
        thinning: Vec::new(),
        judges_early: dir.judges_early,
        unsynced: Vec::new(),
        leftover: Vec::new(),
        foreign_bytes: 0,
        next_serial: 1,
        full_until_ms: 0,
        room: Room::default(),
        unburied: Vec::new(),
    };
    let names = dir.device.list()?;
    for draft in names.iter().filter(|name| is_draft(name)) {
        dir.device.remove(draft)?;
    }
    let mut serials: Vec<u64> = names.iter().filter_map(|name| serial_of(name)).collect();
    serials.sort_unstable();
    let distrusted = dir.queue.missed_too_many();
    let last = serials.last().copied();
    dir.counters.set_aside.set(0);
    for serial in serials {
        writer.next_serial = writer.next_serial.max(serial.saturating_add(1));
        if distrusted {
            dir.device.remove(&file_name(serial))?;
        } else {
            writer.load(serial, Some(serial) == last)?;
        }
    }
    while writer.used() > dir.capacity && writer.reclaim_oldest(Step::Take) {}
    writer.count_used();
    let bury = |hash| {
        dir.index.remove(print_of(hash));
    };
    dir.queue.join(bury, || dir.health.joined());
    let (path, objects, segments) = (dir.path.display(), dir.index.len(), dir.segments.len());
    tracing::info!(%path, objects, segments, took_ms = started.elapsed().as_millis() as u64,
        "disk directory joined");
    Ok(writer)
}

impl Writer {
    /// Takes one segment in. One that is not to be understood is left alone, one that the
    /// device does not give is removed, and so is all that was written before either.
    fn load(&mut self, serial: u64, last: bool) -> io::Result<()> {
        let dir = Arc::clone(&self.dir);
        let opened = dir.device.open(&file_name(serial)).and_then(|file| {
            let size = file.size()?;
            Ok((file, size))
        });
        let (file, size) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.unreadable(serial, "opening a segment", &error),
        };
        let thinned = match judge(file.as_ref(), serial, size) {
            Ok(header) => header.thinned,
            Err(ReadFault::Io(error)) => {
                return self.unreadable(serial, "reading a segment", &error);
            }
            Err(error) => {
                self.foreign_bytes += size;
                dir.counters.set_aside.one();
                let path = dir.path.display();
                tracing::warn!(%path, file = file_name(serial), %error, "segment set aside");
                return self.forget_older();
            }
        };
        let contents = match contents_of(file.as_ref(), serial, size) {
            Ok(contents) => contents,
            Err(error) => return self.unreadable(serial, "reading a segment", &error),
        };
        if thinned && !contents.sealed {
            // Nobody knows what was listed there, and a scan ends at the first hole.
            let error = io::Error::other("the list of a thinned segment is damaged");
            return self.unreadable(serial, "reading a segment", &error);
        }
        let held = if thinned { held_of(file.as_ref(), size) } else { Ok(size) };
        let held = match held {
            Ok(held) => held,
            Err(error) => return self.unreadable(serial, "reading a segment", &error),
        };
        let segment = dir.segments.add(serial, size, file);
        for entry in &contents.entries {
            apply(&dir, &segment, entry);
        }
        if last && !contents.sealed && size == dir.segment_len && settle(&segment, &contents) {
            let mut active = Active::empty(segment);
            active.flushed = contents.end;
            active.published = contents.entries.len();
            active.entries = contents.entries;
            self.active = Some(active);
        } else {
            if !contents.sealed {
                let lost = active::lost(&contents.entries);
                self.unsynced.push(Unsynced { segment: segment.clone(), lost });
            }
            let mut done = Done { held, ..Done::new(segment, &contents.entries) };
            if thinned {
                (done.judged, done.newcomers) = (true, 0);
            }
            self.done.push_back(done);
        }
        Ok(())
    }

    /// A segment of ours that the device does not give: were it given later, it would bring
    /// back what nobody could bury meanwhile.
    fn unreadable(&mut self, serial: u64, doing: &str, error: &io::Error) -> io::Result<()> {
        self.trouble(doing, error);
        self.forget_older()?;
        remove(self.dir.device.as_ref(), serial)
    }

    /// Removes everything loaded so far, the oldest first, so that a tombstone never goes
    /// before what it voids.
    fn forget_older(&mut self) -> io::Result<()> {
        self.dir.index.clear();
        while let Some(Done { segment, .. }) = self.done.front() {
            remove(self.dir.device.as_ref(), segment.serial)?;
            self.dir.segments.drop_slot(segment.slot);
            self.unsynced.retain(|unsynced| unsynced.segment.serial != segment.serial);
            self.done.pop_front();
        }
        Ok(())
    }
}

/// Removes a segment's file, if it is there.
pub(super) fn remove(device: &dyn Device, serial: u64) -> io::Result<()> {
    match device.remove(&file_name(serial)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether the first bytes are the header that this file should have.
///
/// # Errors
/// What is wrong with them, or what the device says.
pub(super) fn judge(
    file: &dyn DeviceFile,
    serial: u64,
    size: u64,
) -> Result<SegmentHeader, ReadFault> {
    let mut head = [0; HEADER];
    read_full(file, &mut head, 0)?;
    let header = SegmentHeader::decode(&head)?;
    if header.serial != serial {
        Err(Flaw::Other.into())
    } else if header.size != size {
        Err(Flaw::Length.into())
    } else {
        Ok(header)
    }
}

fn apply(dir: &Directory, segment: &Segment, entry: &FooterEntry) {
    let Some(place) = Place::new(segment.slot, entry.offset, entry.len) else { return };
    match entry.kind {
        Kind::Entry | Kind::Piece => {
            dir.index.insert(entry.print, entry.variant, place, 0);
        }
        Kind::Tombstone if entry.variant == ALL_VARIANTS => {
            dir.index.remove(entry.print);
        }
        Kind::Tombstone => {
            dir.index.remove_variant(entry.print, entry.variant);
        }
        // A mark that cannot be read costs hits: the ledger then knows less of its records.
        Kind::Judged => {
            if let Ok((_, meta)) = read_meta(segment, place) {
                dir.marks.add(Mark::decode(&meta).unwrap_or_default());
            }
        }
    }
}

/// Prepares the last segment for more records: true if it may be continued.
fn settle(segment: &Segment, contents: &Contents) -> bool {
    segment.file.zero(contents.end, segment.size.saturating_sub(contents.end)).is_ok()
}

/// The records of a segment, by footer and scan.
///
/// # Errors
/// What the device says.
pub(super) fn records_of(
    file: &dyn DeviceFile,
    serial: u64,
    size: u64,
) -> io::Result<Vec<FooterEntry>> {
    Ok(contents_of(file, serial, size)?.entries)
}

/// Everything known about a segment's contents.
///
/// # Errors
/// What the device says; torn bytes are no error but the end of the log.
pub(super) fn contents_of(file: &dyn DeviceFile, serial: u64, size: u64) -> io::Result<Contents> {
    let mut contents = Contents { entries: Vec::new(), end: START, sealed: false };
    if let Some(footer) = footer_of(file, serial, size)? {
        contents.entries = footer.entries;
        contents.end = footer.end;
        contents.sealed = footer.sealed;
    }
    if contents.sealed {
        return Ok(contents);
    }
    let mut window = Window { file, start: 0, bytes: Vec::new(), size };
    while let Some(bytes) = window.at(contents.end)? {
        let Some(entry) = scan_step(bytes, contents.end, serial, size) else { break };
        contents.end += entry.len;
        contents.entries.push(entry);
    }
    Ok(contents)
}

fn footer_of(
    file: &dyn DeviceFile,
    serial: u64,
    size: u64,
) -> io::Result<Option<super::segment::Footer>> {
    let Some(at) = size.checked_sub(TRAILER as u64) else { return Ok(None) };
    let mut bytes = vec![0; TRAILER];
    read_full(file, &mut bytes, at)?;
    let Ok(trailer) = Trailer::decode(&bytes, serial, size) else { return Ok(None) };
    let mut entries = vec![0; trailer.entries_len()];
    read_full(file, &mut entries, at.saturating_sub(trailer.entries_len() as u64))?;
    Ok(trailer.footer(&entries).ok())
}

/// A moving view of a file, so that small records do not cost a call each.
struct Window<'a> {
    file: &'a dyn DeviceFile,
    start: u64,
    bytes: Vec<u8>,
    size: u64,
}

impl Window<'_> {
    /// The bytes from `offset` on, at least a header's; `None` where there are not as many.
    fn at(&mut self, offset: u64) -> io::Result<Option<&[u8]>> {
        let from = offset.wrapping_sub(self.start);
        if offset < self.start || from + HEADER as u64 > self.bytes.len() as u64 {
            let len = self.size.saturating_sub(offset).min(WINDOW as u64) as usize;
            if len < HEADER {
                return Ok(None);
            }
            self.bytes.resize(len, 0);
            self.start = offset;
            read_full(self.file, &mut self.bytes, offset)?;
        }
        let from = (offset - self.start) as usize;
        Ok(self.bytes.get(from..))
    }
}
