//! The door for HTTP/2: what cannot be one clean HTTP/1 request downstream is refused
//! as a stream error or a 400, and nothing of it is forwarded (RFC 9113 8.2, 8.3, 8.1.1).

use crate::support::client::HOST;
use crate::support::frames::{Fate, kind};
use crate::support::*;

type Field<'a> = (&'a [u8], &'a [u8]);

fn world() -> (Origin, Node) {
    let origin = Origin::start(|seen| ok("", format!("{} {}", seen.method, seen.target)));
    let node = Node::before(&origin);
    (origin, node)
}

const BASE: [Field<'static>; 4] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", HOST.as_bytes()),
    (b":path", b"/a"),
];

/// Each field section is refused on a connection of its own, and the origin sees nothing.
#[track_caller]
fn refused(sections: &[Vec<Field<'_>>]) {
    let (origin, node) = world();
    for section in sections {
        let shown: Vec<String> = section
            .iter()
            .map(|(n, v)| format!("{}={}", n.escape_ascii(), v.escape_ascii()))
            .collect();
        let mut raw = node.raw_h2();
        raw.headers(1, true, section);
        let fate = raw.fate(1);
        assert!(fate.is_refusal(), "{shown:?} met {fate:?}");
        assert_eq!(origin.wire_text(), "", "{shown:?} reached the origin");
    }
    node.h2().get("/after").expect(200, "GET /after");
}

fn with<'a>(more: &[Field<'a>]) -> Vec<Field<'a>> {
    BASE.iter().copied().chain(more.iter().copied()).collect()
}

/// The base section with one pseudo-field changed.
fn but<'a>(name: &'a [u8], value: &'a [u8]) -> Vec<Field<'a>> {
    let swap = |(n, v): Field<'a>| if n == name { (n, value) } else { (n, v) };
    BASE.iter().copied().map(|field| swap((field.0, field.1))).collect()
}

#[test]
fn a_clean_request_passes() {
    let (_origin, node) = world();
    let mut raw = node.raw_h2();
    raw.get(1, "/a", &[]);
    assert_eq!(raw.fate(1), Fate::Answered(200, b"GET /a".to_vec()));
    raw.get(3, "/b", &[(b"x-own", b"1")]);
    assert_eq!(raw.fate(3), Fate::Answered(200, b"GET /b".to_vec()));
}

#[test]
fn a_target_without_a_path_is_the_root_for_the_origin() {
    let (origin, node) = world();
    node.client().send("GET http://site.test?y HTTP/1.1\r\nHost: site.test\r\n\r\n").answer();
    for line in origin.wire_text().lines().filter(|line| line.starts_with("GET ")) {
        assert!(line.starts_with("GET /?"), "{line}");
    }
}

#[test]
fn control_characters_in_names_and_values_are_refused() {
    refused(&[
        with(&[(b"x", b"a\r\nSmuggled: 1")]),
        with(&[(b"x", b"a\nSmuggled: 1")]),
        with(&[(b"x", b"a\rb")]),
        with(&[(b"x", b"a\0b")]),
        with(&[(b"x\r\nsmuggled", b"1")]),
        with(&[(b"x: smuggled", b"1")]),
        with(&[(b"x:y", b"1")]),
        with(&[(b"x y", b"1")]),
        with(&[(b"", b"1")]),
        with(&[(b"X-Upper", b"1")]),
        with(&[(b"x\x80", b"1")]),
    ]);
}

#[test]
fn a_request_line_cannot_be_smuggled_through_a_pseudo_field() {
    refused(&[
        but(b":path", b"/a HTTP/1.1\r\nHost: evil\r\n\r\nGET /b"),
        but(b":path", b"/a b"),
        but(b":path", b"/a\r\nX: y"),
        but(b":path", b"/a\0"),
        but(b":path", b""),
        but(b":path", b"a"),
        but(b":path", b"*"),
        but(b":path", b"http://evil.test/a"),
        but(b":path", b"/a#b"),
        but(b":path", b"/a?b#c"),
        but(b":path", b"#b"),
        but(b":path", b"?b"),
        but(b":method", b"GET /evil HTTP/1.1\r\nX: y"),
        but(b":method", b"GET "),
        but(b":method", b""),
        but(b":method", b"G\xe9T"),
        but(b":scheme", b"https://evil.test/?"),
        but(b":scheme", b"ht tp"),
        but(b":scheme", b""),
        but(b":authority", b"evil.test/path"),
        but(b":authority", b"user@site.test"),
        but(b":authority", b"site.test\r\nX: y"),
        but(b":authority", b"site test"),
        but(b":authority", b""),
        but(b":authority", b"site.test:x"),
    ]);
}

#[test]
fn pseudo_fields_come_once_first_and_complete() {
    let without = |name: &[u8]| BASE.iter().copied().filter(|(n, _)| *n != name).collect();
    refused(&[
        without(b":method"),
        without(b":scheme"),
        without(b":path"),
        without(b":authority"),
        with(&[(b":path", b"/b")]),
        with(&[(b":method", b"POST")]),
        with(&[(b":authority", b"evil.test")]),
        with(&[(b":odd", b"x")]),
        with(&[(b":status", b"200")]),
        vec![BASE[0], BASE[1], (b"x", b"1"), BASE[2], BASE[3]],
    ]);
}

#[test]
fn fields_of_an_http_1_connection_are_refused() {
    refused(&[
        with(&[(b"connection", b"keep-alive")]),
        with(&[(b"transfer-encoding", b"chunked")]),
        with(&[(b"keep-alive", b"5")]),
        with(&[(b"proxy-connection", b"close")]),
        with(&[(b"upgrade", b"h2c")]),
        with(&[(b"te", b"gzip")]),
    ]);
}

#[test]
fn host_must_agree_with_the_authority() {
    refused(&[
        with(&[(b"host", b"evil.test")]),
        with(&[(b"host", b"site.test"), (b"host", b"evil.test")]),
        with(&[(b"host", b"site.test evil")]),
    ]);
}

#[test]
fn a_content_length_that_lies_is_refused() {
    let (origin, node) = world();
    for (length, data) in [("3", "abcdef"), ("10", "abc"), ("0", "a"), ("x", "a"), ("-1", "a")] {
        let mut raw = node.raw_h2();
        let mut fields = with(&[(b"content-length", length.as_bytes())]);
        fields[0] = (b":method", b"POST");
        raw.headers(1, false, &fields);
        raw.frame(kind::DATA, frames::END_STREAM, 1, data.as_bytes());
        let fate = raw.fate(1);
        assert!(fate.is_refusal(), "{length} with {data:?} met {fate:?}");
    }
    assert!(origin.requests().iter().all(|seen| seen.ended != Ended::Clean));
    refused(&[
        with(&[(b"content-length", b"5")]),
        with(&[(b"content-length", b"0"), (b"content-length", b"5")]),
        with(&[(b"content-length", b"+0")]),
    ]);
}

#[test]
fn a_body_said_to_be_empty_is_forwarded_only_once_it_has_ended() {
    let (origin, node) = world();
    let mut raw = node.raw_h2();
    let mut fields = with(&[(b"content-length", b"0")]);
    fields[0] = (b":method", b"POST");
    raw.headers(1, false, &fields);
    // Answered while the stream above is open: the node has looked at it by now.
    raw.get(3, "/other", &[]);
    assert_eq!(raw.fate(3).status(), Some(200));
    assert!(!origin.wire_text().contains("POST"));
    raw.frame(kind::DATA, frames::END_STREAM, 1, b"");
    assert_eq!(raw.fate(1).status(), Some(200));
    raw.headers(5, false, &fields);
    raw.frame(kind::DATA, frames::END_STREAM, 5, b"GET /smuggled HTTP/1.1\r\n\r\n");
    assert!(raw.fate(5).is_refusal());
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_target_or_name_that_http_1_refuses_is_refused() {
    refused(&[
        but(b":path", b"/a\"b"),
        but(b":path", b"/a\\b"),
        but(b":path", b"/a<b>"),
        but(b":path", b"/a?b=\"c\""),
        with(&[(b"x\"y", b"v")]),
    ]);
}

#[test]
fn a_reset_inside_a_body_is_not_a_whole_body_for_the_origin() {
    let (origin, node) = world();
    let mut raw = node.raw_h2();
    let mut fields = with(&[]);
    fields[0] = (b":method", b"POST");
    raw.headers(1, false, &fields);
    raw.frame(kind::DATA, 0, 1, b"half");
    raw.frame(kind::RST_STREAM, 0, 1, &8u32.to_be_bytes());
    raw.get(3, "/next", &[]);
    assert_eq!(raw.fate(3).status(), Some(200));
    let posts = origin.requests().into_iter().filter(|seen| seen.method == "POST");
    assert!(posts.into_iter().all(|seen| seen.ended != Ended::Clean));
}

#[test]
fn a_pseudo_field_among_trailers_spoils_the_upload() {
    let (origin, node) = world();
    let mut raw = node.raw_h2();
    let mut fields = with(&[]);
    fields[0] = (b":method", b"POST");
    for (stream, trailer) in [(1, (":path", "/evil")), (3, (":status", "200"))] {
        raw.headers(stream, false, &fields);
        raw.frame(kind::DATA, 0, stream, b"half");
        raw.headers(stream, true, &[(trailer.0.as_bytes(), trailer.1.as_bytes())]);
        let fate = raw.fate(stream);
        assert!(fate.is_refusal(), "{trailer:?} met {fate:?}");
    }
    raw.headers(5, false, &fields);
    raw.frame(kind::DATA, 0, 5, b"whole");
    raw.headers(5, true, &[(b"x-sum", b"1")]);
    assert_eq!(raw.fate(5).status(), Some(200));
    let whole = origin.requests().into_iter().filter(|seen| seen.ended == Ended::Clean);
    assert_eq!(whole.count(), 1, "only the last one is whole for the origin");
}

#[test]
fn cookies_in_pieces_become_one() {
    let (origin, node) = world();
    let mut raw = node.raw_h2();
    raw.get(1, "/a", &[(b"cookie", b"a=1"), (b"cookie", b"b=2")]);
    assert_eq!(raw.fate(1).status(), Some(200));
    assert_eq!(origin.request(0).field("cookie").as_deref(), Some("a=1; b=2"));
}

#[test]
fn connect_is_refused_on_http_2() {
    refused(&[
        vec![(b":method", b"CONNECT"), (b":authority", b"internal.test:22")],
        but(b":method", b"CONNECT"),
        but(b":method", b"TRACE"),
    ]);
}

#[test]
fn hosts_outside_the_certificate_are_misdirected() {
    let origin = Origin::start(|_| ok("", "x"));
    let node = Node::with_certificate(&origin, &[HOST]);
    let mut raw = node.raw_h2();
    raw.headers(1, true, &but(b":authority", b"other.example"));
    assert_eq!(raw.fate(1).status(), Some(421));
    assert_eq!(origin.wire_text(), "");
    raw.get(3, "/a", &[]);
    assert_eq!(raw.fate(3).status(), Some(200));
}

#[test]
fn a_stored_answer_never_carries_fields_of_http_1_to_http_2() {
    let origin = Origin::start(|_| {
        ok("Cache-Control: max-age=60\r\nKeep-Alive: 5\r\nConnection: keep-alive\r\n", "x")
    });
    let node = Node::before(&origin);
    for _ in 0..2 {
        let answer = node.h2().get("/a");
        answer.expect(200, "x");
        for name in ["connection", "keep-alive", "transfer-encoding"] {
            assert_eq!(answer.field(name), None);
        }
    }
}

#[test]
fn a_cut_body_is_a_reset_stream_and_not_an_end() {
    let origin = Origin::start(|_| {
        reply("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\ncut").cut()
    });
    let node = Node::before(&origin);
    let mut raw = node.raw_h2();
    raw.get(1, "/a", &[]);
    let fate = raw.fate(1);
    let fine = matches!(fate, Fate::Reset(code) if code != 0) || fate.status() == Some(502);
    assert!(fine, "{fate:?}");
}
