//! The request guard: no cut changes its outcome, and hyper reads what passes alike.
#![no_main]

#[allow(dead_code)]
#[path = "../streams.rs"]
mod streams;

libfuzzer_sys::fuzz_target!(|input: &[u8]| streams::guard(input));
