//! The request guard: no cut changes its outcome, and what passes is what came. The first
//! byte of an input is the size of the pieces.
#![no_main]

use brink::front::Limits;
use brink::front::guard::{HeadLimits, replay};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((piece, bytes)) = input.split_first() else { return };
    let cuts = vec![usize::from(*piece); bytes.len()];
    let small = HeadLimits { head: 120, target: 20, fields: 4, overhead: 8, body: 100 };
    for limits in [HeadLimits::from(&Limits::default()), small] {
        let whole = replay(bytes, &[], limits);
        assert!(bytes.starts_with(&whole.passed));
        assert_eq!(whole, replay(bytes, &cuts, limits));
    }
});
