//! A stopped node's directory, looked at from outside: list, verify, rebuild.
//!
//! Takes the same lock as a node, so it never works on a store in use, and uses the same
//! decoders. `rebuild` only writes footers: it lists what verifies and leaves out what
//! does not, so a later start is quick and meets no rot. Nothing foreign is touched.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::device::{Device, RealDevice, write_full};
use super::directory::Segment;
use super::format::Kind;
use super::identity::{DiskError, Identity, open_locked};
use super::index::Place;
use super::meta;
use super::queue::ALL_VARIANTS;
use super::reader::{Wait, read_record};
use super::recover::{Contents, contents_of, judge};
use super::segment::{Footer, FooterEntry, encode_footer, file_name, footer_len, serial_of};

/// An opened store. The directory is locked while it lives.
pub struct Store {
    _device: RealDevice,
    segments: Vec<Part>,
    /// Names of segment files that this build does not read, and why.
    pub set_aside: Vec<(String, String)>,
}

struct Part {
    segment: Segment,
    contents: Contents,
    /// It has holes where records were given up.
    thinned: bool,
}

/// One record as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Serial of its segment.
    pub segment: u64,
    /// Byte offset there.
    pub offset: u64,
    /// Bytes on disk.
    pub len: u64,
    /// What it is.
    pub kind: Kind,
    /// A node would serve it: not replaced and not voided by a later record.
    pub live: bool,
    /// Canonical key and tags of a stored response; why it does not verify otherwise.
    pub content: Result<(String, Vec<Box<str>>), String>,
}

/// What a rebuild did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Footers written.
    pub segments: u64,
    /// Records listed in them.
    pub kept: u64,
    /// Records that did not verify and are listed no more.
    pub dropped: u64,
}

impl Store {
    /// Opens the store at `path`.
    ///
    /// # Errors
    /// [`DiskError::Locked`] while a node uses it; [`DiskError::Io`] also if there is none.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let failed = |error| DiskError::Io { path: path.to_owned(), error };
        if Identity::read(path)?.is_none() {
            return Err(failed(io::Error::new(io::ErrorKind::NotFound, "no store here")));
        }
        let device = open_locked(path)?;
        let names = device.list().map_err(failed)?;
        let mut serials: Vec<u64> = names.iter().filter_map(|name| serial_of(name)).collect();
        serials.sort_unstable();
        let (mut segments, mut set_aside) = (Vec::new(), Vec::new());
        for (slot, serial) in serials.into_iter().enumerate() {
            let name = file_name(serial);
            let file = device.open(&name).map_err(failed)?;
            let size = file.size().map_err(failed)?;
            match judge(file.as_ref(), serial, size) {
                Ok(header) => {
                    let contents = contents_of(file.as_ref(), serial, size).map_err(failed)?;
                    if header.thinned && !contents.sealed {
                        set_aside.push((name, "its list is damaged, and it has holes".into()));
                        continue;
                    }
                    let slot = slot as u32;
                    let segment = Segment { serial, slot, size, file };
                    segments.push(Part { segment, contents, thinned: header.thinned });
                }
                Err(flaw) => set_aside.push((name, flaw.to_string())),
            }
        }
        Ok(Store { _device: device, segments, set_aside })
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Number of records.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|part| part.contents.entries.len() as u64).sum()
    }

    /// Reads and verifies every record, in the order they were written, until `visit`
    /// answers false. Left out is what a node has given up and made a hole of.
    pub fn check(&self, visit: &mut dyn FnMut(Found) -> bool) {
        let live = self.live();
        for Part { segment, contents, thinned } in &self.segments {
            for entry in &contents.entries {
                let newest = live.get(&(entry.print, entry.variant));
                let live = newest == Some(&(segment.serial, entry.offset));
                let content = content(segment, entry);
                if *thinned && !live && entry.holds() && content.is_err() {
                    continue;
                }
                let found = Found {
                    segment: segment.serial,
                    offset: entry.offset,
                    len: entry.len,
                    kind: entry.kind,
                    live,
                    content,
                };
                if !visit(found) {
                    return;
                }
            }
        }
    }

    /// Writes a footer for every segment that lists exactly what verifies. `progress` is
    /// called once a record.
    ///
    /// # Errors
    /// What the device says.
    pub fn rebuild(&mut self, progress: &dyn Fn()) -> io::Result<Rebuilt> {
        let mut rebuilt = Rebuilt::default();
        // What lies before a damaged record of the same key was replaced by it, and must
        // not come back in its stead.
        let mut damaged: HashMap<u64, (u64, u64)> = HashMap::new();
        for Part { segment, contents, .. } in &self.segments {
            for entry in &contents.entries {
                progress();
                if content(segment, entry).is_err() {
                    damaged.insert(entry.print, (segment.serial, entry.offset));
                }
            }
        }
        for Part { segment, contents, .. } in &mut self.segments {
            let before = contents.entries.len();
            contents.entries.retain(|entry| {
                let last_damage = damaged.get(&entry.print);
                last_damage.is_none_or(|place| *place < (segment.serial, entry.offset))
            });
            let entries = std::mem::take(&mut contents.entries);
            rebuilt.kept += entries.len() as u64;
            rebuilt.dropped += (before - entries.len()) as u64;
            let room = segment.size.saturating_sub(contents.end);
            if footer_len(entries.len()) <= room {
                let footer = Footer { sealed: contents.sealed, end: contents.end, entries };
                let bytes = encode_footer(segment.serial, &footer);
                let at = segment.size.saturating_sub(bytes.len() as u64);
                write_full(segment.file.as_ref(), &bytes, at)?;
                segment.file.sync()?;
                rebuilt.segments += 1;
                contents.entries = footer.entries;
            }
        }
        Ok(rebuilt)
    }

    /// Where the record lies that counts, for each key and variant.
    fn live(&self) -> HashMap<(u64, u32), (u64, u64)> {
        let mut live: HashMap<(u64, u32), (u64, u64)> = HashMap::new();
        let mut variants: HashMap<u64, Vec<u32>> = HashMap::new();
        for Part { segment, contents, .. } in &self.segments {
            for entry in &contents.entries {
                match (entry.kind, entry.variant) {
                    (Kind::Tombstone, ALL_VARIANTS) => {
                        for variant in variants.remove(&entry.print).unwrap_or_default() {
                            live.remove(&(entry.print, variant));
                        }
                    }
                    (Kind::Tombstone, variant) => {
                        live.remove(&(entry.print, variant));
                    }
                    (Kind::Judged, _) => {}
                    (Kind::Entry | Kind::Piece, variant) => {
                        variants.entry(entry.print).or_default().push(variant);
                        live.insert((entry.print, variant), (segment.serial, entry.offset));
                    }
                }
            }
        }
        live
    }
}

fn content(segment: &Segment, entry: &FooterEntry) -> Result<(String, Vec<Box<str>>), String> {
    let place = Place::new(segment.slot, entry.offset, entry.len).ok_or("not a place")?;
    let record = read_record(segment, place, Wait::Yes).map_err(|fault| fault.to_string())?;
    if !matches!(entry.kind, Kind::Entry | Kind::Piece) {
        return Ok((String::new(), Vec::new()));
    }
    let facts = meta::decode_facts(&record.meta).ok_or("the meta block is not one")?;
    Ok((String::from_utf8_lossy(facts.key).into_owned(), facts.tags))
}
