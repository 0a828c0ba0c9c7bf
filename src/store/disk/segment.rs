//! The frame of one segment: header, records one after the other, footer at the end.
//!
//! ```text
//! [header 64][record][record]...[free][footer entries, 24 each][trailer 64]
//! ```
//! The footer is the list of the records up to `end`, so that a start reads a few bytes
//! an object and no bodies. It is written when the segment is full (sealed) and at a
//! clean stop (a checkpoint: records may follow `end`). What lies behind `end` of an
//! unsealed segment is found by jumping from header to header until one does not verify.
//! One that was thinned has holes where records were given up: no scan gets over them, so its
//! header says that it is nothing without its footer.
//! A snapshot file of the whole index was rejected: it would hold the same 24 bytes an
//! object a second time and could disagree with the segments. Pure: no I/O here.

use super::format::{ALIGN, Flaw, HEADER, Header, Kind, checked, sealed};
use super::wire::Cursor;

/// Version of the segment format written by this build.
pub const VERSION: u16 = 1;
/// Bytes before the first record.
pub const START: u64 = ALIGN as u64;
/// Bytes of one footer entry.
pub const ENTRY: usize = 24;
/// Bytes of the trailer.
pub const TRAILER: usize = HEADER;

const MAGIC: [u8; 4] = *b"BRKs";
const TRAILER_MAGIC: [u8; 4] = *b"BRKf";

/// The first 64 bytes of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Rises by one with each segment of a directory; also the file's name, in hex.
    pub serial: u64,
    /// Length of the file in bytes.
    pub size: u64,
    /// It may have holes where records were: without its footer it cannot be read.
    pub thinned: bool,
}

impl SegmentHeader {
    /// The bytes on disk.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&u16::from(self.thinned).to_le_bytes());
        out.extend_from_slice(&self.serial.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        out.resize(HEADER - 4, 0);
        sealed(out)
    }

    /// Reads the first 64 bytes of a file.
    ///
    /// # Errors
    /// The [`Flaw`]; [`Flaw::Version`] means a later Brink wrote it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let mut cursor = checked(bytes.get(..HEADER).ok_or(Flaw::Length)?, MAGIC, VERSION)?;
        let fields = |cursor: &mut Cursor<'_>| {
            let thinned = cursor.u16()? & 1 == 1;
            Some(SegmentHeader { serial: cursor.u64()?, size: cursor.u64()?, thinned })
        };
        fields(&mut cursor).ok_or(Flaw::Length)
    }
}

/// One record as the footer lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FooterEntry {
    /// Half of the key hash.
    pub print: u64,
    /// Byte offset of the record.
    pub offset: u64,
    /// Length of the record in bytes.
    pub len: u64,
    /// Variant fingerprint.
    pub variant: u32,
    /// What it is.
    pub kind: Kind,
    /// A record that was written again, which was judged before (see `thin`).
    pub proved: bool,
}

impl FooterEntry {
    /// Whether it is a record of content, which holds room for something to be found.
    pub fn holds(&self) -> bool {
        matches!(self.kind, Kind::Entry | Kind::Piece)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let unit = ALIGN as u64;
        out.extend_from_slice(&self.print.to_le_bytes());
        out.extend_from_slice(&((self.offset / unit) as u32).to_le_bytes());
        out.extend_from_slice(&((self.len / unit) as u32).to_le_bytes());
        out.extend_from_slice(&self.variant.to_le_bytes());
        out.extend_from_slice(&[self.kind.byte(), u8::from(self.proved), 0, 0]);
    }

    fn decode(cursor: &mut Cursor<'_>) -> Option<Self> {
        let unit = ALIGN as u64;
        let print = cursor.u64()?;
        let (offset, len) = (u64::from(cursor.u32()?) * unit, u64::from(cursor.u32()?) * unit);
        let variant = cursor.u32()?;
        let kind = Kind::from_byte(cursor.u8()?)?;
        let proved = cursor.u8()? & 1 == 1;
        cursor.take(2)?;
        Some(FooterEntry { print, offset, len, variant, kind, proved })
    }
}

/// The list of records at the end of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Nothing follows `end`.
    pub sealed: bool,
    /// Offset behind the last record listed.
    pub end: u64,
    /// The records, in the order they lie.
    pub entries: Vec<FooterEntry>,
}

/// Bytes the footer of `count` records takes at the end of the file.
pub fn footer_len(count: usize) -> u64 {
    (count * ENTRY + TRAILER) as u64
}

/// The fixed end of the footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    serial: u64,
    sealed: bool,
    end: u64,
    count: u32,
    crc: u32,
}

impl Trailer {
    /// Reads the last 64 bytes of the segment `serial`, which is `size` bytes long.
    ///
    /// # Errors
    /// The [`Flaw`]: there is no footer then, or it is torn.
    pub fn decode(bytes: &[u8], serial: u64, size: u64) -> Result<Self, Flaw> {
        let bytes = bytes.get(..TRAILER).ok_or(Flaw::Length)?;
        let mut cursor = checked(bytes, TRAILER_MAGIC, VERSION)?;
        let fields = |cursor: &mut Cursor<'_>| {
            let sealed = cursor.u16()? == 1;
            let (serial, end) = (cursor.u64()?, cursor.u64()?);
            let (count, crc) = (cursor.u32()?, cursor.u32()?);
            Some(Trailer { serial, sealed, end, count, crc })
        };
        let trailer = fields(&mut cursor).ok_or(Flaw::Length)?;
        if trailer.serial != serial {
            return Err(Flaw::Other);
        }
        let listed = footer_len(trailer.count as usize);
        if trailer.end < START || trailer.end.saturating_add(listed) > size {
            return Err(Flaw::Length);
        }
        Ok(trailer)
    }

    /// Bytes of entries before the trailer.
    pub fn entries_len(&self) -> usize {
        self.count as usize * ENTRY
    }

    /// Reads those entries.
    ///
    /// # Errors
    /// The [`Flaw`] if they are not what the trailer says, or point outside the segment.
    pub fn footer(&self, entries: &[u8]) -> Result<Footer, Flaw> {
        if entries.len() != self.entries_len() {
            return Err(Flaw::Length);
        }
        if crc32fast::hash(entries) != self.crc {
            return Err(Flaw::Checksum);
        }
        let mut cursor = Cursor::new(entries);
        let mut list = Vec::with_capacity(self.count as usize);
        for _ in 0..self.count {
            let entry = FooterEntry::decode(&mut cursor).ok_or(Flaw::Length)?;
            if entry.offset < START || entry.offset + entry.len > self.end || entry.len == 0 {
                return Err(Flaw::Length);
            }
            list.push(entry);
        }
        Ok(Footer { sealed: self.sealed, end: self.end, entries: list })
    }
}

/// The bytes of a footer, which end where the file ends.
pub fn encode_footer(serial: u64, footer: &Footer) -> Vec<u8> {
    let mut out = Vec::with_capacity(footer_len(footer.entries.len()) as usize);
    for entry in &footer.entries {
        entry.encode(&mut out);
    }
    let crc = crc32fast::hash(&out);
    let mut trailer = Vec::with_capacity(TRAILER);
    trailer.extend_from_slice(&TRAILER_MAGIC);
    trailer.extend_from_slice(&VERSION.to_le_bytes());
    trailer.extend_from_slice(&u16::from(footer.sealed).to_le_bytes());
    trailer.extend_from_slice(&serial.to_le_bytes());
    trailer.extend_from_slice(&footer.end.to_le_bytes());
    trailer.extend_from_slice(&(footer.entries.len() as u32).to_le_bytes());
    trailer.extend_from_slice(&crc.to_le_bytes());
    trailer.resize(HEADER - 4, 0);
    out.extend_from_slice(&sealed(trailer));
    out
}

/// One step of the scan behind a footer: the record at `offset` of segment `serial`, or
/// `None` where the log ends. `bytes` starts at `offset`.
pub fn scan_step(bytes: &[u8], offset: u64, serial: u64, size: u64) -> Option<FooterEntry> {
    let header = Header::decode(bytes).ok()?;
    let len = header.total_len() as u64;
    if header.serial != serial || offset + len + TRAILER as u64 > size {
        return None;
    }
    Some(FooterEntry {
        print: super::index::print_of(header.hash),
        offset,
        len,
        variant: header.variant,
        kind: header.kind,
        proved: false,
    })
}

/// The file name of a segment: sixteen lower-case hex digits, nothing of any URL.
pub fn file_name(serial: u64) -> String {
    format!("{serial:016x}")
}

/// What it is called before its header is written: a kill at that moment must not leave what
/// looks like a segment that cannot be understood, because of that all older ones would go.
pub fn draft_name(serial: u64) -> String {
    format!("{serial:016x}{DRAFT}")
}

/// Whether this is such a name.
pub fn is_draft(name: &str) -> bool {
    name.strip_suffix(DRAFT).and_then(serial_of).is_some()
}

const DRAFT: &str = ".new";

/// The inverse of [`file_name`]; `None` for any other name.
pub fn serial_of(name: &str) -> Option<u64> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (name.len() == 16 && name.bytes().all(hex)).then(|| u64::from_str_radix(name, 16).ok())?
}
