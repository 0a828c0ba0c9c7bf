//! Header blocks of HTTP/2, walked before h2 reads them.
#![no_main]

#[allow(dead_code)]
#[path = "../streams.rs"]
mod streams;

libfuzzer_sys::fuzz_target!(|input: &[u8]| streams::block(input));
