//! Conditional requests of clients against what is stored (RFC 9110 13).

use crate::support::client::request;
use crate::support::*;

const DATE: &str = "Last-Modified: Mon, 01 Dec 2025 00:00:00 GMT\r\n";

fn world(fields: &str) -> (Origin, Node) {
    let fields = format!("Cache-Control: max-age=60\r\n{fields}");
    let origin = Origin::start(move |_| ok(&fields, "body"));
    let node = Node::before(&origin);
    node.client().get("/a").expect_miss("body");
    (origin, node)
}

fn status_for(node: &Node, condition: &str) -> u16 {
    let mut client = node.client();
    let answer = client.get_with("/a", condition);
    assert!(answer.is_hit(), "{condition}: {}", answer.head);
    if answer.status == 304 {
        assert_eq!(answer.body, b"");
        client.get("/a").expect_hit("body");
    }
    answer.status
}

#[test]
fn if_none_match_is_compared_weakly() {
    let (origin, node) = world("ETag: \"v1\"\r\n");
    for (tag, expected) in [
        ("\"v1\"", 304),
        ("W/\"v1\"", 304),
        ("\"v2\"", 200),
        ("\"x\", \"v1\"", 304),
        ("*", 304),
        ("v1", 200),
        ("\"V1\"", 200),
        ("\"x\",\"y\"", 200),
    ] {
        assert_eq!(status_for(&node, &format!("If-None-Match: {tag}\r\n")), expected, "{tag}");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_tag_with_a_comma_is_one_tag() {
    let (_origin, node) = world("ETag: \"a,b\"\r\n");
    assert_eq!(status_for(&node, "If-None-Match: \"a,b\"\r\n"), 304);
    assert_eq!(status_for(&node, "If-None-Match: \"a\", \"b\"\r\n"), 200);
}

#[test]
fn dates_are_compared_when_there_is_no_tag_in_the_request() {
    let (_origin, node) = world(&format!("ETag: \"v1\"\r\n{DATE}"));
    let since = |date: &str| format!("If-Modified-Since: {date}\r\n");
    assert_eq!(status_for(&node, &since("Mon, 01 Dec 2025 00:00:00 GMT")), 304);
    assert_eq!(status_for(&node, &since("Tue, 02 Dec 2025 00:00:00 GMT")), 304);
    assert_eq!(status_for(&node, &since("Sun, 30 Nov 2025 00:00:00 GMT")), 200);
    assert_eq!(status_for(&node, &since("Monday, 01-Dec-25 00:00:00 GMT")), 304);
    assert_eq!(status_for(&node, &since("Mon Dec  1 00:00:00 2025")), 304);
    assert_eq!(status_for(&node, &since("yesterday")), 200);
    let both = format!("If-None-Match: \"v2\"\r\n{}", since("Tue, 02 Dec 2025 00:00:00 GMT"));
    assert_eq!(status_for(&node, &both), 200, "the tag has precedence");
}

#[test]
fn a_304_carries_the_fields_that_matter() {
    let (_origin, node) =
        world("ETag: \"v1\"\r\nVary: X-Kind\r\nX-Own: 1\r\nContent-Location: /b\r\n");
    let answer = node.client().get_with("/a", "If-None-Match: \"v1\"\r\n");
    assert_eq!(answer.status, 304);
    for name in ["etag", "cache-control", "vary", "date", "content-location"] {
        assert!(answer.field(name).is_some(), "{name}: {}", answer.head);
    }
    assert_eq!(answer.field("content-length").filter(|length| length == "0"), None);
}

#[test]
fn a_conditional_request_that_misses_fetches_the_whole() {
    let origin = Origin::start(|seen| match seen.field("if-none-match") {
        Some(_) => reply("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n"),
        None => ok("Cache-Control: max-age=60\r\nETag: \"v1\"\r\n", "body"),
    });
    let node = Node::before(&origin);
    let answer = node.client().get_with("/a", "If-None-Match: \"v1\"\r\n");
    assert_eq!(answer.status, 304, "{}", answer.head);
    node.client().get("/a").expect(200, "body");
}

#[test]
fn a_stale_entry_is_validated_with_its_own_validators() {
    let (origin, node) = world(&format!("ETag: \"v1\"\r\n{DATE}"));
    node.advance(61);
    node.client().get_with("/a", "If-None-Match: \"other\"\r\n");
    let seen = origin.request(1);
    let tags = seen.field("if-none-match").unwrap_or_default();
    assert!(tags.contains("\"v1\""), "{}", seen.head);
}

#[test]
fn conditions_that_only_the_origin_can_judge_are_judged_there_or_right_here() {
    let (_origin, node) = world("ETag: \"v1\"\r\n");
    let answer = node.client().get_with("/a", "If-Match: \"v2\"\r\n");
    assert!(matches!(answer.status, 412 | 200), "{}", answer.head);
    let answer = node.client().get_with("/a", "If-Match: \"v1\"\r\n");
    answer.expect(200, "body");
}

#[test]
fn only_a_success_is_turned_into_a_304() {
    let fields = "Cache-Control: max-age=60\r\nETag: \"v1\"\r\n";
    let origin = Origin::start(move |_| reply::status("404 Not Found", fields, "gone"));
    let node = Node::before(&origin);
    node.client().get("/a");
    let answer = node.client().get_with("/a", "If-None-Match: \"v1\"\r\n");
    assert!(answer.is_hit());
    answer.expect(404, "gone");
}

/// Found by the simulation: followers took a 304 to somebody's authorised request for
/// theirs and got what was stale.
#[test]
fn a_304_to_an_authorised_request_confirms_nothing_to_those_who_wait_behind_it() {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let fields = "Cache-Control: max-age=10\r\nETag: \"v1\"\r\n";
    let origin = Origin::start(move |seen| match seen.n {
        0 => ok(fields, "old"),
        1 => Reply::default()
            .wait(&at_gate)
            .send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")),
        _ => ok("Cache-Control: max-age=10\r\nETag: \"v2\"\r\n", "new"),
    });
    let node = Node::before(&origin);
    node.client().get("/a").expect_miss("old");
    node.advance(20);
    let (mut one, mut two) = (node.client(), node.client());
    one.send(request("GET", "/a", "Authorization: Basic b25l\r\n"));
    origin.wait_for(2);
    two.send(request("GET", "/a", ""));
    gate.open();
    one.answer().expect(200, "old");
    two.answer().expect(200, "new");
}
