//! Promises P4 and P7: a broken answer of the origin is never whole, never kept, and its
//! connection never carries another exchange.

use std::io::{Read, Write};

use crate::support::reply::fresh;
use crate::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";

/// The first answer is `bad`, every later one is fine.
fn world(bad: Reply) -> (Origin, Node) {
    let origin = Origin::start(move |seen| match seen.n {
        0 => bad.clone(),
        _ => fresh(60, "good"),
    });
    let node = Node::before(&origin);
    (origin, node)
}

/// A head that cannot be trusted: 502, nothing kept, the connection not used again.
#[track_caller]
fn bad_gateway(head_and_rest: impl AsRef<[u8]>) {
    let shown =
        String::from_utf8_lossy(head_and_rest.as_ref()).chars().take(120).collect::<String>();
    let (origin, node) = world(reply(head_and_rest.as_ref()));
    let answer = node.client().get("/a");
    assert_eq!(answer.status, 502, "{shown:?} gave {}", answer.head);
    node.client().get("/a").expect_miss("good");
    assert_ne!(origin.request(0).connection, origin.request(1).connection, "{shown:?}");
}

/// A body that ends wrong: visible to the client, and nothing kept.
#[track_caller]
fn cut(bytes: impl AsRef<[u8]>, then: fn(Reply) -> Reply) {
    let shown = String::from_utf8_lossy(bytes.as_ref()).chars().take(120).collect::<String>();
    let (_origin, node) = world(then(reply(bytes.as_ref())));
    let mut client = node.client();
    client.send(client::request("GET", "/a", ""));
    let answer = client.try_answer("GET");
    let broken = |answer: &Answer| answer.status == 502 || answer.ended != Ended::Clean;
    assert!(answer.as_ref().is_none_or(broken), "{shown:?} looked whole: {answer:?}");
    node.client().get("/a").expect_miss("good");
}

#[test]
fn a_cut_body_is_cut_for_the_client_and_not_kept() {
    cut(format!("{OK}Content-Length: 10\r\n\r\nhello"), Reply::cut);
    cut(format!("{OK}Content-Length: 10\r\n\r\nhello"), Reply::reset);
    cut(format!("{OK}Content-Length: 10\r\n\r\n"), Reply::cut);
    cut(format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), Reply::cut);
    cut(format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhel"), Reply::cut);
    cut(format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"), Reply::cut);
    cut(format!("{OK}\r\nhello"), Reply::reset);
}

/// It has no chunks whose end could be missing, and no length.
#[test]
fn a_cut_body_is_a_reset_for_a_client_of_http_1_0() {
    let head = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let (_origin, node) = world(reply(format!("{OK}{head}")).cut());
    let mut stream = client::connect(node.plain_addr());
    stream.write_all(b"GET /a HTTP/1.0\r\nHost: site.test\r\n\r\n").expect("it takes it");
    let mut seen = Vec::new();
    let end = stream.read_to_end(&mut seen);
    let refused = seen.starts_with(b"HTTP/1.0 502") || seen.starts_with(b"HTTP/1.1 502");
    let reset = end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
    assert!(refused || reset, "it looked whole: {}", seen.escape_ascii());
    node.client().get("/a").expect_miss("good");
}

#[test]
fn a_garbled_chunk_is_cut_for_the_client_and_not_kept() {
    for chunks in [
        "5x\r\nhello\r\n0\r\n\r\n",
        "zz\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
    ] {
        cut(format!("{OK}Transfer-Encoding: chunked\r\n\r\n{chunks}"), Reply::cut);
    }
}

#[test]
fn a_head_with_two_readings_is_a_bad_gateway() {
    bad_gateway(format!("{OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"));
    bad_gateway(format!("{OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
    for length in ["5x", "-5", "+5", "5, 6", "0x5", "99999999999999999999", "5 5", ""] {
        bad_gateway(format!("{OK}Content-Length: {length}\r\n\r\nhello"));
    }
    for coding in ["xchunked", "chunked, chunked", "gzip", "identity", "gzip, chunked"] {
        bad_gateway(format!("{OK}Transfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"));
    }
}

#[test]
fn what_is_not_a_head_is_a_bad_gateway() {
    for bytes in [
        "hello\r\n\r\n",
        "<html>hello</html>\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 X\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX y\r\nContent-Length: 0\r\n\r\n",
        "\0\0\0\0\0\0\r\n\r\n",
    ] {
        let (_origin, node) = world(reply(bytes).cut());
        let answer = node.client().get("/a");
        assert_eq!(answer.status, 502, "{bytes:?} gave {}", answer.head);
        node.client().get("/a").expect_miss("good");
    }
}

#[test]
fn a_head_without_end_is_a_bad_gateway() {
    let (_origin, node) = world(reply(format!("{OK}X: {}\r\n", "y".repeat(1 << 20))).hold());
    assert_eq!(node.client().get("/a").status, 502);
    let many = "X: y\r\n".repeat(20_000);
    let (_origin, node) = world(reply(format!("{OK}{many}")).hold());
    assert_eq!(node.client().get("/a").status, 502);
    node.client().get("/a").expect_miss("good");
}

#[test]
fn bytes_after_an_answer_never_answer_the_next_request() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{poison}");
    let origin = Origin::start(move |seen| match seen.n {
        0 => reply(&answer),
        _ => ok("", "good"),
    });
    let node = Node::before(&origin);
    let mut client = node.client();
    let first = client.get("/a");
    assert!(first.text() == "hello" || first.status == 502, "{}", first.head);
    for n in 0..5 {
        client.get(&format!("/b{n}")).expect(200, "good");
    }
}

#[test]
fn bytes_after_an_answer_are_nobodys() {
    for answer in [
        format!("{OK}Content-Length: 3\r\n\r\nbad and more"),
        format!("{OK}Transfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\nmore"),
        format!("{OK}Content-Length: 0\r\n\r\nmore"),
    ] {
        let (origin, node) = world(reply(&answer));
        for _ in 0..2 {
            let text = node.client().get("/a").text();
            assert!(!text.contains("more"), "{text}");
        }
        node.client().get("/b");
        let (first, last) = (origin.request(0), origin.request(origin.count() - 1));
        assert_ne!(first.connection, last.connection, "the connection is not used again");
    }
}

#[test]
fn bytes_after_a_304_or_204_or_head_never_answer_the_next_request() {
    let extra = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for line in ["204 No Content", "304 Not Modified", "200 OK"] {
        let bad = format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\n\r\n{extra}", extra.len());
        let origin = Origin::start(move |seen| match seen.n {
            0 => reply(&bad),
            _ => ok("", "good"),
        });
        let node = Node::before(&origin);
        let method = if line.starts_with("200") { "HEAD" } else { "GET" };
        node.client().ask(method, "/a", "If-None-Match: \"x\"\r\n");
        for n in 0..3 {
            node.client().get(&format!("/b{n}")).expect(200, "good");
        }
    }
}

#[test]
fn a_304_that_nobody_asked_for_is_not_kept() {
    let (_origin, node) = world(reply(
        "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"x\"\r\n\r\n",
    ));
    let first = node.client().get("/a");
    assert!(matches!(first.status, 304 | 502), "{}", first.head);
    node.client().get("/a").expect_miss("good");
}

#[test]
fn interim_answers_are_consumed_and_endless_ones_end() {
    let (_origin, node) = world(
        reply("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            .send(format!("{OK}Content-Length: 5\r\n\r\nhello")),
    );
    let mut client = node.client();
    let answer = client.get("/a");
    answer.expect(200, "hello");
    assert_eq!(answer.interim, [103], "a 100 of the origin is not the client's");
    client.get("/a").expect_hit("hello");
    let (_origin, node) = world(reply("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20_000)).hold());
    assert_eq!(node.client().get("/a").status, 502);
}

#[test]
fn a_refused_connection_is_a_bad_gateway() {
    let origin = Origin::start(|_| ok("", ""));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let closed = closed.expect("a port where nobody listens");
    let node = Node::start(&format!(
        "[[origin]]\nname = \"app\"\nservers = [\"http://{closed}\"]\n[[site]]\norigin = \"app\"\n"
    ));
    assert_eq!(node.client().get("/a").status, 502);
    drop(origin);
}

#[test]
fn an_origin_that_says_nothing_is_a_gateway_timeout() {
    let origin = Origin::start(|_| Reply::default().hold());
    let node = Node::with_origin(&origin, "timeouts = { first_byte = \"300ms\" }");
    assert_eq!(node.client().get("/a").status, 504);
}

#[test]
fn an_origin_that_stalls_inside_a_body_cuts_the_client() {
    let origin = Origin::start(|_| reply(format!("{OK}Content-Length: 10\r\n\r\nhello")).hold());
    let node = Node::with_origin(&origin, "timeouts = { between_bytes = \"300ms\" }");
    let answer = node.client().get("/a");
    assert_eq!((answer.body.as_slice(), answer.ended), (&b"hello"[..], Ended::Cut));
}

#[test]
fn a_kept_connection_that_the_origin_closed_costs_no_request() {
    let origin = Origin::start(|seen| ok("", format!("{}", seen.n)).cut());
    let node = Node::before(&origin);
    for n in 0..5 {
        node.client().get(&format!("/{n}")).expect(200, &n.to_string());
    }
}

#[test]
fn an_unsafe_request_is_never_sent_twice() {
    let origin = Origin::start(|seen| match seen.method.as_str() {
        "POST" => Reply::default().reset(),
        _ => ok("", "x"),
    });
    let node = Node::before(&origin);
    node.client().get("/warm").expect(200, "x");
    let mut client = node.client();
    client.send(client::request("POST", "/p", "Content-Length: 3\r\n")).send("abc");
    assert_eq!(client.answer().status, 502);
    let posts = origin.requests().iter().filter(|seen| seen.method == "POST").count();
    assert_eq!(posts, 1);
}

#[test]
fn an_early_answer_ends_the_exchange_and_the_connection_to_the_origin() {
    let origin = Origin::start_early(|seen| match seen.method.as_str() {
        "POST" => reply("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig").cut(),
        _ => ok("", "good"),
    });
    let node = Node::before(&origin);
    let mut client = node.client();
    client.send(client::request("POST", "/p", "Content-Length: 100000\r\n")).send("abc");
    let answer = client.answer();
    answer.expect(413, "big");
    assert_eq!(answer.field("connection").as_deref(), Some("close"), "who closes says so");
    drop(client);
    node.client().get("/b").expect(200, "good");
    assert_ne!(origin.request(0).connection, origin.request(1).connection);
}

#[test]
fn a_body_that_ends_with_the_connection_is_kept_unless_the_site_says_no() {
    let origin = Origin::start(|_| reply(format!("{OK}\r\nhello")).cut());
    let node = Node::before(&origin);
    node.client().get("/a").expect(200, "hello");
    node.client().get("/a").expect_hit("hello");
    let node = Node::with_site(&origin, "store_close_delimited = false");
    node.client().get("/a").expect(200, "hello");
    let again = node.client().get("/a");
    again.expect(200, "hello");
    assert!(again.cache_status().contains("fwd=uri-miss"), "{}", again.head);
}
