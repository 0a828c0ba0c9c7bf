//! The client of our own for origins: no cut changes what it reads, and hyper reads the same.
#![no_main]

#[allow(dead_code)]
#[path = "../streams.rs"]
mod streams;

libfuzzer_sys::fuzz_target!(|input: &[u8]| streams::bare(input));
