//! Stored variants (RFC 9111 4.1) and normalised negotiation.

use crate::support::*;

fn echo(field: &'static str, vary: &'static str) -> (Origin, Node) {
    let origin = Origin::start(move |seen| {
        let lines = format!("Cache-Control: max-age=60\r\nVary: {vary}\r\n");
        ok(&lines, seen.field(field).unwrap_or_else(|| "-".into()))
    });
    let node = Node::before(&origin);
    (origin, node)
}

#[test]
fn each_variant_is_kept_for_those_who_ask_alike() {
    let (origin, node) = echo("x-kind", "X-Kind");
    for kind in ["a", "b"] {
        node.client().get_with("/p", &format!("X-Kind: {kind}\r\n")).expect_miss(kind);
    }
    node.client().get("/p").expect_miss("-");
    for kind in ["a", "b"] {
        node.client().get_with("/p", &format!("X-Kind: {kind}\r\n")).expect_hit(kind);
    }
    node.client().get("/p").expect_hit("-");
    assert_eq!(origin.count(), 3);
}

#[test]
fn a_variant_miss_is_called_one() {
    let (_origin, node) = echo("x-kind", "X-Kind");
    node.client().get_with("/p", "X-Kind: a\r\n");
    let answer = node.client().get_with("/p", "X-Kind: b\r\n");
    assert!(answer.cache_status().contains("fwd=vary-miss"), "{}", answer.head);
}

#[test]
fn vary_star_never_matches_again() {
    let (origin, node) = echo("x-kind", "*");
    node.client().get("/p");
    assert!(!node.client().get("/p").is_hit());
    let (_origin2, node) = echo("x-kind", "X-Kind, *");
    node.client().get("/p");
    assert!(!node.client().get("/p").is_hit());
    drop(origin);
}

#[test]
fn every_line_and_every_name_of_vary_counts() {
    let origin = Origin::start(|seen| {
        let body = format!("{:?}{:?}", seen.field("x-a"), seen.field("x-b"));
        ok("Cache-Control: max-age=60\r\nVary: X-A\r\nVary: x-b\r\n", body)
    });
    let node = Node::before(&origin);
    for fields in ["X-A: 1\r\n", "X-B: 1\r\n", "X-A: 1\r\nX-B: 1\r\n", ""] {
        assert!(!node.client().get_with("/p", fields).is_hit(), "{fields}");
    }
    for fields in ["X-A: 1\r\n", "X-B: 1\r\n", "X-A: 1\r\nX-B: 1\r\n", ""] {
        assert!(node.client().get_with("/p", fields).is_hit(), "{fields}");
    }
}

#[test]
fn browsers_that_accept_the_same_encodings_share_and_the_origin_sees_why() {
    let (origin, node) = echo("accept-encoding", "Accept-Encoding");
    let first = node.client().get_with("/p", "Accept-Encoding: gzip, deflate, br\r\n");
    let second = node.client().get_with("/p", "Accept-Encoding: br;q=1.0, gzip;q=0.8\r\n");
    assert!(second.is_hit(), "{}", second.head);
    assert_eq!(first.text(), second.text());
    let third = node.client().get_with("/p", "Accept-Encoding: identity\r\n");
    assert!(!third.is_hit());
    assert!(!third.text().contains("br") && !third.text().contains("gzip"), "{}", third.text());
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_refused_encoding_is_not_sent() {
    let (origin, node) = echo("accept-encoding", "Accept-Encoding");
    node.client().get_with("/p", "Accept-Encoding: gzip;q=0, br\r\n");
    let seen = origin.request(0).field("accept-encoding").unwrap_or_default();
    assert!(!seen.contains("gzip") && seen.contains("br"), "{seen}");
}

#[test]
fn variants_are_bounded() {
    let origin = Origin::start(|seen| {
        ok(
            "Cache-Control: max-age=60\r\nVary: X-Kind\r\n",
            seen.field("x-kind").unwrap_or_default(),
        )
    });
    let node = Node::with_site(&origin, "variants_max = 4");
    for kind in 0..20 {
        node.client().get_with("/p", &format!("X-Kind: {kind}\r\n")).expect_miss(&kind.to_string());
    }
    node.client().get_with("/p", "X-Kind: 19\r\n").expect_hit("19");
    node.client().get_with("/p", "X-Kind: 0\r\n").expect_miss("0");
}

#[test]
fn an_answer_that_stops_varying_is_for_everybody() {
    let origin = Origin::start(|seen| match seen.n {
        0 => ok("Cache-Control: max-age=60\r\nVary: X-Kind\r\n", "varying"),
        _ => ok("Cache-Control: max-age=60\r\n", "plain"),
    });
    let node = Node::before(&origin);
    node.client().get_with("/p", "X-Kind: a\r\n").expect_miss("varying");
    node.client().get_with("/p", "X-Kind: b\r\n").expect_miss("plain");
    assert!(node.client().get_with("/p", "X-Kind: c\r\n").is_hit());
}
