//! Freshness and what a hit looks like (RFC 9111 4, RFC 9211).

use crate::support::reply::{fresh, status};
use crate::support::*;

/// Two requests `seconds` apart; whether the second was answered from the cache.
fn reused(line: &str, fields: &str, seconds: u64, request: &str) -> bool {
    let (line, fields) = (line.to_owned(), fields.to_owned());
    let origin = Origin::start(move |_| status(&line, &fields, "x"));
    let node = Node::before(&origin);
    node.client().get("/a");
    node.advance(seconds);
    let second = node.client().get_with("/a", request);
    assert_eq!(second.is_hit(), origin.count() == 1, "{}", second.head);
    second.is_hit()
}

fn kept(fields: &str, seconds: u64) -> bool {
    reused("200 OK", fields, seconds, "")
}

#[test]
fn a_fresh_answer_is_reused_until_its_lifetime_ends() {
    assert!(kept("Cache-Control: max-age=10\r\n", 9));
    assert!(!kept("Cache-Control: max-age=10\r\n", 10));
    assert!(!kept("Cache-Control: max-age=0\r\n", 0));
    assert!(kept("Cache-Control: max-age=2147483648\r\n", 100));
    assert!(kept("Cache-Control: max-age=99999999999999999999\r\n", 100));
}

#[test]
fn the_shared_lifetime_wins_over_the_private_one() {
    assert!(kept("Cache-Control: max-age=1, s-maxage=60\r\n", 30));
    assert!(!kept("Cache-Control: max-age=60, s-maxage=1\r\n", 30));
    assert!(kept("Cache-Control: max-age=1\r\nCDN-Cache-Control: max-age=60\r\n", 30));
    assert!(!kept("Cache-Control: max-age=60\r\nCDN-Cache-Control: max-age=1\r\n", 30));
    assert!(!kept("Cache-Control: max-age=60\r\nCDN-Cache-Control: no-store\r\n", 0));
    assert!(kept("Cache-Control: no-store\r\nCDN-Cache-Control: max-age=60\r\n", 30));
}

#[test]
fn odd_directives_make_it_stale_rather_than_fresh() {
    for value in
        ["max-age=-1", "max-age=x", "max-age", "max-age=", "max-age=1.5", "no-cache, max-age=60"]
    {
        assert!(!kept(&format!("Cache-Control: {value}\r\n"), 2), "{value}");
    }
    assert!(!kept("Expires: 0\r\n", 0));
    assert!(!kept("Expires: Thu, 01 Jan 2026 00:00:00 GMT\r\n", 0));
    assert!(kept("Expires: Thu, 01 Jan 2026 00:01:00 GMT\r\n", 30));
    assert!(!kept("Expires: Thu, 01 Jan 2026 00:01:00 GMT\r\n", 61));
}

#[test]
fn age_and_date_of_the_origin_count() {
    assert!(kept("Cache-Control: max-age=100\r\nAge: 50\r\n", 49));
    assert!(!kept("Cache-Control: max-age=100\r\nAge: 50\r\n", 50));
    assert!(!kept("Cache-Control: max-age=100\r\nAge: 99999999999999999999\r\n", 0));
    let old = "Cache-Control: max-age=100\r\nDate: Wed, 31 Dec 2025 23:59:00 GMT\r\n";
    assert!(kept(old, 39) && !kept(old, 40));
}

#[test]
fn a_hit_carries_its_age_and_says_so() {
    let origin = Origin::start(|_| ok("Cache-Control: max-age=60\r\nX-Own: 1\r\n", "x"));
    let node = Node::before(&origin);
    let first = node.client().get("/a");
    assert!(first.cache_status().contains("fwd=uri-miss"), "{}", first.head);
    assert!(first.cache_status().contains("stored"), "{}", first.head);
    node.advance(7);
    let hit = node.client().get("/a");
    assert_eq!((hit.age(), hit.field("x-own").as_deref()), (Some(7), Some("1")));
    assert!(hit.cache_status().contains("ttl=53"), "{}", hit.head);
    assert!(hit.field("via").is_some() && hit.field("date").is_some(), "{}", hit.head);
}

#[test]
fn a_step_of_the_wall_clock_changes_nothing() {
    let origin = Origin::start(|_| fresh(60, "x"));
    let node = Node::before(&origin);
    node.client().get("/a").expect_miss("x");
    let day = 86_400_000;
    node.clock.step_wall(support_start() + day);
    node.client().get("/a").expect_hit("x");
    node.clock.step_wall(support_start() - day);
    node.client().get("/a").expect_hit("x");
    node.advance(61);
    assert!(!node.client().get("/a").is_hit(), "not revived");
}

fn support_start() -> u64 {
    crate::support::node::START_MS
}

#[test]
fn heuristic_freshness_needs_a_known_status_and_an_old_date() {
    let old = "Last-Modified: Mon, 01 Dec 2025 00:00:00 GMT\r\n";
    assert!(reused("200 OK", old, 60, ""));
    assert!(reused("404 Not Found", old, 60, ""));
    assert!(!reused("201 Created", old, 60, ""));
    assert!(!kept("", 0), "no validator, no freshness");
}

#[test]
fn an_unknown_status_is_kept_only_if_explicit() {
    assert!(reused("599 Odd", "Cache-Control: max-age=60\r\n", 5, ""));
    assert!(!reused("599 Odd", "Cache-Control: max-age=60, must-understand\r\n", 5, ""));
    assert!(!reused("206 Partial Content", "Cache-Control: max-age=60\r\n", 5, ""));
}

#[test]
fn request_directives_are_honoured() {
    let stored = "Cache-Control: max-age=60\r\n";
    assert!(reused("200 OK", stored, 10, "Cache-Control: max-age=20\r\n"));
    assert!(!reused("200 OK", stored, 10, "Cache-Control: max-age=5\r\n"));
    assert!(!reused("200 OK", stored, 10, "Cache-Control: min-fresh=55\r\n"));
    assert!(!reused("200 OK", stored, 10, "Cache-Control: no-cache\r\n"));
    assert!(!reused("200 OK", stored, 10, "Cache-Control: no-store\r\n"));
    assert!(!reused("200 OK", stored, 10, "Pragma: no-cache\r\n"));
}

#[test]
fn only_if_cached_never_reaches_the_origin() {
    let origin = Origin::start(|_| fresh(60, "x"));
    let node = Node::before(&origin);
    let answer = node.client().get_with("/a", "Cache-Control: only-if-cached\r\n");
    assert_eq!((answer.status, origin.count()), (504, 0));
    node.client().get("/a").expect_miss("x");
    node.client().get_with("/a", "Cache-Control: only-if-cached\r\n").expect_hit("x");
}

#[test]
fn fields_of_the_connection_and_no_cache_fields_are_not_replayed() {
    let fields = "Cache-Control: max-age=60, no-cache=\"X-Secret\"\r\nX-Secret: s\r\n\
                  Connection: X-Hop\r\nX-Hop: h\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\n\
                  Proxy-Connection: close\r\n";
    let origin = Origin::start(move |_| ok(fields, "x"));
    let node = Node::before(&origin);
    node.client().get("/a");
    let second = node.client().get("/a");
    for name in ["x-hop", "keep-alive", "proxy-connection"] {
        assert_eq!(second.field(name), None, "{}", second.head);
    }
    assert!(!second.is_hit() || second.field("x-secret").is_none(), "{}", second.head);
}

#[test]
fn bodies_of_every_size_come_back_byte_for_byte() {
    for size in [0, 1, 1023, 8192, 8193, 65_536, 1 << 20, (3 << 20) + 7] {
        let body: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
        let sent = body.clone();
        let origin = Origin::start(move |_| fresh(60, &sent));
        let node = Node::before(&origin);
        for expected_hit in [false, true] {
            let answer = node.client().get("/a");
            assert!(answer.body == body && answer.ended == Ended::Clean, "{size}");
            assert_eq!(answer.is_hit(), expected_hit, "{size}: {}", answer.head);
        }
        assert!(node.h2().get("/a").body == body);
    }
}

#[test]
fn a_chunked_answer_and_one_ended_by_close_are_kept_whole() {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
    let chunked =
        format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x\r\ncde\r\n0\r\n\r\n");
    let closing = format!("{head}\r\nabcde");
    for (bytes, cut) in [(chunked, false), (closing, true)] {
        let origin = Origin::start(move |_| if cut { reply(&bytes).cut() } else { reply(&bytes) });
        let node = Node::before(&origin);
        node.client().get("/a").expect_miss("abcde");
        let hit = node.client().get("/a");
        hit.expect_hit("abcde");
        assert_eq!(hit.field("content-length").as_deref(), Some("5"), "{}", hit.head);
    }
}

#[test]
fn trailers_are_never_part_of_a_stored_answer() {
    let origin = Origin::start(|_| {
        reply("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n")
            .send("2\r\nab\r\n0\r\nSet-Cookie: x=1\r\nX-Late: 1\r\n\r\n")
    });
    let node = Node::before(&origin);
    node.client().get("/a").expect_miss("ab");
    let hit = node.client().get("/a");
    hit.expect_hit("ab");
    assert_eq!((hit.field("set-cookie"), hit.field("x-late")), (None, None));
}
