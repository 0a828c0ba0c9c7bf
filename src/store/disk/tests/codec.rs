//! The record codec, by property: what goes in comes out, and nothing makes it panic.

use proptest::prelude::*;

use super::*;
use crate::base::Now;
use crate::store::disk::format::{
    ALIGN, BLOCK, Header, Kind, encode_front, split_front, verify_blocks,
};
use crate::store::disk::segment::{
    Footer, FooterEntry, SegmentHeader, TRAILER, Trailer, encode_footer, scan_step,
};

const NOW: Now = Now { mono_ms: 1 << 43, wall_ms: WALL };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_record_comes_back_as_it_went_in(
        key in "[a-z]{1,40}",
        lens in proptest::collection::vec(0usize..BLOCK + 99, 0..4),
        tags in proptest::collection::vec("[a-z0-9]{1,9}", 0..5),
        languages in proptest::option::of("[a-z]{0,8}"),
        ages in any::<(u32, u32, u32)>(),
        part in proptest::option::of(any::<(u32, u32, Option<u32>)>()),
        soft in any::<bool>(),
    ) {
        let mut one = match languages {
            Some(language) => varied(&key, &language, Bytes::new()),
            None => entry(&key, Bytes::new()),
        };
        one.body = lens.iter().map(|len| body(*len as u64, *len)).collect();
        one.tags = tags.into_iter().map(Box::from).collect();
        one.freshness.received_mono_ms = NOW.mono_ms - u64::from(ages.0);
        one.freshness.initial_age_ms = ages.1.into();
        one.freshness.lifetime_ms = ages.2.into();
        one.soft_purged = AtomicBool::new(soft);
        if let Some((first, last, total)) = part {
            let total = total.map(u64::from);
            one.extent = Extent::Part { first: first.into(), last: last.into(), total };
        }
        let written = meta::encode(&one, NOW, Run(1));
        let stamp = Header { serial: 9, ..Header::stamp(Kind::Entry, 77, 3, 8) };
        let (header, front) = encode_front(stamp, &written, &one.body).unwrap();
        prop_assert_eq!(Header::decode(&front).unwrap(), header);
        prop_assert_eq!(header.total_len() % ALIGN, 0);
        let (read, sums) = split_front(&header, &front).unwrap();
        prop_assert_eq!(read, &written[..]);
        prop_assert!(verify_blocks(sums, 0, &one.body.concat()).is_ok());
        let later = Now { mono_ms: NOW.mono_ms + 5, wall_ms: 0 };
        let back = meta::decode(read, one.body.clone(), 8, later, Run(1)).unwrap();
        prop_assert_eq!((&back.key, &back.head, &back.tags), (&one.key, &one.head, &one.tags));
        prop_assert_eq!((back.extent, &back.vary), (one.extent, &one.vary));
        prop_assert_eq!(back.freshness.age_ms(later), one.freshness.age_ms(NOW) + 5);
        prop_assert_eq!(back.is_soft_purged(), soft);
        prop_assert_eq!(back.checked_seq.into_inner(), 8);
        // Cut or changed anywhere, it is refused or at least does not panic.
        for cut in 0..written.len() {
            let _ = meta::decode(&written[..cut], SmallVec::new(), 0, NOW, Run(1));
            let _ = meta::decode_facts(&written[..cut]);
        }
    }

    #[test]
    fn a_footer_comes_back_as_it_went_in(
        prints in proptest::collection::vec(any::<(u64, u32)>(), 0..50),
        sealed in any::<bool>(),
    ) {
        let place = |(n, (print, variant)): (usize, (u64, u32))| {
            let kind = Kind::Entry;
            let (offset, proved) = (64 + 128 * n as u64, n % 2 == 0);
            FooterEntry { print, offset, len: 128, variant, kind, proved }
        };
        let entries: Vec<_> = prints.into_iter().enumerate().map(place).collect();
        let footer = Footer { sealed, end: 64 + 128 * entries.len() as u64, entries };
        let bytes = encode_footer(5, &footer);
        let (listed, trailer) = bytes.split_at(bytes.len() - TRAILER);
        let read = Trailer::decode(trailer, 5, 1 << 20).unwrap();
        prop_assert_eq!(read.footer(listed).unwrap(), footer);
        prop_assert!(Trailer::decode(trailer, 6, 1 << 20).is_err());
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Header::decode(&bytes);
        let _ = SegmentHeader::decode(&bytes);
        let _ = Trailer::decode(&bytes, 1, 1 << 20);
        let _ = scan_step(&bytes, 64, 1, 1 << 20);
        let _ = meta::decode(&bytes, SmallVec::new(), 0, NOW, Run(1));
        let _ = meta::decode_facts(&bytes);
    }
}
