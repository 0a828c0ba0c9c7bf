//! Every setting of the listeners, with its unit, default and reason.
//!
//! Defaults follow the strictest trusted peer that does not hurt real clients. Nothing
//! here is parsed: `config` fills these structs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::base::ByteSize;

/// Settings of all listeners.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that serve clients; 0 means one a core.
    pub threads: usize,
    /// Connections the kernel may queue before they are accepted, a listener and thread.
    pub backlog: u32,
    /// What a client may hold.
    pub limits: Limits,
    /// How long it may hold it.
    pub deadlines: Deadlines,
    /// HTTP/2 only.
    pub http2: Http2Options,
    /// Where to listen. Empty means nothing is served.
    pub listeners: Vec<ListenerOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            threads: 0,
            backlog: 1024,
            limits: Limits::default(),
            deadlines: Deadlines::default(),
            http2: Http2Options::default(),
            listeners: Vec::new(),
        }
    }
}

/// One address to listen on.
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    /// The name in logs and counters.
    pub name: Arc<str>,
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Whether TLS is spoken here; else plain HTTP/1.1 and HTTP/2 with prior knowledge.
    pub tls: bool,
    /// Networks whose connections must begin with a PROXY protocol header (version 1 or
    /// 2), which then names the client. Empty: never read one.
    pub proxy_protocol: Vec<IpNet>,
}

/// How much a client may make the node hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open client connections in total; 0 derives it from the limit of open files.
    pub connections_max: usize,
    /// Open connections of one IPv4 address or one IPv6 /64.
    pub connections_per_address_max: usize,
    /// Bytes of a request head (RFC 9112 2.1: request line and fields): 431 above.
    pub head_max: ByteSize,
    /// Bytes of unfinished request heads that all connections together may hold: 503 above.
    pub heads_held_max: ByteSize,
    /// Bytes of the request target: 414 above.
    pub target_max: ByteSize,
    /// Field lines of a request: 431 above.
    pub fields_max: usize,
    /// Bytes of chunk extensions, and of trailers, of one request body.
    pub chunk_overhead_max: ByteSize,
    /// Bytes of a request body; 0 means no limit: 413 above.
    pub body_max: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: 0,
            connections_per_address_max: 2_000,
            head_max: ByteSize::kib(32),
            heads_held_max: ByteSize::mib(16),
            target_max: ByteSize::kib(8),
            fields_max: 100,
            chunk_overhead_max: ByteSize::kib(16),
            body_max: ByteSize(0),
        }
    }
}

/// How long a client may make the node wait.
#[derive(Clone, Debug)]
pub struct Deadlines {
    /// PROXY header and TLS handshake together.
    pub handshake: Duration,
    /// From the first byte of a request head to its end: 408 after.
    pub head: Duration,
    /// Between two requests, and before the first.
    pub idle: Duration,
    /// Without any byte of a request body while the node waits for one.
    pub body_idle: Duration,
    /// Slowest acceptable request body, bytes a second, measured over the time the node
    /// waited, once that exceeds `body_grace`.
    pub body_rate_min: u64,
    /// See `body_rate_min`.
    pub body_grace: Duration,
    /// Without the client taking any byte of an answer.
    pub write_stall: Duration,
    /// Slowest acceptable reader, bytes a second, measured over the time the node waited,
    /// once that exceeds `write_stall`.
    pub write_rate_min: u64,
    /// After the last answer, how long unread bytes of the client are drained so that the
    /// answer is not lost to a reset.
    pub linger: Duration,
    /// While draining: how long an idle connection may still send one more request.
    pub drain_idle: Duration,
    /// A tunnel (WebSocket) without a byte in either direction.
    pub tunnel_idle: Duration,
    /// How often deadlines are looked at; they are late by at most this.
    pub tick: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines {
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            body_idle: Duration::from_secs(30),
            body_rate_min: 500,
            body_grace: Duration::from_secs(10),
            write_stall: Duration::from_secs(30),
            write_rate_min: 500,
            linger: Duration::from_secs(2),
            drain_idle: Duration::from_secs(1),
            tunnel_idle: Duration::from_secs(600),
            tick: Duration::from_millis(250),
        }
    }
}

/// HTTP/2 limits (RFC 9113 10.5). Budgets are a minute and a connection.
#[derive(Clone, Debug)]
pub struct Http2Options {
    /// Streams a client may have open at once.
    pub streams_max: u32,
    /// Receive window of a stream, bytes.
    pub stream_window: ByteSize,
    /// Receive window of a connection, bytes.
    pub connection_window: ByteSize,
    /// Bytes of one answer that may wait in a stream's send buffer.
    pub send_buffer: ByteSize,
    /// PING to a silent client this often.
    pub ping_interval: Duration,
    /// Close when a PING stays unanswered this long.
    pub ping_timeout: Duration,
    /// SETTINGS frames without ACK.
    pub settings_per_minute: u32,
    /// PING frames without ACK.
    pub pings_per_minute: u32,
    /// PRIORITY and PRIORITY_UPDATE frames.
    pub priorities_per_minute: u32,
    /// Empty DATA or header frames that end nothing.
    pub empty_frames_per_minute: u32,
    /// WINDOW_UPDATE frames above four for each DATA frame sent.
    pub window_updates_per_minute: u32,
    /// Streams reset by the client, beyond one for each finished request.
    pub resets_per_minute: u32,
    /// Streams this side had to reset because of the client, in all.
    pub local_resets_max: usize,
    /// CONTINUATION frames of one header block.
    pub continuations_max: u32,
}

impl Default for Http2Options {
    fn default() -> Self {
        Http2Options {
            streams_max: 100,
            stream_window: ByteSize::kib(256),
            connection_window: ByteSize::mib(1),
            send_buffer: ByteSize::kib(128),
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
            settings_per_minute: 14,
            pings_per_minute: 60,
            priorities_per_minute: 120,
            empty_frames_per_minute: 100,
            window_updates_per_minute: 10_000,
            resets_per_minute: 100,
            local_resets_max: 100,
            continuations_max: 8,
        }
    }
}
