//! Ranges answered from what is stored (RFC 9110 14).

use crate::support::*;

fn world() -> (Origin, Node) {
    let origin = Origin::start(|seen| match seen.field("range") {
        Some(_) => reply(
            "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\n\
             Content-Range: bytes 0-2/10\r\nContent-Length: 3\r\n\r\n012",
        ),
        None => ok("Cache-Control: max-age=60\r\nETag: \"v1\"\r\n", "0123456789"),
    });
    let node = Node::before(&origin);
    (origin, node)
}

fn warm() -> (Origin, Node) {
    let (origin, node) = world();
    node.client().get("/a").expect_miss("0123456789");
    (origin, node)
}

fn range(node: &Node, spec: &str) -> Answer {
    node.client().get_with("/a", &format!("Range: {spec}\r\n"))
}

#[test]
fn a_single_range_is_cut_from_the_stored_whole() {
    let (origin, node) = warm();
    for (spec, body, place) in [
        ("bytes=0-2", "012", "bytes 0-2/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-4", "6789", "bytes 6-9/10"),
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=5-99", "56789", "bytes 5-9/10"),
        ("bytes=-99", "0123456789", "bytes 0-9/10"),
    ] {
        let answer = range(&node, spec);
        answer.expect(206, body);
        assert!(answer.is_hit(), "{spec}");
        assert_eq!(answer.field("content-range").as_deref(), Some(place), "{spec}");
        assert_eq!(answer.field("content-length"), Some(body.len().to_string()), "{spec}");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_range_outside_is_416_and_nonsense_is_ignored() {
    let (_origin, node) = warm();
    for spec in ["bytes=10-", "bytes=10-20", "bytes=99-100", "bytes=-0"] {
        let answer = range(&node, spec);
        assert_eq!(answer.status, 416, "{spec}: {}", answer.head);
        assert_eq!(answer.field("content-range").as_deref(), Some("bytes */10"), "{spec}");
    }
    for spec in [
        "bytes=2-1",
        "bytes=x-y",
        "bytes=",
        "bytes",
        "lines=0-1",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=-",
        "bytes=0x1-2",
        "bytes=+1-2",
        "bytes=18446744073709551616-",
    ] {
        let answer = range(&node, spec);
        assert!(matches!(answer.status, 200 | 416), "{spec}: {}", answer.head);
        if answer.status == 200 {
            answer.expect(200, "0123456789");
        }
    }
    node.client().get("/a").expect_hit("0123456789");
}

#[test]
fn several_ranges_are_a_multipart_answer() {
    let (_origin, node) = warm();
    let answer = range(&node, "bytes=0-1, 8-9");
    assert_eq!(answer.status, 206, "{}", answer.head);
    let kind = answer.field("content-type").unwrap_or_default();
    assert!(kind.starts_with("multipart/byteranges; boundary="), "{kind}");
    let text = answer.text();
    for part in ["Content-Range: bytes 0-1/10", "Content-Range: bytes 8-9/10"] {
        assert!(text.to_lowercase().contains(&part.to_lowercase()), "{text}");
    }
    assert_eq!(answer.ended, Ended::Clean);
}

#[test]
fn many_or_overlapping_ranges_are_not_amplified() {
    let (origin, node) = warm();
    let many: Vec<String> = (0..1000).map(|_| "0-".to_owned()).collect();
    let overlapping = (0..10).map(|n| format!("{}-9", n)).collect::<Vec<_>>().join(",");
    for spec in [many.join(","), overlapping, "0-,0-,0-,0-".to_owned()] {
        let answer = range(&node, &format!("bytes={spec}"));
        assert!(matches!(answer.status, 200 | 416), "{}", answer.head);
        assert!(answer.body.len() <= 400, "{} bytes", answer.body.len());
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn several_ranges_are_never_forwarded() {
    let (origin, node) = world();
    range(&node, "bytes=0-0, 2-2, 4-4");
    let asked = origin.request(0).field("range").unwrap_or_default();
    assert!(!asked.contains(','), "{asked}");
}

#[test]
fn if_range_guards_a_range() {
    let (_origin, node) = warm();
    let ask = |guard: &str| {
        node.client().get_with("/a", &format!("Range: bytes=0-2\r\nIf-Range: {guard}\r\n"))
    };
    ask("\"v1\"").expect(206, "012");
    ask("\"v2\"").expect(200, "0123456789");
    ask("W/\"v1\"").expect(200, "0123456789");
    ask("nonsense").expect(200, "0123456789");
}

#[test]
fn a_range_that_misses_is_answered_and_a_later_whole_is_whole() {
    let (_origin, node) = world();
    let answer = range(&node, "bytes=0-2");
    answer.expect(206, "012");
    assert_eq!(answer.field("content-range").as_deref(), Some("bytes 0-2/10"));
    node.client().get("/a").expect(200, "0123456789");
}

#[test]
fn a_partial_answer_is_never_given_for_the_whole() {
    let origin = Origin::start(|seen| match seen.n {
        0 => reply(
            "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\n\
             Content-Range: bytes 0-2/10\r\nContent-Length: 3\r\n\r\n012",
        ),
        _ => ok("Cache-Control: max-age=60\r\n", "0123456789"),
    });
    let node = Node::before(&origin);
    range(&node, "bytes=0-2");
    node.client().get("/a").expect(200, "0123456789");
}

#[test]
fn a_partial_answer_that_nobody_asked_for_is_not_kept() {
    let origin = Origin::start(|seen| match seen.n {
        0 => reply(
            "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\n\
             Content-Range: bytes 0-2/10\r\nContent-Length: 3\r\n\r\n012",
        ),
        _ => ok("Cache-Control: max-age=60\r\n", "0123456789"),
    });
    let node = Node::before(&origin);
    node.client().get("/a");
    node.client().get("/a").expect(200, "0123456789");
}

#[test]
fn a_head_with_a_range_is_answered_without_a_body() {
    let (_origin, node) = warm();
    let mut client = node.client();
    let answer = client.ask("HEAD", "/a", "Range: bytes=0-2\r\n");
    assert!(matches!(answer.status, 200 | 206), "{}", answer.head);
    client.get("/a").expect_hit("0123456789");
}
