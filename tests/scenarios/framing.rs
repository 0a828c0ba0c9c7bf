//! Promise P1: one request in, at most one out, in one unambiguous framing.
//!
//! Each refusal is checked on three sides: the answer is a 4xx, the connection closes,
//! and not one byte reached the origin; then a good request on a new connection works.

use crate::support::client::request;
use crate::support::*;

fn world() -> (Origin, Node) {
    let origin = Origin::start(|seen| ok("", format!("{} {}", seen.method, seen.target)));
    let node = Node::before(&origin);
    (origin, node)
}

/// Sends bytes that must be refused and shows that nobody else suffers.
#[track_caller]
fn refused(node: &Node, origin: &Origin, bytes: &[u8], statuses: &[u16]) {
    let shown = String::from_utf8_lossy(bytes);
    let before = origin.wire_text();
    let mut client = node.client();
    client.send(bytes);
    let answer = client.try_answer("GET");
    let status = answer.as_ref().map(|answer| answer.status);
    assert!(
        status.is_some_and(|status| statuses.contains(&status)),
        "{shown:?} was answered {answer:?}"
    );
    client.expect_closed();
    assert_eq!(origin.wire_text(), before, "{shown:?} reached the origin");
}

#[track_caller]
fn all_refused(requests: &[&str], statuses: &[u16]) {
    let (origin, node) = world();
    for bytes in requests {
        refused(&node, &origin, bytes.as_bytes(), statuses);
    }
    node.client().get("/after").expect(200, "GET /after");
}

/// A POST with these header lines and what follows them.
fn post(lines: &str, rest: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: site.test\r\n{lines}\r\n{rest}")
}

#[track_caller]
fn posts_refused(cases: &[(&str, &str)], statuses: &[u16]) {
    let made: Vec<String> = cases.iter().map(|(lines, rest)| post(lines, rest)).collect();
    let borrowed: Vec<&str> = made.iter().map(String::as_str).collect();
    all_refused(&borrowed, statuses);
}

#[test]
fn a_request_with_a_body_passes_whole() {
    let (origin, node) = world();
    let mut client = node.client();
    client.get("/a").expect(200, "GET /a");
    client.send(request("POST", "/b", "Content-Length: 3\r\n")).send("abc");
    client.answer().expect(200, "POST /b");
    assert_eq!(origin.request(1).body, b"abc");
    client.send(request("POST", "/c", "Transfer-Encoding: chunked\r\n"));
    client.send("3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    client.answer().expect(200, "POST /c");
    assert_eq!(origin.request(2).body, b"abcde");
    assert!(!origin.wire_text().contains("x=y"), "chunk extensions are not passed on");
}

#[test]
fn content_length_with_transfer_encoding_is_refused() {
    posts_refused(
        &[
            ("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "5c\r\nGET /x"),
            ("Transfer-encoding: chunked\r\ncontent-length: 0\r\n", "0\r\n\r\n"),
        ],
        &[400],
    );
}

#[test]
fn an_odd_transfer_encoding_is_refused() {
    let rest = "0\r\n\r\n";
    posts_refused(
        &[
            ("Transfer-Encoding: xchunked\r\n", rest),
            ("Transfer-Encoding: chunked, chunked\r\n", rest),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", rest),
            ("Transfer-Encoding: identity\r\n", rest),
            ("Transfer-Encoding: chunked, identity\r\n", rest),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", rest),
            ("Transfer-Encoding: \"chunked\"\r\n", rest),
            ("Transfer-Encoding: chunked;q=1\r\n", rest),
            ("Transfer-Encoding: \u{b}chunked\r\n", rest),
            ("Transfer-Encoding:\r\n", rest),
            ("Transfer-Encoding: gzip, chunked\r\n", rest),
            ("Transfer-Encoding : chunked\r\n", rest),
            (" Transfer-Encoding: chunked\r\n", rest),
            ("X: y\r\n Transfer-Encoding: chunked\r\n", rest),
        ],
        &[400, 501],
    );
    all_refused(
        &["POST /p HTTP/1.0\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        &[400],
    );
}

#[test]
fn an_odd_content_length_is_refused() {
    let values = [
        "5, 6",
        "+5",
        "-5",
        "5x",
        "0x5",
        "5 5",
        "",
        "5.0",
        "5,",
        "\"5\"",
        "٥",
        "99999999999999999999",
        "18446744073709551616",
        "18446744073709551621",
        "5;5",
    ];
    let lines: Vec<String> = values.iter().map(|v| format!("Content-Length: {v}\r\n")).collect();
    let mut cases: Vec<(&str, &str)> = lines.iter().map(|l| (l.as_str(), "hello")).collect();
    cases.push(("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"));
    cases.push(("Content-Length: 5\r\ncontent-length: 0\r\n", "hello"));
    cases.push(("Content-Length : 5\r\n", "hello"));
    cases.push(("Content-Length: 5\r\n\tGET: 6\r\n", "hello"));
    posts_refused(&cases, &[400]);
}

#[test]
fn equal_content_lengths_are_refused_or_merged() {
    let (origin, node) = world();
    let mut client = node.client();
    client.send(post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"));
    if client.answer().status == 200 {
        let lengths = origin.request(0).field("content-length");
        assert_eq!(lengths.as_deref(), Some("5"), "merged into one");
    } else {
        assert_eq!(origin.wire_text(), "");
    }
}

/// A chunked body that is wrong after a good head: the origin may have seen the head, but
/// must never see a proper end of the body.
#[track_caller]
fn bad_chunks(bodies: &[&str]) {
    for body in bodies {
        let (origin, node) = world();
        let mut client = node.client();
        client.send(post("Transfer-Encoding: chunked\r\n", body)).finish();
        let answer = client.try_answer("POST");
        let refused = answer.as_ref().is_none_or(|a| (400..500).contains(&a.status));
        assert!(refused, "{body:?} was answered {answer:?}");
        client.expect_closed();
        for seen in origin.requests() {
            assert_ne!(seen.ended, Ended::Clean, "{body:?} reached the origin as a whole body");
        }
        node.client().get("/after").expect(200, "GET /after");
    }
}

#[test]
fn a_wrong_chunk_aborts_the_upstream_request() {
    bad_chunks(&[
        "FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "-1\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nab\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
    ]);
}

#[test]
fn a_line_feed_alone_in_chunk_framing_aborts_the_upstream_request() {
    bad_chunks(&[
        "3\nabc\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "3;a\rb\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
    ]);
}

#[test]
fn a_chunked_body_cut_by_the_client_is_not_whole_for_the_origin() {
    bad_chunks(&["3\r\nabc\r\n", "3\r\nab", "3", "3\r\nabc\r\n0\r\n"]);
    let (origin, node) = world();
    let mut client = node.client();
    client.send(post("Content-Length: 10\r\n", "hello")).finish();
    let answer = client.try_answer("POST");
    assert!(answer.is_none_or(|answer| answer.status >= 400));
    assert!(origin.requests().iter().all(|seen| seen.ended != Ended::Clean));
}

#[test]
fn floods_in_chunk_extensions_and_trailers_end() {
    let extensions = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(64 * 1024));
    let spread = format!("{}0\r\n\r\n", "1;abcdefghijklmnopqrstuvwxyz\r\na\r\n".repeat(4000));
    let trailers = format!("1\r\na\r\n0\r\n{}\r\n", "X-A: bcdefgh\r\n".repeat(8000));
    bad_chunks(&[&extensions, &spread, &trailers]);
}

#[test]
fn a_head_that_is_not_clean_lines_of_fields_is_refused() {
    let get = "GET /a HTTP/1.1\r\nHost: site.test\r\n";
    let lines = [
        "X: a\r\n b\r\n",
        "X : a\r\n",
        "X\t: a\r\n",
        ": a\r\n",
        "X\r\n",
        "X a\r\n",
        "X: a\rb\r\n",
        "X: a\nY: b\r\n",
        "X: a\0b\r\n",
        "X\0: a\r\n",
        "X: a\u{7f}b\r\n",
        "X: a\u{1}b\r\n",
        "X@: a\r\n",
        "X(: a\r\n",
        "é: a\r\n",
        "X: a\r\r\n",
        "X[]: a\r\n",
        "\"X\": a\r\n",
    ];
    let made: Vec<String> = lines.iter().map(|line| format!("{get}{line}\r\n")).collect();
    let borrowed: Vec<&str> = made.iter().map(String::as_str).collect();
    all_refused(&borrowed, &[400]);
    all_refused(
        &[
            "GET /a HTTP/1.1\r\n Host: site.test\r\n\r\n",
            "GET /a HTTP/1.1\nHost: site.test\n\n",
            "GET /a HTTP/1.1\r\nHost: site.test\n\r\n",
            "GET /a HTTP/1.1\r\nHost: site.test\r\n\n",
        ],
        &[400],
    );
}

#[test]
fn a_line_that_is_no_request_is_refused_although_no_head_follows() {
    all_refused(&["GET /a\r\n", "GET /a\n", "GET /a HTTP/1.1 x\r\nHost: a\r\n"], &[400]);
    all_refused(&["GET /a HTTP/0.9\r\n"], &[400, 505]);
}

#[test]
fn a_request_line_that_is_not_one_is_refused() {
    let host = "Host: site.test\r\n\r\n";
    let lines = [
        "GET  /a HTTP/1.1",
        "GET /a  HTTP/1.1",
        "GET\t/a HTTP/1.1",
        " GET /a HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /a\u{b}HTTP/1.1",
        "GET foo HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /é HTTP/1.1",
        "GET /a\0 HTTP/1.1",
        "GET /a HTTP/1.1 ",
        "GET /a HTTP/1.2x",
        "GET /a http/1.1",
        "GET /a HTTP/11",
        "GET /a HTTP/1.",
        "GET /a HTTP/",
        "GE(T /a HTTP/1.1",
        "G\u{e9}T /a HTTP/1.1",
        "GET /a<b> HTTP/1.1",
        "GET /a\"b HTTP/1.1",
        "GET http:/a HTTP/1.1",
        "GET ftp://site.test/a HTTP/1.1",
        "GET http:// HTTP/1.1",
    ];
    let made: Vec<String> = lines.iter().map(|line| format!("{line}\r\n{host}")).collect();
    let borrowed: Vec<&str> = made.iter().map(String::as_str).collect();
    all_refused(&borrowed, &[400]);
}

#[test]
fn a_version_that_is_not_spoken_is_refused() {
    all_refused(
        &[
            "GET /a HTTP/3.0\r\nHost: site.test\r\n\r\n",
            "GET /a HTTP/0.9\r\nHost: site.test\r\n\r\n",
            "GET /a HTTP/1.9x\r\nHost: site.test\r\n\r\n",
        ],
        &[400, 505],
    );
    all_refused(&["GET /a\r\n\r\n"], &[400, 505]);
}

#[test]
fn a_major_version_or_coding_that_is_known_but_not_spoken_is_said_so() {
    all_refused(&["GET /a HTTP/2.0\r\nHost: site.test\r\n\r\n"], &[505]);
    let gzip = "Transfer-Encoding: gzip, chunked\r\n";
    posts_refused(&[(gzip, "0\r\n\r\n")], &[501]);
    // Next to a length it is an attack, not a wish.
    let both = format!("Content-Length: 5\r\n{gzip}");
    posts_refused(&[(both.as_str(), "0\r\n\r\n")], &[400]);
}

#[test]
fn what_follows_a_refused_request_is_never_a_request() {
    let (origin, node) = world();
    let mut client = node.client();
    let smuggled = request("GET", "/smuggled", "");
    client.send(post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
    client.send(&smuggled);
    assert_eq!(client.answer().status, 400);
    client.expect_closed();
    assert!(!origin.wire_text().contains("smuggled"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (origin, node) = world();
    let mut client = node.client();
    let three: String = ["/1", "/2", "/3"].map(|path| request("GET", path, "")).concat();
    client.send(three);
    client.answer().expect(200, "GET /1");
    client.answer().expect(200, "GET /2");
    client.answer().expect(200, "GET /3");
    assert_eq!(origin.count(), 3);
}

#[test]
fn a_request_split_at_every_byte_means_the_same() {
    let (origin, node) = world();
    let bytes = post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n");
    let mut client = node.client();
    for byte in bytes.as_bytes() {
        client.send([*byte]);
    }
    client.answer().expect(200, "POST /p");
    assert_eq!(origin.request(0).body, b"abc");
    client.get("/next").expect(200, "GET /next");
}

#[test]
fn empty_lines_before_a_request_are_tolerated_or_refused_but_never_forwarded() {
    let (origin, node) = world();
    let mut client = node.client();
    client.send("\r\n").send(request("GET", "/a", ""));
    let answer = client.answer();
    assert!(matches!(answer.status, 200 | 400), "{}", answer.head);
    assert!(!origin.wire_text().starts_with("\r\n"));
}
