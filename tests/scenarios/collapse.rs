//! One flight a key: concurrent misses become one request, and nobody hangs or is harmed.

use crate::support::client::request;
use crate::support::reply::{fresh, status};
use crate::support::*;

fn waiting(gate: &Gate, answer: Reply) -> Reply {
    let mut reply = Reply::default().wait(gate);
    reply.steps.extend(answer.steps);
    reply
}

fn ask_all(node: &Node, count: usize, target: &str) -> Vec<Client> {
    (0..count)
        .map(|_| {
            let mut client = node.client();
            client.send(request("GET", target, ""));
            client
        })
        .collect()
}

#[test]
fn two_hundred_clients_of_a_cold_key_make_one_request() {
    let gate = Gate::new();
    let at_origin = gate.clone();
    let origin = Origin::start(move |seen| match seen.target.as_str() {
        "/a" => waiting(&at_origin, fresh(60, "one")),
        _ => ok("", "fence"),
    });
    let node = Node::before(&origin);
    let mut clients = ask_all(&node, 200, "/a");
    origin.wait_for(1);
    node.client().get("/fence").expect(200, "fence");
    gate.open();
    for client in &mut clients {
        client.answer().expect(200, "one");
    }
    let for_a = origin.requests().iter().filter(|seen| seen.target == "/a").count();
    assert_eq!(for_a, 1);
}

#[test]
fn followers_read_while_the_leader_still_receives() {
    let (half, rest) = (Gate::new(), Gate::new());
    let (at_half, at_rest) = (half.clone(), rest.clone());
    let origin = Origin::start(move |_| {
        reply("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nfirst")
            .open(&at_half)
            .wait(&at_rest)
            .send("later")
    });
    let node = Node::before(&origin);
    let mut leader = node.client();
    leader.send(request("GET", "/a", ""));
    half.pass();
    assert!(leader.head().starts_with("HTTP/1.1 200"));
    assert_eq!(leader.take(5).0, b"first");
    let mut follower = node.client();
    follower.send(request("GET", "/a", ""));
    assert!(follower.head().starts_with("HTTP/1.1 200"));
    assert_eq!(follower.take(5).0, b"first");
    rest.open();
    assert_eq!((leader.take(5).0, follower.take(5).0), (b"later".to_vec(), b"later".to_vec()));
    node.client().get("/a").expect_hit("firstlater");
    assert_eq!(origin.count(), 1);
}

/// Clients that do not wait for each other: what was said first must not replace what was said
/// later only because its body took longer (RFC 9111 4).
#[test]
fn a_slow_answer_does_not_replace_a_later_one() {
    let (begun, gate) = (Gate::new(), Gate::new());
    let (at_begun, at_gate) = (begun.clone(), gate.clone());
    let origin = Origin::start(move |seen| match seen.n {
        0 => ok("Cache-Control: private\r\n", "mine"),
        1 => reply("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\no")
            .open(&at_begun)
            .wait(&at_gate)
            .send("ld"),
        _ => fresh(60, "new"),
    });
    let node = Node::before(&origin);
    node.client().get("/a").expect(200, "mine");
    let mut early = node.client();
    early.send(request("GET", "/a", ""));
    begun.pass();
    assert!(early.head().starts_with("HTTP/1.1 200"));
    node.advance(1);
    node.client().get("/a").expect(200, "new");
    node.client().get("/a").expect_hit("new");
    gate.open();
    assert_eq!(early.take(3).0, b"old");
    for _ in 0..20 {
        node.client().get("/a").expect_hit("new");
    }
}

/// The same of an answer to HEAD that confirms what has been replaced meanwhile.
#[test]
fn a_late_confirmation_does_not_bring_back_what_was_replaced() {
    let (held, gate) = (Gate::new(), Gate::new());
    let (at_held, at_gate) = (held.clone(), gate.clone());
    let origin = Origin::start(move |seen| match (seen.method.as_str(), seen.n) {
        ("HEAD", _) => Reply::default().open(&at_held).wait(&at_gate).send(
            "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nCache-Control: max-age=60\r\n\
             Content-Length: 3\r\n\r\n",
        ),
        (_, 0) => ok("Cache-Control: max-age=1\r\nETag: \"v1\"\r\n", "old"),
        _ => ok("Cache-Control: max-age=60\r\nETag: \"v2\"\r\n", "new"),
    });
    let node = Node::before(&origin);
    node.client().get("/a").expect(200, "old");
    node.advance(5);
    let mut early = node.client();
    early.send(request("HEAD", "/a", ""));
    held.pass();
    node.client().get("/a").expect(200, "new");
    gate.open();
    assert!(early.head().starts_with("HTTP/1.1 200"));
    node.client().get("/a").expect_hit("new");
}

#[test]
fn an_uncacheable_key_is_not_served_in_a_row() {
    let gate = Gate::new();
    let at_origin = gate.clone();
    let origin = Origin::start(move |seen| match seen.n {
        0 => ok("Cache-Control: no-store\r\n", "first"),
        _ => waiting(&at_origin, ok("Cache-Control: no-store\r\n", "wave")),
    });
    let node = Node::before(&origin);
    node.client().get("/a").expect(200, "first");
    let mut clients = ask_all(&node, 20, "/a");
    origin.wait_for(21);
    gate.open();
    for client in &mut clients {
        client.answer().expect(200, "wave");
    }
}

#[test]
fn the_first_wave_of_an_uncacheable_key_is_not_served_in_a_row() {
    let (head, gate) = (Gate::new(), Gate::new());
    let (at_head, at_gate) = (head.clone(), gate.clone());
    let origin = Origin::start(move |seen| match seen.n {
        0 => waiting(&at_head, ok("Cache-Control: no-store\r\n", "x")),
        _ => waiting(&at_gate, ok("Cache-Control: no-store\r\n", "x")),
    });
    let node = Node::before(&origin);
    let mut clients = ask_all(&node, 20, "/a");
    origin.wait_for(1);
    head.open();
    origin.wait_for(20);
    gate.open();
    for client in &mut clients {
        client.answer().expect(200, "x");
    }
    assert_eq!(origin.count(), 20);
}

#[test]
fn a_leader_that_leaves_does_not_kill_the_fill() {
    let gate = Gate::new();
    let at_origin = gate.clone();
    let origin = Origin::start(move |_| waiting(&at_origin, fresh(60, "filled")));
    let node = Node::before(&origin);
    let mut leader = node.client();
    leader.send(request("GET", "/a", ""));
    origin.wait_for(1);
    let mut follower = node.client();
    follower.send(request("GET", "/a", ""));
    leader.reset();
    gate.open();
    follower.answer().expect(200, "filled");
    node.client().get("/a").expect_hit("filled");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_fill_that_breaks_resets_every_reader_and_stores_nothing() {
    let gate = Gate::new();
    let at_origin = gate.clone();
    let origin = Origin::start(move |seen| match seen.n {
        0 => {
            reply("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nfirst")
                .wait(&at_origin)
                .cut()
        }
        _ => fresh(60, "whole"),
    });
    let node = Node::before(&origin);
    let mut clients = ask_all(&node, 5, "/a");
    for client in &mut clients {
        assert!(client.head().starts_with("HTTP/1.1 200"));
        assert_eq!(client.take(5).0, b"first");
    }
    assert_eq!(origin.count(), 1);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.take(5), (Vec::new(), Ended::Cut));
    }
    node.client().get("/a").expect_miss("whole");
}

#[test]
fn a_failing_key_leaves_nobody_hanging() {
    let gate = Gate::new();
    let at_origin = gate.clone();
    let origin = Origin::start(move |_| Reply::default().wait(&at_origin).reset());
    let node = Node::before(&origin);
    let mut clients = ask_all(&node, 20, "/a");
    origin.wait_for(1);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer().status, 502);
    }
}

#[test]
fn an_expired_key_is_revalidated_once_for_all() {
    let gate = Gate::new();
    let at_origin = gate.clone();
    let origin = Origin::start(move |seen| match seen.field("if-none-match") {
        None => ok("Cache-Control: max-age=60\r\nETag: \"v1\"\r\n", "body"),
        Some(_) => waiting(
            &at_origin,
            reply("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nCache-Control: max-age=60\r\n\r\n"),
        ),
    });
    let node = Node::before(&origin);
    node.client().get("/a").expect_miss("body");
    node.advance(61);
    let mut clients = ask_all(&node, 20, "/a");
    origin.wait_for(2);
    gate.open();
    for client in &mut clients {
        client.answer().expect(200, "body");
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_slow_reader_does_not_hold_up_a_fast_one() {
    let big = "x".repeat(4 << 20);
    let origin = Origin::start(move |_| fresh(60, &big));
    let node = Node::before(&origin);
    let mut slow = node.client();
    slow.send(request("GET", "/big", ""));
    origin.wait_for(1);
    let fast = node.client().get("/big");
    assert_eq!((fast.body.len(), fast.ended), (4 << 20, Ended::Clean));
    assert_eq!(slow.answer().body.len(), 4 << 20);
    assert_eq!(origin.count(), 1);
}

#[test]
fn followers_of_an_error_without_freshness_get_it_and_it_is_not_kept() {
    let gate = Gate::new();
    let at_origin = gate.clone();
    let origin = Origin::start(move |_| waiting(&at_origin, status("503 Busy", "", "busy")));
    let node = Node::before(&origin);
    let mut clients = ask_all(&node, 10, "/a");
    origin.wait_for(1);
    gate.open();
    for client in &mut clients {
        client.answer().expect(503, "busy");
    }
    let before = origin.count();
    node.client().get("/a").expect(503, "busy");
    assert_eq!(origin.count(), before + 1);
}

#[test]
fn clients_of_different_variants_never_get_each_others() {
    let gate = Gate::new();
    let at_origin = gate.clone();
    let origin = Origin::start(move |seen| {
        let value = seen.field("x-kind").unwrap_or_default();
        waiting(&at_origin, ok("Cache-Control: max-age=60\r\nVary: X-Kind\r\n", value))
    });
    let node = Node::before(&origin);
    let mut clients: Vec<Client> = (0..12)
        .map(|n| {
            let mut client = node.client();
            client.send(request("GET", "/a", &format!("X-Kind: {}\r\n", n % 3)));
            client
        })
        .collect();
    origin.wait_for(1);
    gate.open();
    for (n, client) in clients.iter_mut().enumerate() {
        client.answer().expect(200, &(n % 3).to_string());
    }
    let asked = origin.count();
    assert!((3..=12).contains(&asked), "{asked} requests for three variants");
    for n in 0..3 {
        let fields = format!("X-Kind: {n}\r\n");
        node.client().get_with("/a", &fields).expect_hit(&n.to_string());
    }
}

/// Else each follower of a hanging origin would ask it again when its own wait ends.
#[test]
fn followers_wait_longer_than_an_origin_may_be_silent() {
    let silent = brink::origin::Timeouts::default().first_byte;
    assert!(brink::serve::Options::default().follow_wait > silent);
}

/// Found by the simulation: who came hours later still joined, as long as the body flowed.
#[test]
fn a_body_on_its_way_is_not_joined_by_those_who_come_when_its_head_is_stale() {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::start(move |seen| match seen.n {
        0 => reply("HTTP/1.1 200 OK\r\nCache-Control: max-age=10\r\nContent-Length: 6\r\n\r\nbef")
            .wait(&at_gate)
            .send("ore"),
        _ => ok("Cache-Control: max-age=10\r\n", "after"),
    });
    let node = Node::before(&origin);
    let mut early = node.client();
    early.send(request("GET", "/a", ""));
    early.head();
    node.advance(11);
    node.client().get("/a").expect_miss("after");
    gate.open();
    assert_eq!(early.take(6), (b"before".to_vec(), Ended::Clean));
    node.client().get("/a").expect_hit("after");
}
