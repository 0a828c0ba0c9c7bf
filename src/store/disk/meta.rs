//! The meta block of a stored response: everything of an [`Entry`] but its body.
//!
//! Time on disk is told twice (promise P11). Within one run of the node the monotonic
//! clock counts, so a step of the wall clock neither ages nor revives what is stored.
//! After a restart only the wall clock is left: time spent since is its difference, never
//! less than zero, so an object is never younger than it was when it was written.

use std::sync::atomic::{AtomicBool, AtomicU64};

use bytes::Bytes;
use http::{HeaderName, StatusCode};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::wire::{Cursor, put_bytes};
use crate::base::Now;
use crate::rules::entry::{Entry, Extent};
use crate::rules::freshness::{Freshness, LifetimeSource};
use crate::rules::head::Head;
use crate::rules::vary::Vary;

/// Bits of a variant fingerprint; the index keeps its read marks in the others.
pub const VARIANT_BITS: u32 = 30;

/// Which run of the node a monotonic time belongs to: random, one a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run(pub u64);

/// The fingerprint of what varies on nothing.
pub const UNVARIED: u32 = 0;

/// Fingerprint of the request fields a response was chosen by: two records of one key
/// with the same fingerprint are the same variant, the later one counts. A collision
/// costs one of the two its place, never a wrong answer: `rules` compares the fields.
pub fn variant_of(entry: &Entry) -> u32 {
    let Some(vary) = &entry.vary else { return UNVARIED };
    let mut bytes = Vec::new();
    put_vary(&mut bytes, vary);
    (xxh3_64(&bytes) >> (64 - VARIANT_BITS)) as u32
}

/// Writes the meta block of `entry` as it is at `now`.
pub fn encode(entry: &Entry, now: Now, run: Run) -> Vec<u8> {
    let fresh = &entry.freshness;
    let mut out = Vec::with_capacity(256 + entry.key.len() + entry.head.block().len());
    let resident = now.mono_ms.saturating_sub(fresh.received_mono_ms);
    for field in [
        run.0,
        now.mono_ms,
        now.wall_ms,
        resident,
        fresh.initial_age_ms,
        fresh.lifetime_ms,
        fresh.while_revalidate_ms,
        fresh.if_error_ms,
        entry.seq,
    ] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    let (source, place) = source_bytes(fresh.source);
    let flags = u8::from(fresh.always_validate)
        | u8::from(fresh.never_stale) << 1
        | u8::from(fresh.immutable) << 2
        | u8::from(entry.is_soft_purged()) << 3;
    out.extend_from_slice(&[flags, source, place]);
    out.extend_from_slice(&entry.head.status.as_u16().to_le_bytes());
    put_bytes(&mut out, &entry.key);
    put_bytes(&mut out, entry.head.block());
    put_extent(&mut out, entry.extent);
    match &entry.vary {
        Some(vary) => {
            out.push(1);
            put_vary(&mut out, vary);
        }
        None => out.push(0),
    }
    out.extend_from_slice(&(entry.tags.len() as u32).to_le_bytes());
    for tag in &entry.tags {
        put_bytes(&mut out, tag.as_bytes());
    }
    out
}

/// What sweeps and listings need of a record; borrowed from its meta block.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The canonical key text.
    pub key: &'a [u8],
    /// Surrogate keys, sorted.
    pub tags: Vec<Box<str>>,
    /// Ledger sequence up to which it has been judged: its own, until a caller that knows
    /// the record's header and the marks raises it.
    pub since: u64,
}

/// Reads key, tags and sequence; `None` if the block is not one.
pub fn decode_facts(meta: &[u8]) -> Option<Facts<'_>> {
    let mut cursor = Cursor::new(meta);
    let times = Times::read(&mut cursor)?;
    cursor.take(3 + 2)?;
    let key = cursor.bytes()?;
    cursor.bytes()?;
    extent(&mut cursor)?;
    vary(&mut cursor)?;
    let tags = tags(&mut cursor)?;
    Some(Facts { key, tags, since: times.seq })
}

/// Rebuilds the entry around `body`, with its age as of `now`; `None` if the block is
/// not one. `judged` is the purge up to which the record has been judged; newer ones have
/// to be asked for.
pub fn decode(
    meta: &[u8],
    body: SmallVec<[Bytes; 1]>,
    judged: u64,
    now: Now,
    run: Run,
) -> Option<Entry> {
    let mut cursor = Cursor::new(meta);
    let times = Times::read(&mut cursor)?;
    let (flags, source, place) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
    let status = StatusCode::from_u16(cursor.u16()?).ok()?;
    let key: Box<[u8]> = cursor.bytes()?.into();
    let head = Head::from_block(status, Bytes::copy_from_slice(cursor.bytes()?))?;
    let extent = extent(&mut cursor)?;
    let vary = vary(&mut cursor)?.map(Box::new);
    let tags = tags(&mut cursor)?.into_boxed_slice();
    let freshness = Freshness {
        received_mono_ms: now.mono_ms.saturating_sub(times.resident_at(now, run)),
        initial_age_ms: times.initial_age,
        lifetime_ms: times.lifetime,
        while_revalidate_ms: times.while_revalidate,
        if_error_ms: times.if_error,
        always_validate: flags & 1 != 0,
        never_stale: flags & 2 != 0,
        immutable: flags & 4 != 0,
        source: source_from(source, place)?,
    };
    Some(Entry {
        key,
        head,
        body,
        extent,
        freshness,
        vary,
        tags,
        seq: times.seq,
        checked_seq: AtomicU64::new(times.seq.max(judged)),
        soft_purged: AtomicBool::new(flags & 8 != 0),
    })
}

struct Times {
    run: u64,
    mono: u64,
    wall: u64,
    resident: u64,
    initial_age: u64,
    lifetime: u64,
    while_revalidate: u64,
    if_error: u64,
    seq: u64,
}

impl Times {
    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        Some(Times {
            run: cursor.u64()?,
            mono: cursor.u64()?,
            wall: cursor.u64()?,
            resident: cursor.u64()?,
            initial_age: cursor.u64()?,
            lifetime: cursor.u64()?,
            while_revalidate: cursor.u64()?,
            if_error: cursor.u64()?,
            seq: cursor.u64()?,
        })
    }

    /// Resident time (RFC 9111 4.2.3) at `now`, in milliseconds.
    fn resident_at(&self, now: Now, run: Run) -> u64 {
        let since = if self.run == run.0 {
            now.mono_ms.saturating_sub(self.mono)
        } else {
            now.wall_ms.saturating_sub(self.wall)
        };
        self.resident.saturating_add(since)
    }
}

fn put_extent(out: &mut Vec<u8>, extent: Extent) {
    match extent {
        Extent::Whole => out.push(0),
        Extent::Pieces { total, version } => {
            out.push(3);
            out.extend_from_slice(&total.to_le_bytes());
            out.extend_from_slice(&version.to_le_bytes());
        }
        Extent::Part { first, last, total } => {
            out.push(if total.is_some() { 2 } else { 1 });
            for field in [first, last, total.unwrap_or(0)] {
                out.extend_from_slice(&field.to_le_bytes());
            }
        }
    }
}

fn extent(cursor: &mut Cursor<'_>) -> Option<Extent> {
    let kind = cursor.u8()?;
    if kind == 0 {
        return Some(Extent::Whole);
    }
    if kind == 3 {
        return Some(Extent::Pieces { total: cursor.u64()?, version: cursor.u128()? });
    }
    let (first, last, total) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
    let total = match kind {
        1 => None,
        2 => Some(total),
        _ => return None,
    };
    Some(Extent::Part { first, last, total })
}

fn put_vary(out: &mut Vec<u8>, vary: &Vary) {
    out.extend_from_slice(&(vary.fields.len() as u32).to_le_bytes());
    for (name, value) in &vary.fields {
        put_bytes(out, name.as_str().as_bytes());
        out.push(u8::from(value.is_some()));
        put_bytes(out, value.as_deref().unwrap_or_default());
    }
}

fn vary(cursor: &mut Cursor<'_>) -> Option<Option<Vary>> {
    match cursor.u8()? {
        0 => return Some(None),
        1 => {}
        _ => return None,
    }
    let mut fields = Vec::new();
    for _ in 0..cursor.u32()? {
        let name = HeaderName::from_bytes(cursor.bytes()?).ok()?;
        let present = cursor.u8()? == 1;
        let value = cursor.bytes()?;
        fields.push((name, present.then(|| value.into())));
    }
    Some(Some(Vary { fields }))
}

fn tags(cursor: &mut Cursor<'_>) -> Option<Vec<Box<str>>> {
    let mut tags = Vec::new();
    for _ in 0..cursor.u32()? {
        tags.push(std::str::from_utf8(cursor.bytes()?).ok()?.into());
    }
    Some(tags)
}

fn source_bytes(source: LifetimeSource) -> (u8, u8) {
    match source {
        LifetimeSource::None => (0, 0),
        LifetimeSource::Targeted(place) => (1, place),
        LifetimeSource::SMaxAge => (2, 0),
        LifetimeSource::MaxAge => (3, 0),
        LifetimeSource::Expires => (4, 0),
        LifetimeSource::Heuristic => (5, 0),
        LifetimeSource::Rule => (6, 0),
    }
}

fn source_from(byte: u8, place: u8) -> Option<LifetimeSource> {
    Some(match byte {
        0 => LifetimeSource::None,
        1 => LifetimeSource::Targeted(place),
        2 => LifetimeSource::SMaxAge,
        3 => LifetimeSource::MaxAge,
        4 => LifetimeSource::Expires,
        5 => LifetimeSource::Heuristic,
        6 => LifetimeSource::Rule,
        _ => return None,
    })
}
