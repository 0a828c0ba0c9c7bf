//! Promise P6: every limit is reached, answered as promised, and harms nobody else.

use crate::support::client::request;
use crate::support::reply::fresh;
use crate::support::*;

fn world() -> (Origin, Node) {
    let origin = Origin::start(|_| fresh(60, "x"));
    let node = Node::before(&origin);
    (origin, node)
}

#[track_caller]
fn refused(target: &str, fields: &str, status: u16) {
    let (origin, node) = world();
    let mut client = node.client();
    client.send(request("GET", target, fields));
    let answer = client.answer();
    assert_eq!(answer.status, status, "{}", answer.head);
    client.expect_closed();
    assert_eq!(origin.wire_text(), "");
    node.client().get("/after").expect(200, "x");
}

#[test]
fn a_long_target_is_414() {
    refused(&format!("/{}", "a".repeat(9 * 1024)), "", 414);
    refused(&format!("/{}", "a".repeat(200 * 1024)), "", 414);
}

#[test]
fn a_large_head_is_431_by_bytes_and_by_fields() {
    refused("/a", &format!("X: {}\r\n", "y".repeat(33 * 1024)), 431);
    refused("/a", &"X: y\r\n".repeat(101), 431);
    refused("/a", &"X: y\r\n".repeat(100_000), 431);
    refused("/a", &format!("X: {}\r\n", "y".repeat(400 * 1024)), 431);
}

#[test]
fn heads_just_below_the_limits_pass() {
    let (_origin, node) = world();
    node.client().get(&format!("/{}", "a".repeat(7 * 1024))).expect(200, "x");
    node.client().get_with("/b", &"X: y\r\n".repeat(80)).expect(200, "x");
    node.client().get_with("/c", &format!("X: {}\r\n", "y".repeat(7 * 1024))).expect(200, "x");
}

#[test]
fn a_head_that_never_ends_is_refused_before_it_is_whole() {
    let (origin, node) = world();
    let mut client = node.client();
    client.send("GET /a HTTP/1.1\r\nHost: site.test\r\n");
    for _ in 0..2000 {
        client.send("X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n");
    }
    assert!(client.try_answer("GET").is_none_or(|answer| answer.status == 431));
    assert_eq!(origin.wire_text(), "");
}

#[test]
fn idle_and_slow_clients_cost_a_good_one_nothing() {
    let (_origin, node) = world();
    let mut idle: Vec<Client> = (0..200).map(|_| node.client()).collect();
    for client in idle.iter_mut().take(100) {
        client.send("GET /slow HTTP/1.1\r\nHost: si");
    }
    for n in 0..20 {
        node.client().get(&format!("/{n}")).expect(200, "x");
    }
    idle[0].send("te.test\r\n\r\n");
    idle[0].answer().expect(200, "x");
}

#[test]
fn slow_readers_of_one_object_share_its_bytes() {
    let big = "x".repeat(8 << 20);
    let origin = Origin::start(move |_| fresh(60, &big));
    let node = Node::before(&origin);
    assert_eq!(node.client().get("/big").body.len(), 8 << 20);
    let before = resident();
    let mut readers: Vec<Client> = (0..100).map(|_| node.client()).collect();
    for reader in &mut readers {
        reader.send(request("GET", "/big", ""));
        assert!(reader.head().starts_with("HTTP/1.1 200"));
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB for 100 stalled readers", grown >> 20);
    assert_eq!(node.client().get("/big").body.len(), 8 << 20);
}

/// Resident bytes of this process (node, origin and clients together).
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = status.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * 4096
}

#[test]
fn a_memory_tier_that_is_full_evicts_and_keeps_serving() {
    let body = "x".repeat(64 * 1024);
    let origin = Origin::start(move |_| fresh(600, &body));
    let node = Node::start(&format!(
        "[memory]\ncapacity = \"2MiB\"\n[[origin]]\nname = \"app\"\nservers = [\"http://{}\"]\n\
         [[site]]\norigin = \"app\"\n",
        origin.addr
    ));
    let mut client = node.client();
    for n in 0..200 {
        assert_eq!(client.get(&format!("/{n}")).body.len(), 64 * 1024);
    }
    let hits = (0..200).filter(|n| client.get(&format!("/{n}")).is_hit()).count();
    assert!(hits <= 32, "{hits} objects of 64 KiB in 2 MiB");
}
