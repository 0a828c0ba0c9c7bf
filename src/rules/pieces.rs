//! Objects in pieces: arithmetic, identity, and what an origin's answer to a range is worth.
//!
//! An object longer than the policy's threshold is kept as a *manifest*, an [`Entry`]
//! without body under the object's own key, and as *pieces*, aligned parts of 1 MiB under
//! keys of their own. A piece's key is the object's key text, the *version* and the number
//! of the piece, so bytes of two versions can never meet: who holds a manifest can only
//! name the pieces of its version. The version is a keyed hash of the strong validator, the
//! length, the selecting fields and the purge tags; without a strong validator (RFC 9110
//! 8.8.1) it is a random number and nothing can be added to it later.
//!
//! A list of the pieces held was rejected: it would have to be rewritten on disk for every
//! piece that comes or goes, and both tiers know what they hold.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::date;
use super::entry::{Entry, Extent};
use super::head::Head;
use super::key::{Key, KeySeed};
use super::partial::ContentRange;
use super::range::{Span, Spec};
use super::validate;
use bytes::Bytes;

/// Bytes of a piece; the last one of an object may be shorter.
pub const PIECE: u64 = 1 << 20;

/// What a reader who has just begun is asked for ahead, and one who has read on for long.
/// Whoever leaves has cost at most about as much again as he has read.
const STRIDE_MIN: u64 = 2 << 20;
const STRIDE_MAX: u64 = 32 << 20;

/// Between key text and version in a piece's key; no request target contains it.
const MARK: u8 = b' ';

/// The pieces of an object of `total` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Length of the object in bytes.
    pub total: u64,
}

impl Grid {
    /// Number of pieces.
    pub fn count(self) -> u64 {
        self.total.div_ceil(PIECE)
    }

    /// Bytes of piece `n`; `None` if there is no such piece.
    pub fn span(self, n: u64) -> Option<Span> {
        let first = n.checked_mul(PIECE).filter(|first| *first < self.total)?;
        Some(Span { first, last: first.saturating_add(PIECE - 1).min(self.total - 1) })
    }

    /// `span` grown to whole pieces.
    pub fn aligned(self, span: Span) -> Span {
        let last = floor(span.last).saturating_add(PIECE - 1);
        Span { first: floor(span.first), last: last.min(self.total.saturating_sub(1)) }
    }

    /// Where the piece after the one that holds `offset` begins, or the end of the object.
    pub fn next(self, offset: u64) -> u64 {
        floor(offset).saturating_add(PIECE).min(self.total)
    }
}

/// Where the piece that holds `offset` begins.
pub fn floor(offset: u64) -> u64 {
    offset / PIECE * PIECE
}

/// How much of `wanted` to ask an origin for at once, after `read` bytes in a row: whole
/// pieces, and all of it if little would be left.
pub fn stride(wanted: Span, read: u64) -> Span {
    let most = floor(read).clamp(STRIDE_MIN, STRIDE_MAX);
    if wanted.len() <= most + most / 2 {
        return wanted;
    }
    Span { last: floor(wanted.first.saturating_add(most)).saturating_sub(1), ..wanted }
}

/// How much of a range of something unknown to ask for: what is not longer than this is not
/// kept in pieces, so that it comes in one answer.
pub fn first_stride(pieces_from: u64) -> u64 {
    floor(pieces_from.saturating_add(PIECE - 1)).max(STRIDE_MIN)
}

/// The value of `Range` to ask for when a client wants `spec` of something of unknown
/// length: whole pieces where it says where it lies, and `most` bytes of it (a multiple of
/// [`PIECE`]), if that is given.
pub fn widened(spec: Spec, most: Option<u64>) -> Option<HeaderValue> {
    let end = |first: u64| most.map(|most| first.saturating_add(most - 1));
    let text = match spec {
        Spec::Closed(first, last) => {
            let (first, last) = (floor(first), floor(last).saturating_add(PIECE - 1));
            format!("bytes={first}-{}", end(first).map_or(last, |end| end.min(last)))
        }
        Spec::From(first) => {
            let first = floor(first);
            end(first).map_or(format!("bytes={first}-"), |end| format!("bytes={first}-{end}"))
        }
        Spec::Suffix(length) => format!("bytes=-{length}"),
    };
    HeaderValue::try_from(text).ok()
}

/// The validator that a later range can be tied to (`If-Range`): a strong entity tag, or
/// a `Last-Modified` that is strong because it lies a minute before `Date` (RFC 9110
/// 8.8.2.2, 13.1.5).
pub fn validator(head: &Head) -> Option<HeaderValue> {
    let strong = |tag: &&[u8]| tag.starts_with(b"\"") && validate::opaque(tag).is_some();
    if let Some(tag) = head.find(&header::ETAG).filter(strong) {
        return HeaderValue::from_bytes(tag).ok();
    }
    let modified = head.find(&header::LAST_MODIFIED)?;
    let seconds = |value: &[u8]| date::parse(value, u64::MAX / 2);
    let (at, dated) = (seconds(modified)?, seconds(head.find(&header::DATE)?)?);
    (dated >= at.saturating_add(60)).then(|| HeaderValue::from_bytes(modified).ok()).flatten()
}

/// Whether the origin said that it takes no ranges of it (RFC 9110 14.3).
pub fn refuses_ranges(head: &Head) -> bool {
    head.find(&header::ACCEPT_RANGES).is_some_and(|said| said.eq_ignore_ascii_case(b"none"))
}

/// The manifest of an answer that is to be kept in pieces: `whole` is the entry without a
/// body, `total` the length. `fresh` is a random number, for answers without a strong
/// validator.
pub fn manifest(seed: KeySeed, whole: Entry, total: u64, fresh: u128) -> Entry {
    let version = validator(&whole.head).map_or(fresh, |validator| {
        let mut text = Vec::with_capacity(256);
        let mut put = |bytes: &[u8]| {
            text.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            text.extend_from_slice(bytes);
        };
        put(validator.as_bytes());
        put(whole.head.find(&header::ETAG).unwrap_or_default());
        put(whole.head.find(&header::CONTENT_ENCODING).unwrap_or_default());
        put(&total.to_le_bytes());
        for (name, value) in whole.vary.iter().flat_map(|vary| &vary.fields) {
            put(name.as_str().as_bytes());
            put(&[u8::from(value.is_some())]);
            put(value.as_deref().unwrap_or_default());
        }
        for tag in &whole.tags {
            put(tag.as_bytes());
        }
        xxh3_128_with_seed(&text, seed.0)
    });
    let head = match whole.head.status {
        StatusCode::OK => whole.head,
        _ => whole.head.joined(StatusCode::OK),
    };
    Entry { head, extent: Extent::Pieces { total, version }, body: SmallVec::new(), ..whole }
}

/// Length and version of an object in pieces.
pub fn of(entry: &Entry) -> Option<(Grid, u128)> {
    match entry.extent {
        Extent::Pieces { total, version } => Some((Grid { total }, version)),
        Extent::Whole | Extent::Part { .. } => None,
    }
}

/// The key of piece `n` of the object with this key text and version.
pub fn key(seed: KeySeed, text: &[u8], version: u128, n: u64) -> Key {
    let mut piece: SmallVec<[u8; 160]> = SmallVec::from_slice(text);
    piece.push(MARK);
    for shift in (0..32).rev() {
        piece.push(HEX[(version >> (shift * 4)) as usize & 15]);
    }
    piece.push(b'/');
    let mut digits: SmallVec<[u8; 20]> = SmallVec::new();
    let mut rest = n;
    loop {
        digits.push(b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    piece.extend(digits.into_iter().rev());
    Key::new(seed, piece)
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The key text of the object that a stored thing belongs to; its own unless it is a piece.
pub fn object_of(text: &[u8]) -> &[u8] {
    memchr::memchr(MARK, text).and_then(|at| text.get(..at)).unwrap_or(text)
}

/// Whether this is the key text of a piece.
pub fn is_piece(text: &[u8]) -> bool {
    memchr::memchr(MARK, text).is_some()
}

/// Piece `n` of `manifest` with these bytes, asked for at number `seq` of the ledger;
/// `None` if they are not as many as they should be.
pub fn piece(
    seed: KeySeed,
    manifest: &Entry,
    n: u64,
    body: SmallVec<[Bytes; 1]>,
    seq: u64,
) -> Option<(Key, Entry)> {
    let (grid, version) = of(manifest)?;
    let span = grid.span(n)?;
    if body.iter().map(|part| part.len() as u64).sum::<u64>() != span.len() {
        return None;
    }
    let key = key(seed, &manifest.key, version, n);
    let head = Head::pack(StatusCode::PARTIAL_CONTENT, &HeaderMap::new(), |_| true)?;
    let entry = Entry {
        key: key.text().into(),
        head,
        body,
        extent: Extent::Part { first: span.first, last: span.last, total: Some(grid.total) },
        freshness: manifest.freshness,
        vary: None,
        tags: manifest.tags.clone(),
        seq,
        checked_seq: AtomicU64::new(seq),
        soft_purged: AtomicBool::new(false),
    };
    Some((key, entry))
}

/// Whether `found` is piece `n` of an object with this grid; its key has been compared.
pub fn is_sound(grid: Grid, n: u64, found: &Arc<Entry>) -> bool {
    is_part(grid, n, found, found.body_len())
}

/// The same for a piece whose body, `length` bytes, lies elsewhere.
pub fn is_part(grid: Grid, n: u64, found: &Entry, length: u64) -> bool {
    grid.span(n).is_some_and(|span| {
        let Span { first, last } = span;
        found.extent == Extent::Part { first, last, total: Some(grid.total) }
            && length == span.len()
    })
}

/// What an origin's answer to a range of a known version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// These bytes of this version.
    Part(Span),
    /// All of this version: the origin ignored the range.
    Whole,
    /// Another version, or none: what is stored is out of date.
    Changed,
    /// Bytes of this version that were not asked for, or that cannot be told apart: the
    /// origin cannot be asked for ranges.
    Useless,
    /// No answer to the question (an error, a redirect, a demand for credentials).
    Refused,
}

/// Judges the head of an answer to a request for `asked` of `manifest` with its validator in
/// `If-Range` (RFC 9110 13.1.5, 15.3.7).
pub fn judge(manifest: &Entry, asked: Span, status: StatusCode, fields: &HeaderMap) -> Answered {
    let Some((grid, _)) = of(manifest) else { return Answered::Changed };
    let length = fields.get(header::CONTENT_LENGTH).map(HeaderValue::as_bytes);
    let length = length.map(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
    match status.as_u16() {
        206 => {}
        200 if is_same(&manifest.head, fields) && length.is_none_or(|l| l == Some(grid.total)) => {
            return Answered::Whole;
        }
        200 | 404 | 410 | 412 | 416 => return Answered::Changed,
        _ => return Answered::Refused,
    }
    let mut lines = fields.get_all(header::CONTENT_RANGE).into_iter();
    let said = lines.next().and_then(|line| ContentRange::parse(line.as_bytes()));
    let (Some(said), None) = (said, lines.next()) else { return Answered::Useless };
    if !is_same(&manifest.head, fields) || said.total.is_some_and(|total| total != grid.total) {
        return Answered::Changed;
    }
    // A server may send less than was asked for, and more; but the first byte must be there.
    let covers = said.first <= asked.first && asked.first <= said.last;
    let sound = said.last < grid.total && length.is_none_or(|length| length == Some(said.len()));
    match covers && sound {
        true => Answered::Part(Span { first: said.first, last: said.last }),
        false => Answered::Useless,
    }
}

/// Whether an answer is about the very bytes of the stored head: the same validators and
/// coding as far as it says them, and the one that identifies the version in any case.
pub fn is_same(stored: &Head, fields: &HeaderMap) -> bool {
    let agrees = |name: &HeaderName, needed: bool| match (stored.find(name), fields.get(name)) {
        (Some(old), Some(new)) => old == new.as_bytes(),
        (None, None) => true,
        (None, Some(_)) => false,
        // An answer to `If-Range` need not repeat all of it (RFC 9110 15.3.7).
        (Some(_), None) => !needed,
    };
    let tagged = stored.find(&header::ETAG).is_some();
    validator(stored).is_some()
        && agrees(&header::ETAG, true)
        && agrees(&header::LAST_MODIFIED, !tagged)
        && agrees(&header::CONTENT_ENCODING, false)
}
