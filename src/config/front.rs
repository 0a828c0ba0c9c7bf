//! `[[listen]]`, `[limits]`, `[deadlines]` and `[http2]`: what faces clients.

use std::ops::Range;
use std::time::Duration;

use super::place::{UNREAD, address, networks};
use super::reader::Table;
use crate::base::ByteSize;
use crate::front::{Deadlines, Http2Options, Limits, ListenerOptions, Options};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Fills the options of all listeners. `threads` and `backlog` come from `[node]`.
pub fn front(root: &mut Table<'_>, threads: usize, backlog: u32) -> Options {
    let listeners = root.tables("listen").into_iter().enumerate();
    Options {
        threads,
        backlog,
        listeners: listeners.map(|(n, table)| listener(table, n + 1)).collect(),
        limits: limits(root.table("limits")),
        deadlines: deadlines(root.table("deadlines")),
        http2: http2(root.table("http2")),
    }
}

fn listener(mut table: Table<'_>, number: usize) -> ListenerOptions {
    let missing = !table.has("addr");
    let addr = table.parsed_opt("addr", address).unwrap_or(UNREAD);
    if missing {
        table.error("addr", "a listener needs its address: addr = \"[::]:80\"");
    }
    let tls = table.flag("tls", false);
    let named = table.text_opt("name");
    let options = ListenerOptions {
        name: named.unwrap_or_else(|| default_name(tls, number)).into(),
        address: addr,
        tls,
        proxy_protocol: networks(&mut table, "proxy_protocol"),
    };
    table.end();
    options
}

/// `http-1`, `https-2`: the kind of listener and its place in the file.
pub fn default_name(tls: bool, number: usize) -> String {
    format!("{}-{number}", if tls { "https" } else { "http" })
}

fn bytes(table: &mut Table<'_>, key: &'static str, from: ByteSize, range: Range<u64>) -> ByteSize {
    ByteSize(table.size(key, from.bytes(), range))
}

fn limits(mut table: Table<'_>) -> Limits {
    let from = Limits::default();
    let most = 0..10_000_001;
    let options = Limits {
        connections_max: table.number("connections_max", from.connections_max as u64, most.clone())
            as usize,
        connections_per_address_max: table.number(
            "connections_per_address_max",
            from.connections_per_address_max as u64,
            most,
        ) as usize,
        head_max: bytes(&mut table, "head_max", from.head_max, 1 << 10..(1 << 20) + 1),
        heads_held_max: bytes(&mut table, "heads_held_max", from.heads_held_max, 1 << 16..1 << 40),
        target_max: bytes(&mut table, "target_max", from.target_max, 256..(1 << 16) + 1),
        fields_max: table.number("fields_max", from.fields_max as u64, 8..1_001) as usize,
        chunk_overhead_max: bytes(
            &mut table,
            "chunk_overhead_max",
            from.chunk_overhead_max,
            0..(1 << 20) + 1,
        ),
        body_max: bytes(&mut table, "body_max", from.body_max, 0..1 << 50),
    };
    table.end();
    options
}

fn deadlines(mut table: Table<'_>) -> Deadlines {
    let from = Deadlines::default();
    let mut time = |key, from| table.time(key, from, DAY);
    let handshake = time("handshake", from.handshake);
    let head = time("head", from.head);
    let idle = time("idle", from.idle);
    let body_idle = time("body_idle", from.body_idle);
    let body_grace = time("body_grace", from.body_grace);
    let write_stall = time("write_stall", from.write_stall);
    let linger = time("linger", from.linger);
    let drain_idle = time("drain_idle", from.drain_idle);
    let tunnel_idle = time("tunnel_idle", from.tunnel_idle);
    let tick = table.time("tick", from.tick, Duration::from_secs(5));
    if tick < Duration::from_millis(10) {
        table.error("tick", "tick: expected at least 10ms");
    }
    let rate = 0..1_000_000_001;
    let options = Deadlines {
        handshake,
        head,
        idle,
        body_idle,
        body_rate_min: table.number("body_rate_min", from.body_rate_min, rate.clone()),
        body_grace,
        write_stall,
        write_rate_min: table.number("write_rate_min", from.write_rate_min, rate),
        linger,
        drain_idle,
        tunnel_idle,
        tick,
    };
    table.end();
    options
}

fn http2(mut table: Table<'_>) -> Http2Options {
    let from = Http2Options::default();
    let window = 65_535..(1 << 30) + 1;
    let stream_window = bytes(&mut table, "stream_window", from.stream_window, window.clone());
    let connection_window = bytes(&mut table, "connection_window", from.connection_window, window);
    let send_buffer = bytes(&mut table, "send_buffer", from.send_buffer, 16_384..(1 << 26) + 1);
    let ping_interval = table.time("ping_interval", from.ping_interval, HOUR);
    let ping_timeout = table.time("ping_timeout", from.ping_timeout, HOUR);
    let mut count = |key, from: u32| table.number(key, u64::from(from), 1..1_000_001) as u32;
    let options = Http2Options {
        streams_max: count("streams_max", from.streams_max),
        stream_window,
        connection_window,
        send_buffer,
        ping_interval,
        ping_timeout,
        settings_per_minute: count("settings_per_minute", from.settings_per_minute),
        pings_per_minute: count("pings_per_minute", from.pings_per_minute),
        priorities_per_minute: count("priorities_per_minute", from.priorities_per_minute),
        empty_frames_per_minute: count("empty_frames_per_minute", from.empty_frames_per_minute),
        window_updates_per_minute: count(
            "window_updates_per_minute",
            from.window_updates_per_minute,
        ),
        resets_per_minute: count("resets_per_minute", from.resets_per_minute),
        local_resets_max: count("local_resets_max", from.local_resets_max as u32) as usize,
        continuations_max: count("continuations_max", from.continuations_max),
    };
    table.end();
    options
}
