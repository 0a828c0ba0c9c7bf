//! Traces and access logs.
#![no_main]

#[allow(dead_code)]
#[path = "../formats.rs"]
mod formats;

libfuzzer_sys::fuzz_target!(|input: &[u8]| formats::log_lines(input));
