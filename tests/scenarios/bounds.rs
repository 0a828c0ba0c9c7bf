//! Promise P6: every bound has a setting, a counter, and a test that reaches it.
//!
//! The settings are made small here, so that a bound is reached with little; that the
//! defaults hold under real attacks is shown by `tests/proof/attacks.py`.

use crate::support::client::request;
use crate::support::frames::{END_HEADERS, END_STREAM, Fate, RawH2, frame, kind, literals};
use crate::support::reply::fresh;
use crate::support::*;

const POST: [(&[u8], &[u8]); 4] = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"site.test"),
    (b":path", b"/p"),
];

/// A node with these sections and an admin listener to count with.
struct Bounded {
    origin: Origin,
    node: Node,
    dir: tempfile::TempDir,
}

impl Bounded {
    fn new(sections: &str) -> Self {
        let length = |target: &str| if target == "/large" { 16 << 20 } else { 1000 };
        Self::before(
            Origin::start(move |seen| fresh(60, "x".repeat(length(&seen.target)))),
            sections,
        )
    }

    fn before(origin: Origin, sections: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        let node = Node::start(&format!(
            "{sections}\n[admin]\naddr = \"127.0.0.1:0\"\ntoken_file = {token:?}\n[[origin]]\n\
             name = \"app\"\nservers = [\"http://{}\"]\n[[site]]\norigin = \"app\"\n",
            origin.addr
        ));
        Bounded { origin, node, dir }
    }

    /// The value of a line of `/metrics`, 0 if it is not there.
    fn metric(&self, line: &str) -> u64 {
        let token = std::fs::read_to_string(self.dir.path().join("token")).unwrap();
        let token = token.split_whitespace().last().unwrap_or_default();
        let mut admin = self.node.admin();
        admin.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n");
        admin.send(format!("Authorization: Bearer {token}\r\n\r\n"));
        let answer = admin.answer();
        assert_eq!(answer.status, 200, "{}", answer.head);
        let all = answer.text();
        let found = all.lines().find_map(|one| one.strip_prefix(line));
        found.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(0.0) as u64
    }

    /// How often a limit was reached.
    fn limit(&self, name: &str) -> u64 {
        self.metric(&format!("brink_limits_total{{limit=\"{name}\"}}"))
    }

    /// How often the node answered with a fault.
    fn fault(&self, name: &str) -> u64 {
        self.metric(&format!("brink_faults_total{{fault=\"{name}\"}}"))
    }

    /// A well-behaved client on a new connection.
    #[track_caller]
    fn serves(&self) {
        assert_eq!(self.node.client().get("/good").status, 200);
    }
}

const QUICK: &str = "[deadlines]\nhead = \"200ms\"\nbody_idle = \"200ms\"\nidle = \"200ms\"\n\
                     write_stall = \"300ms\"\nhandshake = \"200ms\"\ntick = \"20ms\"\n";

#[test]
fn a_slow_head_is_answered_408_and_counted() {
    let bounded = Bounded::new(QUICK);
    let mut client = bounded.node.client();
    client.send("GET /a HTTP/1.1\r\nHost: site.test\r\nX: ");
    assert_eq!(client.answer().status, 408);
    client.expect_closed();
    assert_eq!(bounded.origin.count(), 0);
    assert_eq!(bounded.limit("head_timeouts"), 1);
    bounded.serves();
}

#[test]
fn a_slow_body_is_answered_408_and_not_whole_for_the_origin() {
    let bounded = Bounded::new(QUICK);
    for framing in ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = bounded.node.client();
        client.send(request("POST", "/p", framing)).send("4\r\nhe");
        assert_eq!(client.answer().status, 408, "{framing}");
        client.expect_closed();
    }
    eventually("the origin sees the cut", || {
        bounded.origin.requests().iter().all(|seen| seen.ended != Ended::Clean)
    });
    assert_eq!(bounded.limit("body_timeouts"), 2);
    bounded.serves();
}

#[test]
fn idle_connections_and_silent_handshakes_end() {
    let bounded = Bounded::new(QUICK);
    bounded.node.client().expect_closed();
    let mut silent = Client::connect(bounded.node.tls_addr());
    silent.expect_closed();
    let mut raw = bounded.node.raw_h2();
    assert!(matches!(raw.fate(1), Fate::Closed | Fate::GoneAway(_)));
    assert!(bounded.limit("idle_timeouts") >= 2);
    assert_eq!(bounded.metric("brink_tls_failures_total"), 1);
}

#[test]
fn a_body_that_is_too_large_is_413() {
    let bounded = Bounded::new("[limits]\nbody_max = \"1KiB\"\nchunk_overhead_max = \"1KiB\"\n");
    let large = format!("400\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(1024));
    let extended = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(2000));
    let trailed = format!("1\r\nx\r\n0\r\nt: {}\r\n\r\n", "e".repeat(2000));
    let cases = [
        ("Content-Length: 1025\r\n", "x"),
        ("Transfer-Encoding: chunked\r\n", large.as_str()),
        ("Transfer-Encoding: chunked\r\n", extended.as_str()),
        ("Transfer-Encoding: chunked\r\n", trailed.as_str()),
    ];
    for (framing, body) in cases {
        let mut client = bounded.node.client();
        client.send(request("POST", "/p", framing)).send(body);
        assert_eq!(client.answer().status, 413, "{framing}{body:.20}");
        client.expect_closed();
    }
    let whole = bounded.origin.requests().iter().any(|seen| seen.ended == Ended::Clean);
    assert!(!whole, "a refused body was whole for the origin");
    assert_eq!(bounded.fault("body-too-large"), 4);
    bounded.serves();
}

#[test]
fn a_broken_chunk_is_400() {
    let bounded = Bounded::new("");
    for body in ["x\r\n", "3\r\nabcd\r\n", "3\nabc\r\n", "0\r\nHost: a\r\n\r\n"] {
        let mut client = bounded.node.client();
        client.send(request("POST", "/p", "Transfer-Encoding: chunked\r\n")).send(body);
        assert_eq!(client.answer().status, 400, "{body:?}");
        client.expect_closed();
    }
    assert_eq!(bounded.fault("bad-request"), 4);
}

#[test]
fn heads_are_bounded_in_bytes_fields_and_target() {
    let bounded =
        Bounded::new("[limits]\nhead_max = \"2KiB\"\ntarget_max = \"512B\"\nfields_max = 10\n");
    let ask = |target: &str, fields: &str| bounded.node.client().ask("GET", target, fields).status;
    assert_eq!(ask("/a", &format!("X: {}\r\n", "y".repeat(2100))), 431);
    assert_eq!(ask("/a", &"X: y\r\n".repeat(11)), 431);
    assert_eq!(ask(&format!("/{}", "a".repeat(600)), ""), 414);
    assert_eq!(ask(&format!("/{}", "a".repeat(500)), &"X: y\r\n".repeat(9)), 200);
    assert_eq!((bounded.fault("head-too-large"), bounded.fault("uri-too-long")), (2, 1));
}

#[test]
fn unfinished_heads_are_bounded_all_together() {
    let bounded = Bounded::new("[limits]\nheads_held_max = \"64KiB\"\n");
    let half = format!("GET /a HTTP/1.1\r\nHost: site.test\r\nX: {}", "y".repeat(20_000));
    let mut clients: Vec<Client> = (0..8).map(|_| bounded.node.client()).collect();
    for client in &mut clients {
        client.send(&half);
    }
    eventually("some were let go", || bounded.limit("shed_heads") > 0);
    let shed = clients.iter_mut().filter_map(|client| {
        // Those that are not shed can still finish.
        client.send("\r\n\r\n");
        let answer = client.answer();
        (answer.status == 503).then(|| answer.field("retry-after"))
    });
    let shed: Vec<_> = shed.collect();
    assert!(!shed.is_empty() && shed.len() < 8, "{} of 8 were shed", shed.len());
    assert!(shed.iter().all(Option::is_some), "without Retry-After");
    bounded.serves();
}

#[test]
fn connections_over_the_limits_are_shed_with_503_and_only_as_long_as_they_are_over() {
    for (setting, counter) in
        [("connections_max", "shed_total"), ("connections_per_address_max", "shed_address")]
    {
        // One of the three is the counting client's own.
        let bounded = Bounded::new(&format!("[limits]\n{setting} = 3\n"));
        let mut held: Vec<Client> = (0..3).map(|_| bounded.node.client()).collect();
        for client in &mut held {
            assert_eq!(client.get("/a").status, 200);
        }
        let mut over = bounded.node.client();
        let answer = over.get("/a");
        assert_eq!(answer.status, 503, "{setting}");
        assert!(answer.field("retry-after").is_some());
        over.expect_closed();
        assert!(bounded.limit(counter) >= 1);
        assert_eq!(held[0].get("/a").status, 200, "who is in stays in");
        drop(held);
        eventually("the load is over", || bounded.node.client().get("/a").status == 200);
    }
}

#[test]
fn a_stream_that_takes_nothing_is_reset_and_the_others_flow() {
    let bounded = Bounded::new(QUICK);
    let settings = [(4u16, 0u32)];
    let mut raw = RawH2::connect_with(bounded.node.tls_addr(), "site.test", &settings);
    raw.get(1, "/a", &[]);
    raw.get(3, "/b", &[]);
    raw.frame(kind::WINDOW_UPDATE, 0, 3, &2000u32.to_be_bytes());
    assert_eq!(raw.fate(3).status(), Some(200));
    assert_eq!(raw.fate(1), Fate::Reset(8));
    assert_eq!(bounded.limit("http2_stalls"), 1);
    bounded.serves();
}

#[test]
fn a_reader_that_takes_nothing_is_cut_off() {
    let bounded = Bounded::new(QUICK);
    let mut stalled = bounded.node.client();
    stalled.send(request("GET", "/large", ""));
    eventually("the stall is noticed", || bounded.limit("write_timeouts") == 1);
    assert_ne!(stalled.answer().ended, Ended::Clean, "it sees that something is missing");
    bounded.serves();
}

#[test]
fn streams_over_the_limit_are_refused_as_not_begun() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::start(move |_| {
        held.pass();
        fresh(60, "x")
    });
    let bounded = Bounded::before(origin, "[http2]\nstreams_max = 2\nlocal_resets_max = 2\n");
    let mut raw = bounded.node.raw_h2();
    for (stream, path) in [(1, "/a"), (3, "/b"), (5, "/c")] {
        raw.get(stream, path, &[]);
    }
    assert_eq!(raw.fate(5), Fate::Reset(7), "REFUSED_STREAM: it may be sent again");
    eventually("the two are under way", || bounded.origin.count() == 2);
    gate.open();
    assert_eq!(raw.fate(1).status(), Some(200));
    bounded.serves();
}

/// Sends `bytes` until the connection ends; the limit must have been reached.
#[track_caller]
fn flooded(bounded: &Bounded, prepare: impl Fn(&mut RawH2), bytes: &[u8], limit: &str) {
    let mut raw = bounded.node.raw_h2();
    prepare(&mut raw);
    let sent = (0..5_000).take_while(|_| raw.send(bytes)).count();
    if sent == 5_000 {
        let fate = raw.fate(0x7fff_ffff);
        assert!(matches!(fate, Fate::GoneAway(_) | Fate::Closed), "{limit}: {fate:?}");
    }
    assert_eq!(bounded.limit(limit), 1, "{limit}");
    bounded.serves();
}

#[test]
fn each_budget_of_http_2_has_its_setting_and_its_counter() {
    let bounded = Bounded::new(
        "[http2]\nsettings_per_minute = 3\npings_per_minute = 3\npriorities_per_minute = 3\n\
         empty_frames_per_minute = 3\nwindow_updates_per_minute = 3\nresets_per_minute = 3\n\
         continuations_max = 3\n[limits]\nhead_max = \"4KiB\"\n",
    );
    let none = |_: &mut RawH2| ();
    let upload = |raw: &mut RawH2| assert!(raw.headers(1, false, &POST));
    let block = |raw: &mut RawH2| {
        assert!(raw.frame(kind::HEADERS, END_STREAM, 1, &literals(&POST[..1])));
    };
    let zero = 0u32.to_be_bytes();
    let ping = frame(kind::PING, 0, 0, &[0; 8]);
    let settings = frame(kind::SETTINGS, 0, 0, &[]);
    let priority = frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 16]);
    let window = frame(kind::WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes());
    let reset = frame(kind::RST_STREAM, 0, 1, &zero);
    let large = frame(kind::CONTINUATION, 0, 1, &literals(&[(b"x", &[b'y'; 3000])]));
    flooded(&bounded, none, &ping, "flood_pings");
    flooded(&bounded, none, &settings, "flood_settings");
    flooded(&bounded, none, &priority, "flood_priorities");
    flooded(&bounded, none, &window, "flood_window_updates");
    flooded(&bounded, upload, &frame(kind::DATA, 0, 1, b""), "flood_empty_frames");
    flooded(&bounded, upload, &reset, "flood_resets");
    flooded(&bounded, block, &frame(kind::CONTINUATION, 0, 1, b"\x00"), "flood_continuations");
    flooded(&bounded, block, &large, "flood_header_block");
    let sizes = frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &[0x20; 9]);
    flooded(&bounded, none, &sizes, "flood_table_sizes");
    assert_eq!(bounded.limit("http2_floods"), 9);
}

#[test]
fn resets_that_a_client_provokes_are_bounded() {
    let bounded = Bounded::new("[http2]\nlocal_resets_max = 3\n");
    let mut raw = bounded.node.raw_h2();
    for stream in (1..2_000).step_by(2) {
        let mut lie = literals(&POST);
        lie.extend(literals(&[(b"content-length", b"1")]));
        let flags = END_HEADERS | END_STREAM;
        if !raw.frame(kind::HEADERS, flags, stream, &lie) {
            break;
        }
    }
    let fate = raw.fate(0x7fff_ffff);
    assert!(matches!(fate, Fate::GoneAway(_) | Fate::Closed), "{fate:?}");
    assert!(bounded.limit("flood_provoked_resets") + bounded.limit("http2_errors") >= 1);
    assert_eq!(bounded.origin.count(), 0);
    bounded.serves();
}
