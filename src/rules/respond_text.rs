//! The head of a whole stored response as HTTP/1.1 text.
//!
//! Says exactly what `respond::full` says as a map (a property test holds them together),
//! for the connection that writes it itself: no map, no shared values, one pass over the
//! packed block into the buffer that is sent.

use std::fmt;

use http::StatusCode;

use super::control::DELTA_MAX;
use super::entry::Entry;
use super::respond::{self, Dress};

/// Appends status line, fields and the empty line to `out`. `false`: not a head that can be
/// written like this (a part, a status without content or without a name); `out` is then as
/// it was.
pub fn full(entry: &Entry, dress: &Dress<'_>, out: &mut Vec<u8>) -> bool {
    let status = entry.head.status;
    let Some(reason) = status.canonical_reason() else { return false };
    if !entry.is_whole() || !respond::has_content(status) {
        return false;
    }
    for part in [b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
    let mut accepts_ranges = status != StatusCode::OK;
    for (name, value) in entry.head.lines() {
        match name {
            // Made anew below.
            b"age" | b"content-length" => continue,
            b"accept-ranges" => accepts_ranges = true,
            _ => {}
        }
        field(name, value, out);
    }
    let age = entry.freshness.age_ms(dress.now) / 1000;
    number(b"age", age.min(u64::from(DELTA_MAX)), out);
    field(b"via", dress.via.as_bytes(), out);
    out.extend_from_slice(b"cache-status: ");
    dress.outcome.write_cache_status(dress.node, &mut Text(out));
    out.extend_from_slice(b"\r\n");
    if !accepts_ranges {
        field(b"accept-ranges", b"bytes", out);
    }
    number(b"content-length", entry.content_len(), out);
    out.extend_from_slice(b"\r\n");
    true
}

fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn number(name: &[u8], value: u64, out: &mut Vec<u8>) {
    field(name, itoa::Buffer::new().format(value).as_bytes(), out);
}

/// Text appended to bytes.
struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
