//! A stored answer is the same whichever way through the node it takes: written by the
//! connection itself (`front::straight`, `front::http2_straight`), or by way of an exchange.

use super::pieces;
use crate::support::film::{self, Film, Look};
use crate::support::reply::status;
use crate::support::*;

/// Sends the request the long way: a plain request may not carry `TE`, which changes nothing.
const LONG_WAY: &str = "TE: trailers\r\n";
const LONG_WAY_2: (&str, &str) = ("te", "trailers");

fn sorted(answer: &Answer) -> Vec<(String, String)> {
    let mut fields = answer.fields.clone();
    fields.sort();
    fields
}

/// The answers to a request with `request` lines, after it was stored: over HTTP/1 and HTTP/2,
/// both ways each.
#[track_caller]
fn same_both_ways(line: &str, fields: &str, body: &[u8], request: &str) -> Answer {
    let (line, fields, sent) = (line.to_owned(), fields.to_owned(), body.to_vec());
    let origin = Origin::start(move |_| status(&line, &fields, &sent));
    let node = Node::before(&origin);
    let pairs: Vec<_> = request.lines().filter_map(|line| line.split_once(": ")).collect();
    node.client().get_with("/a?b=c", request);
    node.h2().get_with("/a?b=c", &pairs);
    node.advance(3);
    let mut client = node.client();
    let straight = client.get_with("/a?b=c", request);
    let long = client.get_with("/a?b=c", &format!("{request}{LONG_WAY}"));
    assert_eq!(straight.head.lines().next(), long.head.lines().next());
    let mut client = node.h2();
    let straight2 = client.get_with("/a?b=c", &pairs);
    let long2 = client.get_with("/a?b=c", &[&pairs[..], &[LONG_WAY_2]].concat());
    for answer in [&straight, &long, &straight2, &long2] {
        assert_eq!(answer.status, straight.status);
        assert_eq!(sorted(answer), sorted(&straight));
        assert_eq!((&answer.body[..], answer.ended), (body, Ended::Clean));
        assert!(answer.is_hit(), "{}", answer.head);
    }
    assert_eq!(origin.count(), 2, "{}", straight.head);
    straight
}

#[test]
fn a_hit_says_the_same_both_ways() {
    let kept = "Cache-Control: max-age=60\r\n";
    same_both_ways("200 OK", kept, b"x", "");
    same_both_ways("200 OK", kept, b"", "");
    same_both_ways("200 OK", kept, &vec![7; 300_000], "User-Agent: u\r\nReferer: r\r\n");
    same_both_ways("404 Not Found", kept, b"nothing", "");
    same_both_ways("301 Moved Permanently", &format!("{kept}Location: /b\r\n"), b"", "");
    let many = "Cache-Control: max-age=60\r\nAge: 5\r\nAccept-Ranges: none\r\nVia: 1.1 up\r\n\
                Cache-Status: up; hit\r\nX-One: 1\r\nX-One: 2\r\nLink: </a>\r\nX-Empty:\r\n";
    let got = same_both_ways("200 OK", many, b"x", "");
    assert_eq!(got.age(), Some(8));
}

#[test]
fn a_variant_is_chosen_alike_both_ways() {
    let fields = "Cache-Control: max-age=60\r\nVary: Accept-Encoding, X-Kind\r\n";
    let request = "Accept-Encoding: gzip;q=0.5, br\r\nX-Kind: a,b\r\nX-Kind: c\r\n";
    same_both_ways("200 OK", fields, b"x", request);
    same_both_ways("200 OK", fields, b"x", "");
    let fields = "Cache-Control: max-age=60\r\nVary: Accept-Language\r\n";
    same_both_ways("200 OK", fields, b"x", "Accept-Language: DE, en;q=0.3\r\n");
}

#[test]
fn another_variant_is_no_hit_either_way() {
    let origin = Origin::start(|_| ok("Cache-Control: max-age=60\r\nVary: X-Kind\r\n", "x"));
    let node = Node::before(&origin);
    node.client().get_with("/a", "X-Kind: a\r\n");
    assert!(!node.client().get_with("/a", "X-Kind: b\r\n").is_hit());
    assert!(node.client().get_with("/a", "x-kind:  a \r\n").is_hit());
    assert!(node.client().get_with("/a", "X-Kind: b\r\n").is_hit());
    assert!(!node.client().get("/a").is_hit());
    assert_eq!(origin.count(), 3);
}

#[test]
fn an_object_in_pieces_says_the_same_both_ways() {
    const TOTAL: u64 = (3 << 20) + 777;
    let film = Film::start(Look::tagged(1, TOTAL));
    let node = pieces::node(&film, "");
    node.client().get("/film");
    let last = format!("Range: bytes={}-\r\n", TOTAL - 1);
    eventually("it is there", || node.client().get_with("/film", &last).is_hit());
    node.advance(3);
    let mut client = node.client();
    let mut tls = node.tls_client();
    let straight = client.get("/film");
    let long = client.get_with("/film", LONG_WAY);
    assert_eq!(straight.head.lines().next(), long.head.lines().next());
    assert_eq!(sorted(&straight), sorted(&long));
    assert!(straight.is_hit() && straight.age() == Some(3), "{}", straight.head);
    for answer in [&straight, &long, &client.get("/film")] {
        assert_eq!(answer.ended, Ended::Clean);
        assert!(answer.body == film::bytes(1, 0, TOTAL - 1));
    }
    // Over TLS it is another object.
    tls.get("/film");
    eventually("it is there", || tls.get_with("/film", &last).is_hit());
    let sealed = tls.get("/film");
    assert!(sealed.is_hit() && sealed.body == film::bytes(1, 0, TOTAL - 1), "{}", sealed.head);
}

#[test]
fn another_variant_is_no_hit_over_http_2_either() {
    let origin = Origin::start(|_| ok("Cache-Control: max-age=60\r\nVary: X-Kind\r\n", "x"));
    let node = Node::before(&origin);
    let mut client = node.h2();
    client.get_with("/a", &[("x-kind", "a")]);
    assert!(!client.get_with("/a", &[("x-kind", "b")]).is_hit());
    assert!(client.get_with("/a", &[("x-kind", "a")]).is_hit());
    assert!(client.get_with("/a", &[("x-kind", "b")]).is_hit());
    assert!(!client.get("/a").is_hit());
    assert_eq!(origin.count(), 3);
}

/// The fields; a date that the node wrote may be another one a second later.
fn undated(answer: &Answer) -> Vec<(String, String)> {
    assert!(answer.field("date").is_some(), "{}", answer.head);
    sorted(answer).into_iter().filter(|(name, _)| name != "date").collect()
}

/// The answers to a miss both ways, each to a target of its own.
#[track_caller]
fn same_miss_both_ways(answer: impl Fn() -> Reply + Send + Sync + 'static) -> Answer {
    let origin = Origin::start(move |_| answer());
    let node = Node::before(&origin);
    let mut client = node.client();
    let short = client.get_with("/short", "User-Agent: u\r\n");
    let after = client.get("/short/again");
    let mut client = node.client();
    let long = client.get_with("/long", &format!("User-Agent: u\r\n{LONG_WAY}"));
    for other in [&after, &long] {
        assert_eq!(short.head.lines().next(), other.head.lines().next());
        assert_eq!(undated(&short), undated(other));
        assert_eq!((&short.body, short.ended), (&other.body, other.ended));
    }
    assert_eq!(origin.count(), 3);
    let (first, last) = (origin.request(0), origin.request(2));
    for name in ["host", "user-agent", "via", "x-forwarded-proto", "te", "connection"] {
        assert_eq!(first.field(name), last.field(name), "{name}");
    }
    short
}

#[test]
fn a_miss_says_the_same_both_ways() {
    let kept = "Cache-Control: max-age=60\r\n";
    for (line, fields) in [
        ("200 OK", kept),
        ("200 OK", "Cache-Control: private\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"),
        (
            "200 OK",
            "Cache-Control: max-age=60\r\nAge: 5\r\nSet-Cookie: a=b\r\nConnection: x\r\nX: y\r\n",
        ),
        ("404 Not Found", kept),
        ("500 Internal Server Error", kept),
        ("302 Found", "Location: /b\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"),
        ("299 Odd", kept),
    ] {
        for body in [&b""[..], b"x", &[7; 5_000], &[8; 300_000]] {
            let (line, fields, body) = (line.to_owned(), fields.to_owned(), body.to_vec());
            let sent = body.clone();
            let got = same_miss_both_ways(move || status(&line, &fields, &sent));
            assert_eq!((got.body, got.ended), (body, Ended::Clean));
        }
    }
}

#[test]
fn a_miss_without_a_length_says_the_same_both_ways() {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    assert_eq!(same_miss_both_ways(move || reply(&chunked)).body, b"abc");
    let nothing = head.replace("200 OK", "204 No Content") + "\r\n";
    assert_eq!(same_miss_both_ways(move || reply(&nothing)).body, b"");
}

#[test]
fn a_miss_that_is_cut_off_is_cut_off_for_the_client_too() {
    let origin = Origin::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n";
        reply(head).send("half").cut()
    });
    let node = Node::before(&origin);
    for fields in ["", LONG_WAY] {
        let mut client = node.client();
        client.send(client::request("GET", "/cut", fields));
        // A cut that comes at once may leave nothing of the answer.
        let answer = client.try_answer("GET");
        assert!(answer.is_none_or(|answer| answer.ended != Ended::Clean), "{fields}");
    }
    assert_eq!(origin.count(), 2, "nothing of it was kept");
}
