//! Promise P3: the key holds scheme, host, port, path and query as they are forwarded.

use crate::support::reply::fresh;
use crate::support::*;

fn world() -> (Origin, Node) {
    let origin = Origin::start(|seen| fresh(60, format!("{}", seen.n)));
    let node = Node::before(&origin);
    (origin, node)
}

fn get(node: &Node, host: &str, target: &str) -> Answer {
    node.client().send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer()
}

#[test]
fn targets_an_origin_can_tell_apart_are_never_merged() {
    let (origin, node) = world();
    let targets = [
        "/a",
        "/a?",
        "/a/",
        "//a",
        "/A",
        "/a?x",
        "/a?x=",
        "/a?x=1",
        "/a?x=1&y=2",
        "/a?y=2&x=1",
        "/a?x=1&",
        "/a?x=1&x=1",
        "/%61",
        "/a%2Fb",
        "/a%2fb",
        "/a/b",
        "/a/./b",
        "/a/../b",
        "/b",
        "/a;x",
        "/a;x=1",
        "/a%3Fx",
        "/a%20b",
        "/a+b",
        "/a%00",
        "/a\\b",
        "/a%5cb",
        "/a.css",
        "/a/.css",
        "/a;.css",
        "/a%0a.css",
        "/a%23",
        "/a?x#",
        "/a?x=%31",
        "/a??x",
        "/a?x;y",
        "/a,b",
        "/a|b",
    ];
    let mut seen = 0;
    for target in targets {
        let answer = get(&node, "site.test", target);
        if answer.status == 400 {
            continue; // Not a URI: refused is right too.
        }
        answer.expect_miss(&seen.to_string());
        assert_eq!(origin.request(seen).target, target, "forwarded byte for byte");
        seen += 1;
    }
    assert!(seen > 30, "only {seen} accepted");
}

#[test]
fn hosts_and_ports_are_part_of_the_key_and_case_is_not() {
    let (_origin, node) = world();
    get(&node, "site.test", "/a").expect_miss("0");
    get(&node, "other.test", "/a").expect_miss("1");
    get(&node, "site.test:8080", "/a").expect_miss("2");
    get(&node, "SITE.test", "/a").expect_hit("0");
    get(&node, "site.test.", "/a");
    get(&node, "site.test", "/a").expect_hit("0");
}

#[test]
fn plain_and_tls_do_not_share() {
    let (_origin, node) = world();
    node.client().get("/a").expect_miss("0");
    node.tls_client().get("/a").expect_miss("1");
    node.client().get("/a").expect_hit("0");
    node.tls_client().get("/a").expect_hit("1");
}

#[test]
fn http_1_and_http_2_share_one_entry() {
    let (_origin, node) = world();
    node.tls_client().get("/a").expect_miss("0");
    node.h2().get("/a").expect_hit("0");
    node.h2().get("/b").expect_miss("1");
    node.tls_client().get("/b").expect_hit("1");
}

#[test]
fn a_query_that_the_site_leaves_out_of_the_key_does_not_part_answers() {
    let origin = Origin::start(|seen| fresh(60, &seen.target));
    let node = Node::with_site(&origin, "query = { except = [\"utm_*\"] }");
    node.client().get("/a?id=1").expect_miss("/a?id=1");
    node.client().get("/a?utm_medium=x&id=1").expect_hit("/a?id=1");
    node.client().get("/a?id=1&utm_source=y").expect_hit("/a?id=1");
    node.client().get("/a?id=2").expect_miss("/a?id=2");
}

#[test]
fn a_suffix_does_not_make_a_private_page_cacheable() {
    let origin = Origin::start(|_| ok("Content-Type: text/html\r\n", "secret"));
    let node = Node::before(&origin);
    for target in ["/me/x.css", "/me;x.js", "/me%2fx.png", "/me?x.jpg", "/me%00.css"] {
        let answer = node.client().get(target);
        let again = node.client().get(target);
        assert!(!answer.is_hit() && !again.is_hit(), "{target}");
    }
}

#[test]
fn the_same_name_in_another_case_is_another_method() {
    let (origin, node) = world();
    node.client().get("/a").expect_miss("0");
    let answer = node.client().ask("get", "/a", "");
    assert!(!answer.is_hit(), "{}", answer.head);
    assert!(origin.requests().iter().skip(1).all(|seen| seen.method == "get"));
}
