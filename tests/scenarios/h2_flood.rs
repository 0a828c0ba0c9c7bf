//! HTTP/2 attacks: each ends within a budget, and a well-behaved client does not notice.

use crate::support::frames::{END_HEADERS, END_STREAM, Fate, RawH2, frame, kind, literals};
use crate::support::reply::fresh;
use crate::support::*;

fn world() -> (Origin, Node) {
    let origin = Origin::start(|_| fresh(60, "x"));
    let node = Node::before(&origin);
    (origin, node)
}

/// Sends `bytes` again and again until the node ends the connection.
#[track_caller]
fn ends(node: &Node, raw: &mut RawH2, bytes: &[u8], times_max: usize) {
    let sent = (0..times_max).take_while(|_| raw.send(bytes)).count();
    if sent == times_max {
        let fate = raw.fate(0x7fff_ffff);
        assert!(matches!(fate, Fate::GoneAway(_) | Fate::Closed), "{fate:?} after {sent}");
    }
    node.h2().get("/good").expect(200, "x");
}

#[test]
fn a_continuation_flood_ends() {
    let (_origin, node) = world();
    let mut raw = node.raw_h2();
    raw.frame(kind::HEADERS, END_STREAM, 1, &literals(&[(b":method", b"GET")]));
    let block = literals(&[(b"x", &[b'y'; 4000])]);
    ends(&node, &mut raw, &frame(kind::CONTINUATION, 0, 1, &block), 2000);
    let mut raw = node.raw_h2();
    raw.frame(kind::HEADERS, END_STREAM, 1, &literals(&[(b":method", b"GET")]));
    ends(&node, &mut raw, &frame(kind::CONTINUATION, 0, 1, b""), 20_000);
}

#[test]
fn a_rapid_reset_flood_ends_and_hardly_reaches_the_origin() {
    let gate = Gate::new();
    let at_origin = gate.clone();
    let origin = Origin::start(move |seen| match seen.target.as_str() {
        "/good" => fresh(60, "x"),
        _ => Reply::default()
            .wait(&at_origin)
            .send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n"),
    });
    let node = Node::before(&origin);
    let mut raw = node.raw_h2();
    let mut stream = 1;
    while stream < 20_000 {
        let path = format!("/r{stream}");
        let sent = raw.get(stream, &path, &[])
            && raw.frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes());
        if !sent {
            break;
        }
        stream += 2;
    }
    let fate = raw.fate(0x7fff_ffff);
    assert!(matches!(fate, Fate::GoneAway(_) | Fate::Closed), "{fate:?}");
    node.h2().get("/good").expect(200, "x");
    assert!(origin.count() <= 300, "{} requests reached the origin", origin.count());
    gate.open();
}

#[test]
fn a_flood_of_resets_that_the_node_is_made_to_send_ends() {
    let (_origin, node) = world();
    let mut raw = node.raw_h2();
    for stream in (1..20_000).step_by(2) {
        let zero = 0u32.to_be_bytes();
        let sent = raw.get(stream, &format!("/m{stream}"), &[])
            && raw.frame(kind::WINDOW_UPDATE, 0, stream, &zero);
        if !sent {
            break;
        }
    }
    let fate = raw.fate(0x7fff_ffff);
    assert!(matches!(fate, Fate::GoneAway(_) | Fate::Closed), "{fate:?}");
    node.h2().get("/good").expect(200, "x");
}

#[test]
fn floods_of_control_frames_end() {
    let (_origin, node) = world();
    let ping = frame(kind::PING, 0, 0, &[0; 8]);
    let settings = frame(kind::SETTINGS, 0, 0, &[]);
    let priority = frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 16]);
    for bytes in [ping, settings, priority] {
        let mut raw = node.raw_h2();
        ends(&node, &mut raw, &bytes, 20_000);
    }
}

#[test]
fn a_flood_of_empty_data_frames_ends() {
    let (_origin, node) = world();
    let mut raw = node.raw_h2();
    let fields: [(&[u8], &[u8]); 4] = [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"site.test"),
        (b":path", b"/p"),
    ];
    raw.headers(1, false, &fields);
    ends(&node, &mut raw, &frame(kind::DATA, 0, 1, b""), 20_000);
}

#[test]
fn an_hpack_bomb_is_refused() {
    let (origin, node) = world();
    let mut raw = node.raw_h2();
    // One large field goes into the dynamic table, then thousands of references to it.
    let mut block = literals(&[
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"site.test"),
        (b":path", b"/bomb"),
    ]);
    let mut large = literals(&[(b"x", &[b'y'; 3000])]);
    large[0] = 0x40;
    block.extend_from_slice(&large);
    block.extend(std::iter::repeat_n(0xbe, 10_000));
    raw.frame(kind::HEADERS, END_STREAM | END_HEADERS, 1, &block);
    let fate = raw.fate(1);
    assert!(fate.is_refusal(), "{fate:?}");
    assert_eq!(origin.wire_text(), "");
    node.h2().get("/good").expect(200, "x");
}

#[test]
fn too_many_or_too_large_fields_are_refused() {
    let (origin, node) = world();
    let many: Vec<(Vec<u8>, Vec<u8>)> =
        (0..300).map(|n| (format!("x-{n}").into_bytes(), b"1".to_vec())).collect();
    let borrowed: Vec<(&[u8], &[u8])> =
        many.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
    let mut raw = node.raw_h2();
    raw.get(1, "/a", &borrowed);
    let fate = raw.fate(1);
    assert!(fate.is_refusal(), "300 fields met {fate:?}");
    let mut raw = node.raw_h2();
    raw.get(1, &format!("/{}", "a".repeat(9000)), &[]);
    let fate = raw.fate(1);
    assert!(fate.is_refusal(), "a path of 9,000 bytes met {fate:?}");
    assert_eq!(origin.wire_text(), "");
}

#[test]
fn more_streams_than_allowed_are_refused() {
    let gate = Gate::new();
    let at_origin = gate.clone();
    let origin = Origin::start(move |_| {
        Reply::default()
            .wait(&at_origin)
            .send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n")
    });
    let node = Node::before(&origin);
    let mut raw = node.raw_h2();
    for stream in (1..1001).step_by(2) {
        if !raw.get(stream, &format!("/s{stream}"), &[]) {
            break;
        }
    }
    let fate = raw.fate(999);
    assert!(fate.is_refusal(), "{fate:?}");
    assert!(origin.count() <= 200, "{} at once", origin.count());
    gate.open();
}

#[test]
fn five_hundred_stalled_readers_do_not_stop_a_good_one() {
    let big = "x".repeat(1 << 20);
    let origin = Origin::start(move |_| fresh(60, &big));
    let node = Node::before(&origin);
    assert_eq!(node.h2().get("/big").body.len(), 1 << 20);
    let mut stalled: Vec<RawH2> = (0..10)
        .map(|_| {
            let mut raw = RawH2::connect_with(node.tls_addr(), "site.test", &[(4, 0)]);
            for stream in (1..101).step_by(2) {
                raw.get(stream, "/big", &[]);
            }
            raw
        })
        .collect();
    assert_eq!(node.h2().get("/big").body.len(), 1 << 20);
    assert_eq!(origin.count(), 1);
    stalled.clear();
}
