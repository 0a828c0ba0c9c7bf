//! Answers of origins: head and chunks.
#![no_main]

#[allow(dead_code)]
#[path = "../streams.rs"]
mod streams;

libfuzzer_sys::fuzz_target!(|input: &[u8]| streams::answer(input));
