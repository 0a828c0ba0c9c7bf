//! What must hold of every reader outside of the caching rules, whatever the bytes: records
//! on disk, purges in the ledger file, PROXY headers, configurations, traces, units. A file of
//! its own beside the rules' properties, because these readers belong to other layers. Shared
//! in the same way.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use brink::base::units::{format_duration, parse_duration};
use brink::base::{ByteSize, Now};
use brink::front::proxy_protocol;
use brink::lab::trace;
use brink::rules::purge::Purge;
use brink::store::disk::format::{self, Header, Kind};
use brink::store::disk::meta::{self, Run};
use bytes::Bytes;

/// Every property by the name of its fuzz target and corpus directory.
pub const ALL: [(&str, fn(&[u8])); 7] = [
    ("record", record),
    ("meta", stored),
    ("purge", purge),
    ("proxy", proxy),
    ("config", config),
    ("trace", log_lines),
    ("units", units),
];

/// A record reads as what was written, and not at all after one byte of it changed. The
/// first two bytes of the input say which and how.
pub fn record(input: &[u8]) {
    if let Some((header, meta, body)) = read_record(input) {
        let (again, _) =
            format::encode_front(header, meta, std::slice::from_ref(&body)).expect("it fitted");
        assert_eq!(again, header);
    }
    let [place, flip, rest @ ..] = input else { return };
    let (meta, body) = halves(rest);
    let (left, right) = body.split_at(body.len() / 2);
    let pieces = [Bytes::copy_from_slice(left), Bytes::copy_from_slice(right)];
    let stamp = Header { serial: 7, ..Header::stamp(Kind::Entry, 1 << 100, 3, 9) };
    let (header, mut bytes) = format::encode_front(stamp, meta, &pieces).expect("it is small");
    bytes.extend_from_slice(body);
    assert_eq!(read_record(&bytes), Some((header, meta, Bytes::copy_from_slice(body))));
    let at = usize::from(*place) * bytes.len() / 256;
    bytes[at] ^= flip;
    assert_eq!(read_record(&bytes).is_some(), *flip == 0, "byte {at}");
}

fn read_record(bytes: &[u8]) -> Option<(Header, &[u8], Bytes)> {
    let header = Header::decode(bytes).ok()?;
    let (front, rest) = bytes.split_at_checked(header.body_offset())?;
    let (meta, sums) = format::split_front(&header, front).ok()?;
    let body = rest.get(..header.body_len as usize)?;
    format::verify_blocks(sums, 0, body).ok()?;
    Some((header, meta, Bytes::copy_from_slice(body)))
}

/// What a meta block is read as is written and read as the same, by both of its readers.
pub fn stored(input: &[u8]) {
    let now = Now { mono_ms: 5_000, wall_ms: 1_800_000_000_000 };
    let read = |meta: &[u8]| meta::decode(meta, Default::default(), 0, now, Run(1));
    let Some(entry) = read(input) else { return };
    let written = meta::encode(&entry, now, Run(1));
    let again = read(&written).expect("it was just written");
    assert_eq!(written, meta::encode(&again, now, Run(1)));
    assert_eq!((&entry.key, &entry.head, &entry.tags), (&again.key, &again.head, &again.tags));
    let facts = meta::decode_facts(&written).expect("one reader takes it");
    assert_eq!((facts.key, &*facts.tags, facts.since), (&*entry.key, &*entry.tags, entry.seq));
}

/// Read, write, read is the identity.
pub fn purge(input: &[u8]) {
    let Ok(purge) = Purge::decode(input) else { return };
    let mut written = Vec::new();
    purge.encode(&mut written);
    assert_eq!(Purge::decode(&written), Ok(purge));
}

/// A header ends where it ends, whatever follows; no part of it is one; and the client it
/// names has the same name in version 1.
pub fn proxy(input: &[u8]) {
    let Some((said, used)) = heard(input) else { return };
    let header = &input[..used];
    assert_eq!(heard(&[header, b"GET / HTTP/1.1\r\n"].concat()), Some((said, used)));
    for cut in [used / 2, used - 1] {
        assert_eq!(heard(&header[..cut]), None);
    }
    let Some((client, server)) = said else { return };
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.port(), server.port());
    let line = format!("PROXY {family} {} {} {from} {to}\r\n", client.ip(), server.ip());
    assert_eq!(heard(line.as_bytes()), Some((said, line.len())));
}

/// What the header at the start of `bytes` says and how long it is. Bytes in memory are
/// always ready, so one poll reads them.
fn heard(bytes: &[u8]) -> Option<(Option<(SocketAddr, SocketAddr)>, usize)> {
    let mut rest = bytes;
    let polled = {
        let reading = pin!(proxy_protocol::read(&mut rest));
        reading.poll(&mut Context::from_waker(Waker::noop()))
    };
    let Poll::Ready(said) = polled else { panic!("it waits for bytes that are there") };
    Some((said.ok()?, bytes.len() - rest.len()))
}

/// Every problem names a setting or a place inside the text, and a comment line above
/// moves all places by one line and nothing else.
pub fn config(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let text = text.trim_start_matches('\u{feff}');
    let read = |text: &str, down: usize| -> Vec<_> {
        let outcome = brink::config::parse(text, "node.toml", Path::new("/nonexistent"));
        assert_eq!(outcome.config.is_none(), outcome.errors() > 0);
        outcome.render();
        let place = |problem: &brink::config::Problem| {
            assert!(problem.span.is_some() || !problem.path.is_empty(), "{problem:?}");
            let place = problem.place(text);
            assert_eq!(place.is_some(), problem.span.is_some(), "{problem:?}");
            place.map(|place| (place.line - down, place.column))
        };
        outcome.problems.iter().map(|one| (place(one), one.message.clone())).collect()
    };
    assert_eq!(read(text, 0), read(&format!("# A comment.\n{text}"), 1));
}

/// Every line is a request, is left out or is bad; and every request is of a known object
/// of some size.
pub fn log_lines(input: &[u8]) {
    let (trace, summary) = trace::read_bytes(input);
    let requests = trace.requests.len() as u64;
    assert_eq!(summary.lines, requests + summary.left_out + summary.bad);
    assert!(summary.sizes_inferred <= requests);
    let sound = |one: &trace::Request| (one.object as usize) < trace.objects() && one.size > 0;
    assert!(trace.requests.iter().all(sound));
    // A sample says itself what it stands for; sums of large numbers are rounded.
    let within = trace.footprint() as f64 <= trace.bytes() as f64 * (1.0 + 1e-9);
    assert!(within || trace.sample.is_some());
}

/// Parse, print, parse is the identity for every duration and for every size that prints
/// exactly; another size comes back within a twentieth of its unit.
pub fn units(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let number = input.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let spans = [parse_duration(&text).ok(), number.map(Duration::from_millis)];
    for span in spans.into_iter().flatten() {
        assert_eq!(parse_duration(&format_duration(span)), Ok(span));
    }
    for size in [text.parse().ok(), number.map(ByteSize)].into_iter().flatten() {
        let printed = size.to_string();
        let Ok(again) = printed.parse::<ByteSize>() else {
            assert!(size.bytes() > u64::MAX - (1 << 40), "{printed}");
            continue;
        };
        let off = if printed.contains('.') { (size.bytes() / 20).max(1) } else { 0 };
        assert!(size.bytes().abs_diff(again.bytes()) <= off, "{size:?} {printed}");
    }
}

/// The input before and after its first line break.
fn halves(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|&byte| byte == b'\n') {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, input),
    }
}
