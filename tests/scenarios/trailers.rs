//! Trailer fields pass through exchanges that the cache has no part in (RFC 9110 6.5),
//! raw bytes on both sides, and never end up in a head or in the cache.

use crate::support::client::request;
use crate::support::*;

const WANTED: &str = "TE: trailers\r\nConnection: TE, close\r\n";

/// An answer in chunks with a trailer, announced by `head`.
fn trailing(head: &str, trailer: &str) -> Reply {
    reply(format!(
        "HTTP/1.1 200 OK\r\n{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{trailer}\r\n"
    ))
}

fn raw(node: &Node, fields: &str) -> String {
    let mut client = node.client();
    client.send(request("GET", "/t", fields));
    String::from_utf8_lossy(&client.drain()).to_lowercase()
}

#[test]
fn a_trailer_of_the_origin_reaches_a_client_that_wants_it() {
    let origin = Origin::start(|_| {
        trailing("Cache-Control: no-store\r\nTrailer: X-Sum\r\n", "X-Sum: 42\r\n")
    });
    let node = Node::before(&origin);
    let answer = raw(&node, WANTED);
    assert!(answer.contains("\r\ntrailer: x-sum\r\n"), "{answer}");
    assert!(answer.ends_with("5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n"), "{answer}");
    let answer = raw(&node, "Connection: close\r\n");
    assert!(answer.ends_with("hello\r\n0\r\n\r\n"), "nobody asked for trailers: {answer}");
}

#[test]
fn a_trailer_of_the_client_reaches_the_origin() {
    let origin = Origin::start(|_| ok("", "done"));
    let node = Node::before(&origin);
    let mut client = node.client();
    client.send(request("POST", "/t", "Transfer-Encoding: chunked\r\nTrailer: X-Up\r\n"));
    client.send("3\r\nabc\r\n0\r\nX-Up: 7\r\n\r\n").answer().expect(200, "done");
    let wire = origin.wire_text().to_lowercase();
    assert!(wire.contains("\r\ntrailer: x-up\r\n"), "{wire}");
    assert!(wire.ends_with("abc\r\n0\r\nx-up: 7\r\n\r\n"), "{wire}");
}

#[test]
fn the_wish_for_trailers_reaches_the_origin_of_a_passed_request_only() {
    let origin = Origin::start(|seen| {
        let te = seen.field("te").unwrap_or_default();
        ok("Cache-Control: max-age=60\r\n", te)
    });
    let node = Node::before(&origin);
    let wish = "TE: trailers\r\nConnection: TE\r\nContent-Length: 0\r\n";
    node.client().ask("POST", "/t", wish).expect(200, "trailers");
    node.client().get_with("/a", "TE: trailers\r\nConnection: TE\r\n").expect(200, "");
}

#[test]
fn a_trailer_cannot_carry_what_belongs_into_a_head() {
    let origin = Origin::start(|seen| match seen.method.as_str() {
        "POST" => ok("", "done"),
        _ => trailing(
            "Cache-Control: no-store\r\nTrailer: Set-Cookie, X-Sum, Content-Length\r\n",
            "Set-Cookie: a=b\r\nX-Sum: 1\r\nContent-Length: 3\r\n",
        ),
    });
    let node = Node::before(&origin);
    let answer = raw(&node, WANTED);
    assert!(answer.ends_with("hello\r\n0\r\nx-sum: 1\r\n\r\n"), "{answer}");
    assert!(!answer.contains("set-cookie"), "{answer}");
    let mut client = node.client();
    let fields = "Transfer-Encoding: chunked\r\nTrailer: X-Forwarded-For, X-Up, Cookie\r\n";
    client.send(request("POST", "/t", fields));
    client.send("3\r\nabc\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nCookie: a=b\r\nX-Up: 7\r\n\r\n");
    client.answer().expect(200, "done");
    let wire = origin.wire_text().to_lowercase();
    assert!(!wire.contains("6.6.6.6") && !wire.contains("cookie"), "{wire}");
    assert!(wire.contains("0\r\nx-up: 7\r\n\r\n"), "{wire}");
}

#[test]
fn a_stored_answer_has_no_trailer_and_announces_none() {
    let origin = Origin::start(|_| {
        trailing("Cache-Control: max-age=60\r\nTrailer: X-Sum\r\n", "X-Sum: 42\r\n")
    });
    let node = Node::before(&origin);
    for _ in 0..2 {
        let answer = raw(&node, WANTED);
        assert!(answer.contains("hello") && !answer.contains("x-sum"), "{answer}");
    }
    assert_eq!(origin.count(), 1);
}
