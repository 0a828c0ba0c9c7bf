//! Pieces: the arithmetic by properties, identity, and the judgement on ranges.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use proptest::prelude::*;
use smallvec::{SmallVec, smallvec};

use crate::rules::entry::{Entry, Extent};
use crate::rules::freshness::{Freshness, LifetimeSource};
use crate::rules::head::Head;
use crate::rules::key::KeySeed;
use crate::rules::partial;
use crate::rules::pieces::{self, Answered, Grid, PIECE};
use crate::rules::purge::{Subject, What};
use crate::rules::range::{self, Span, Wanted};

const SEED: KeySeed = KeySeed(7);
const KEY: &[u8] = b"https://a.example:443/film?x=1";

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    map
}

fn whole(fields: &[(&str, &str)], tags: &[&str]) -> Entry {
    Entry {
        key: KEY.into(),
        head: Head::pack(StatusCode::OK, &map(fields), |_| true).unwrap(),
        body: SmallVec::new(),
        extent: Extent::Whole,
        freshness: Freshness {
            received_mono_ms: 0,
            initial_age_ms: 0,
            lifetime_ms: 1000,
            while_revalidate_ms: 0,
            if_error_ms: 0,
            always_validate: false,
            never_stale: false,
            immutable: false,
            source: LifetimeSource::MaxAge,
        },
        vary: None,
        tags: tags.iter().map(|&tag| tag.into()).collect(),
        seq: 1,
        checked_seq: AtomicU64::new(1),
        soft_purged: AtomicBool::new(false),
    }
}

fn manifest(fields: &[(&str, &str)], total: u64) -> Entry {
    pieces::manifest(SEED, whole(fields, &[]), total, 99)
}

fn version(entry: &Entry) -> u128 {
    pieces::of(entry).unwrap().1
}

const OLD: &str = "Mon, 01 Dec 2025 00:00:00 GMT";
const NOW: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

#[test]
fn a_version_is_named_by_validator_length_and_tags() {
    let tag = |tag: &'static str, total| version(&manifest(&[("etag", tag)], total));
    assert_eq!(tag("\"a\"", 10), tag("\"a\"", 10));
    assert_ne!(tag("\"a\"", 10), tag("\"b\"", 10));
    assert_ne!(tag("\"a\"", 10), tag("\"a\"", 11));
    let tagged = pieces::manifest(SEED, whole(&[("etag", "\"a\"")], &["t"]), 10, 99);
    assert_ne!(version(&tagged), tag("\"a\"", 10));
    // Nothing strong: a number of its own each time.
    for weak in [&[("etag", "W/\"a\"")][..], &[], &[("last-modified", NOW), ("date", NOW)]] {
        assert_eq!(version(&manifest(weak, 10)), 99, "{weak:?}");
    }
    let dated = manifest(&[("last-modified", OLD), ("date", NOW)], 10);
    assert_ne!(version(&dated), 99);
    assert_eq!(pieces::validator(&dated.head).unwrap(), OLD);
}

#[test]
fn a_piece_belongs_to_its_object_and_to_no_other_key() {
    let key = pieces::key(SEED, KEY, 0xab, 12);
    let text = String::from_utf8(key.text().to_vec()).unwrap();
    assert_eq!(text, format!("{} {:032x}/12", String::from_utf8_lossy(KEY), 0xab));
    assert_eq!(pieces::object_of(key.text()), KEY);
    assert!(pieces::is_piece(key.text()) && !pieces::is_piece(KEY));
    assert_ne!(key.hash(), pieces::key(SEED, KEY, 0xac, 12).hash());
    assert_ne!(key.hash(), pieces::key(SEED, KEY, 0xab, 2).hash());
    let (of_piece, of_object) =
        (Subject::of(key.text(), &[]).unwrap(), Subject::of(KEY, &[]).unwrap());
    assert!(What::Url(KEY.into()).matches(&of_piece));
    assert_eq!(of_piece.url(), of_object.url());
}

#[test]
fn a_piece_of_the_wrong_length_is_none() {
    let entry = manifest(&[("etag", "\"a\"")], PIECE + 5);
    let body = |length: usize| smallvec![Bytes::from(vec![7; length])];
    let grid = Grid { total: PIECE + 5 };
    let (_, last) = pieces::piece(SEED, &entry, 1, body(5), 3).unwrap();
    assert_eq!((last.seq, last.body_len()), (3, 5));
    let last = Arc::new(last);
    assert!(pieces::is_sound(grid, 1, &last) && !pieces::is_sound(grid, 0, &last));
    assert!(!pieces::is_sound(Grid { total: PIECE + 6 }, 1, &last));
    for (n, length) in [(0, 5), (1, 4), (1, 6), (2, 5)] {
        assert!(pieces::piece(SEED, &entry, n, body(length), 3).is_none(), "{n} {length}");
    }
}

#[test]
fn an_answer_to_a_range_is_judged_by_validator_and_place() {
    let total = 4 * PIECE;
    let entry = manifest(&[("etag", "\"a\""), ("last-modified", OLD), ("date", NOW)], total);
    let asked = Span { first: PIECE, last: 2 * PIECE - 1 };
    let judge = |status: u16, fields: &[(&str, &str)]| {
        pieces::judge(&entry, asked, StatusCode::from_u16(status).unwrap(), &map(fields))
    };
    let at = |first: u64, last: u64| format!("bytes {first}-{last}/{total}");
    let exact = at(PIECE, 2 * PIECE - 1);
    let part = |first, last| Answered::Part(Span { first, last });
    assert_eq!(
        judge(206, &[("etag", "\"a\""), ("content-range", &exact)]),
        part(PIECE, 2 * PIECE - 1)
    );
    let less = at(PIECE, PIECE + 9);
    assert_eq!(judge(206, &[("etag", "\"a\""), ("content-range", &less)]), part(PIECE, PIECE + 9));
    let more = at(0, total - 1);
    assert_eq!(judge(206, &[("etag", "\"a\""), ("content-range", &more)]), part(0, total - 1));
    for (status, fields, wanted) in [
        (206, vec![("etag", "\"b\""), ("content-range", exact.as_str())], Answered::Changed),
        (206, vec![("content-range", exact.as_str())], Answered::Changed),
        (
            206,
            vec![("etag", "\"a\""), ("last-modified", NOW), ("content-range", &exact)],
            Answered::Changed,
        ),
        (
            206,
            vec![("etag", "\"a\""), ("content-encoding", "br"), ("content-range", &exact)],
            Answered::Changed,
        ),
        (
            206,
            vec![("etag", "\"a\""), ("content-range", "bytes 1048576-2097151/9999999")],
            Answered::Changed,
        ),
        (206, vec![("etag", "\"a\"")], Answered::Useless),
        (206, vec![("etag", "\"a\""), ("content-range", "bytes 5-9/4194304")], Answered::Useless),
        (
            206,
            vec![("etag", "\"a\""), ("content-range", &exact), ("content-length", "3")],
            Answered::Useless,
        ),
        (200, vec![("etag", "\"a\"")], Answered::Whole),
        (200, vec![("etag", "\"a\""), ("content-length", "4194304")], Answered::Whole),
        (200, vec![("etag", "\"a\""), ("content-length", "4")], Answered::Changed),
        (200, vec![("etag", "\"b\"")], Answered::Changed),
        (416, vec![], Answered::Changed),
        (404, vec![], Answered::Changed),
        (403, vec![], Answered::Refused),
        (503, vec![], Answered::Refused),
    ] {
        assert_eq!(judge(status, &fields), wanted, "{status} {fields:?}");
    }
}

proptest! {
    /// Every byte is in exactly one piece, and the pieces lie side by side.
    #[test]
    fn pieces_cover_every_byte_once(total in 1u64..40 * PIECE) {
        let grid = Grid { total };
        let spans: Vec<Span> = (0..grid.count()).map(|n| grid.span(n).unwrap()).collect();
        prop_assert_eq!(grid.span(grid.count()), None);
        let mut next = 0;
        for (n, span) in spans.iter().enumerate() {
            prop_assert_eq!(span.first, next);
            prop_assert_eq!(pieces::floor(span.first), span.first);
            prop_assert_eq!(span.first / PIECE, n as u64);
            prop_assert_eq!(grid.next(span.first), span.last + 1);
            next = span.last + 1;
        }
        prop_assert_eq!(next, total);
    }

    /// What a range is widened to holds it, is made of whole pieces, and of no more than it
    /// touches.
    #[test]
    fn widening_keeps_the_range_and_adds_less_than_two_pieces(
        total in 1u64..40 * PIECE, one in any::<u64>(), two in any::<u64>(),
    ) {
        let (one, two) = (one % total, two % total);
        let span = Span { first: one.min(two), last: one.max(two) };
        let wide = Grid { total }.aligned(span);
        prop_assert!(wide.first <= span.first && span.last <= wide.last && wide.last < total);
        prop_assert!(wide.len() - span.len() <= 2 * (PIECE - 1));
        prop_assert!(wide.first.is_multiple_of(PIECE));
        prop_assert!((wide.last + 1).is_multiple_of(PIECE) || wide.last + 1 == total);
    }

    /// A run that asks for one stride after the other asks for every byte once, in whole pieces,
    /// and never for much more than has been read.
    #[test]
    fn strides_cover_what_is_wanted_and_grow_with_what_is_read(
        total in 1u64..400 * PIECE, one in any::<u64>(), two in any::<u64>(),
    ) {
        let (one, two) = (one % total, two % total);
        let all = Span { first: one.min(two), last: one.max(two) };
        let mut at = all.first;
        while at <= all.last {
            let read = at - all.first;
            let now = pieces::stride(Span { first: at, ..all }, read);
            prop_assert!(now.first == at && now.first <= now.last && now.last <= all.last);
            prop_assert!((now.last + 1).is_multiple_of(PIECE) || now.last == all.last);
            prop_assert!(now.len() <= read.clamp(2 * PIECE, 32 * PIECE) * 3 / 2);
            at = now.last + 1;
        }
        prop_assert_eq!(at, all.last + 1);
    }

    /// Asking for the widened range, or for the beginning of it if what is longer is kept in
    /// pieces, and cutting the client's out of the answer is the same as asking for the
    /// client's.
    #[test]
    fn widened_and_cut_is_the_range_itself(
        total in 1u64..5 * PIECE, low in any::<u64>(), high in any::<u64>(), form in 0..3,
        cut in any::<bool>(),
    ) {
        let (low, high) = (low % (total + 9), high % (total + 9));
        let text = match form {
            0 => format!("bytes={}-{}", low.min(high), low.max(high)),
            1 => format!("bytes={low}-"),
            _ => format!("bytes=-{low}"),
        };
        let direct = range::resolve(&range::parse(text.as_bytes()).unwrap(), total);
        let spec = range::parse(text.as_bytes()).unwrap()[0];
        let wide = pieces::widened(spec, cut.then(|| pieces::first_stride(total))).unwrap();
        let sent = range::resolve(&range::parse(wide.as_bytes()).unwrap(), total);
        let Wanted::One(sent) = sent else {
            prop_assert_eq!(direct, Wanted::Unsatisfiable);
            return Ok(());
        };
        let part = Extent::Part { first: sent.first, last: sent.last, total: Some(total) };
        let fields = map(&[("range", text.as_str())]);
        match partial::cut(&Method::GET, &fields, part) {
            Some(span) => prop_assert_eq!(direct, Wanted::One(span)),
            None => prop_assert_eq!(direct, Wanted::Unsatisfiable),
        }
    }
}
