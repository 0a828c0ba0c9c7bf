//! The strict reader by itself: wherever its input is split, the verdict is the same.

use proptest::prelude::*;

use crate::origin::answer::Reader;
use crate::origin::framing::Expect;

/// The verdict on `bytes` in pieces of the given sizes, and whether the answer is over.
fn verdict(bytes: &[u8], sizes: &[usize], expect: Expect) -> (Result<(), ()>, bool) {
    let mut reader = Reader::default();
    reader.begin(expect);
    let mut rest = bytes;
    let mut sizes = sizes.iter().copied().cycle();
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(1).clamp(1, rest.len());
        let (piece, after) = rest.split_at(size);
        match reader.feed(piece) {
            Err(_) => return (Err(()), false),
            // What follows an answer is nobody's.
            Ok(used) if used < piece.len() || reader.is_idle() => return (Ok(()), true),
            Ok(_) => rest = after,
        }
    }
    (Ok(()), reader.is_idle())
}

const SAMPLES: [&str; 8] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nA: b\r\n\r\n",
    "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\nb\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!",
    "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nanything",
];

proptest! {
    #[test]
    fn any_split_of_any_damaged_answer_gives_one_verdict(
        sample in 0..SAMPLES.len(),
        damage in proptest::collection::vec((0..200usize, any::<u8>()), 0..3),
        sizes in proptest::collection::vec(1..20usize, 1..8),
        head in any::<bool>(),
        upgrade in any::<bool>(),
    ) {
        let mut bytes = SAMPLES[sample].as_bytes().to_vec();
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let expect = Expect { head, upgrade };
        let whole = verdict(&bytes, &[usize::MAX], expect);
        prop_assert_eq!(whole, verdict(&bytes, &sizes, expect));
        prop_assert_eq!(whole, verdict(&bytes, &[1], expect));
    }

    #[test]
    fn noise_is_refused_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
        prop_assume!(!b"HTTP/1.".starts_with(&bytes[..bytes.len().min(7)]));
        prop_assert_eq!(verdict(&bytes, &[3], Expect::default()).0, Err(()));
    }
}
