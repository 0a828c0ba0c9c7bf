//! The frame of one record: a 64-byte header, the meta block, checksums of the body's
//! blocks, the body, zeros up to the next multiple of 64.
//!
//! ```text
//! 0   magic "BRKr"     4    32  body length      4    56  total length  4... see HEADER
//! 4   version          2    36  meta length      4
//! 6   kind             1    40  variant          4
//! 7   zero             1    44  crc of meta+sums 4
//! 8   segment serial   8    48  total length     4
//! 16  key hash        16    52  judged           8
//!                           60  crc of bytes 0..60
//! ```
//! The header has its own checksum so that a scan can jump from record to record without
//! reading bodies; meta and block sums share a second one; every 64 KiB of the body has a
//! third, so a range can be verified without the whole. The segment's serial is part of
//! the header: bytes left over from an earlier life of the same place on disk never pass
//! for a record of this one. All decoding is total; an unknown version is its own answer
//! ([`Flaw::Version`]) so that files of a later Brink are set aside and never misread.
//! A checksum after the body was rejected: it would force reading the whole for a range.

use bytes::Bytes;

use super::wire::Cursor;

/// Records start at multiples of this.
pub const ALIGN: usize = 64;
/// Length of a record's header in bytes.
pub const HEADER: usize = 64;
/// Bytes of body under one checksum.
pub const BLOCK: usize = 64 << 10;
/// Version of the record format written by this build.
pub const VERSION: u16 = 1;
/// Longest record in bytes: the largest segment.
pub const RECORD_MAX: usize = 256 << 20;

const MAGIC: [u8; 4] = *b"BRKr";

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A stored response.
    Entry,
    /// All older records of this key hash are void. Has neither meta nor body.
    Tombstone,
    /// One piece of a large object.
    Piece,
    /// All records before a place in the log have been judged (see [`Header::judged`]);
    /// the place is in the meta block.
    Judged,
}

impl Kind {
    /// The byte on disk.
    pub fn byte(self) -> u8 {
        match self {
            Kind::Entry => 1,
            Kind::Tombstone => 2,
            Kind::Piece => 3,
            Kind::Judged => 4,
        }
    }

    /// The inverse of [`Kind::byte`].
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Kind::Entry),
            2 => Some(Kind::Tombstone),
            3 => Some(Kind::Piece),
            4 => Some(Kind::Judged),
            _ => None,
        }
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Zeros: nothing was ever written here.
    #[error("nothing written here")]
    Blank,
    /// Something else.
    #[error("not a record")]
    Magic,
    /// Written by another version of the format.
    #[error("format version {0}, this build reads {VERSION}")]
    Version(u16),
    /// A checksum does not match: torn or rotten.
    #[error("checksum mismatch")]
    Checksum,
    /// Lengths contradict each other, or bytes are missing.
    #[error("lengths do not add up")]
    Length,
    /// A whole record of something else (another key, another segment's life).
    #[error("a record of something else")]
    Other,
}

/// The decoded header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub kind: Kind,
    /// Serial of the segment it was written into.
    pub serial: u64,
    /// Keyed hash of the cache key.
    pub hash: u128,
    /// Fingerprint of the variant ([`super::meta::variant_of`]).
    pub variant: u32,
    /// Bytes of meta.
    pub meta_len: u32,
    /// Bytes of body.
    pub body_len: u32,
    /// Checksum of meta and block sums.
    pub meta_crc: u32,
    /// Purges up to this number of the ledger have been judged not to hit it.
    pub judged: u64,
}

impl Header {
    /// A header of which lengths, checksum and serial are still to be filled in.
    pub fn stamp(kind: Kind, hash: u128, variant: u32, judged: u64) -> Self {
        Header { kind, serial: 0, hash, variant, meta_len: 0, body_len: 0, meta_crc: 0, judged }
    }

    /// Bytes from the start of the record to its body.
    pub fn body_offset(&self) -> usize {
        HEADER + self.meta_len as usize + 4 * blocks(self.body_len as usize)
    }

    /// Length of the whole record, padding included.
    pub fn total_len(&self) -> usize {
        (self.body_offset() + self.body_len as usize).next_multiple_of(ALIGN)
    }

    /// The bytes on disk.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[self.kind.byte(), 0]);
        out.extend_from_slice(&self.serial.to_le_bytes());
        out.extend_from_slice(&self.hash.to_le_bytes());
        for field in [self.body_len, self.meta_len, self.variant, self.meta_crc] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&(self.total_len() as u32).to_le_bytes());
        out.extend_from_slice(&self.judged.to_le_bytes());
        sealed(out)
    }

    /// Reads a header from the first 64 bytes of `bytes`.
    ///
    /// # Errors
    /// The [`Flaw`] that keeps it from being one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let bytes = bytes.get(..HEADER).ok_or(Flaw::Length)?;
        let mut cursor = checked(bytes, MAGIC, VERSION)?;
        let header = Self::fields(&mut cursor).ok_or(Flaw::Length)??;
        if header.total_len() > RECORD_MAX {
            return Err(Flaw::Length);
        }
        Ok(header)
    }

    fn fields(cursor: &mut Cursor<'_>) -> Option<Result<Self, Flaw>> {
        let kind = Kind::from_byte(cursor.u8()?);
        cursor.u8()?;
        let (serial, hash) = (cursor.u64()?, cursor.u128()?);
        let (body_len, meta_len) = (cursor.u32()?, cursor.u32()?);
        let (variant, meta_crc, total) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let Some(kind) = kind else { return Some(Err(Flaw::Other)) };
        let judged = cursor.u64()?;
        let header = Header { kind, serial, hash, variant, meta_len, body_len, meta_crc, judged };
        Some(if header.total_len() == total as usize { Ok(header) } else { Err(Flaw::Length) })
    }
}

/// Header, meta and block sums of a record whose body is `body`: what is written before
/// the body. `stamp` gives the rest of the header. The body and [`Header::total_len`]'s
/// padding follow.
///
/// # Errors
/// [`Flaw::Length`] if the record would be longer than [`RECORD_MAX`].
pub fn encode_front(stamp: Header, meta: &[u8], body: &[Bytes]) -> Result<(Header, Vec<u8>), Flaw> {
    let body_len: usize = body.iter().map(Bytes::len).sum();
    if HEADER + meta.len() + 4 * blocks(body_len) + body_len + ALIGN > RECORD_MAX {
        return Err(Flaw::Length);
    }
    let mut front = vec![0; HEADER];
    front.extend_from_slice(meta);
    for sum in block_sums(body) {
        front.extend_from_slice(&sum.to_le_bytes());
    }
    let meta_crc = crc32fast::hash(front.get(HEADER..).unwrap_or_default());
    let (meta_len, body_len) = (meta.len() as u32, body_len as u32);
    let header = Header { meta_len, body_len, meta_crc, ..stamp };
    if let Some(start) = front.get_mut(..HEADER) {
        start.copy_from_slice(&header.encode());
    }
    Ok((header, front))
}

/// Splits what lies between header and body (`front`, which starts with the header) into
/// the meta block and the block sums, after checking their checksum.
///
/// # Errors
/// [`Flaw::Length`] if bytes are missing, [`Flaw::Checksum`] if they are not what was written.
pub fn split_front<'a>(header: &Header, front: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Flaw> {
    let covered = front.get(HEADER..header.body_offset()).ok_or(Flaw::Length)?;
    if crc32fast::hash(covered) != header.meta_crc {
        return Err(Flaw::Checksum);
    }
    covered.split_at_checked(header.meta_len as usize).ok_or(Flaw::Length)
}

/// Checks consecutive blocks of a body. `first` is the number of the block that `bytes`
/// starts with; `sums` are all block sums of the record.
pub fn verify_blocks(sums: &[u8], first: usize, bytes: &[u8]) -> Result<(), Flaw> {
    let mut sums = Cursor::new(sums.get(4 * first..).ok_or(Flaw::Length)?);
    for block in bytes.chunks(BLOCK) {
        if crc32fast::hash(block) != sums.u32().ok_or(Flaw::Length)? {
            return Err(Flaw::Checksum);
        }
    }
    Ok(())
}

/// Number of blocks in a body of `len` bytes.
pub fn blocks(len: usize) -> usize {
    len.div_ceil(BLOCK)
}

fn block_sums(body: &[Bytes]) -> Vec<u32> {
    let (mut sums, mut hasher, mut filled) = (Vec::new(), crc32fast::Hasher::new(), 0);
    for piece in body {
        let mut rest: &[u8] = piece;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BLOCK - filled));
            hasher.update(now);
            filled += now.len();
            rest = later;
            if filled == BLOCK {
                sums.push(std::mem::take(&mut hasher).finalize());
                filled = 0;
            }
        }
    }
    if filled > 0 {
        sums.push(hasher.finalize());
    }
    sums
}

/// Closes a 64-byte block of which 60 are given with the checksum of those.
///
/// # Panics
/// If the block is not 60 bytes long: the layouts are constants of this build.
pub fn sealed(mut block: Vec<u8>) -> [u8; HEADER] {
    assert_eq!(block.len(), HEADER - 4, "a sealed block has 60 bytes of content");
    let crc = crc32fast::hash(&block);
    block.extend_from_slice(&crc.to_le_bytes());
    let mut out = [0; HEADER];
    out.copy_from_slice(&block);
    out
}

/// The inverse of [`sealed`] for a block that starts with `magic` and a version; the
/// cursor stands after them. The checksum is judged before the version, so that rot is not
/// taken for a later version: every version must keep 60 bytes of content and a crc32.
///
/// # Errors
/// The [`Flaw`] that keeps it from being such a block.
pub fn checked(bytes: &[u8], magic: [u8; 4], version: u16) -> Result<Cursor<'_>, Flaw> {
    let (content, crc) = bytes.split_at_checked(HEADER - 4).ok_or(Flaw::Length)?;
    let mut cursor = Cursor::new(content);
    if cursor.take(4).ok_or(Flaw::Length)? != magic {
        let blank = bytes.iter().all(|&byte| byte == 0);
        return Err(if blank { Flaw::Blank } else { Flaw::Magic });
    }
    if Cursor::new(crc).u32() != Some(crc32fast::hash(content)) {
        return Err(Flaw::Checksum);
    }
    match cursor.u16() {
        Some(found) if found == version => Ok(cursor),
        Some(found) => Err(Flaw::Version(found)),
        None => Err(Flaw::Length),
    }
}
