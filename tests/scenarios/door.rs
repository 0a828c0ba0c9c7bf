//! What a request may name: hosts, methods, fields of the connection, upgrades, Expect.

use crate::support::client::request;
use crate::support::*;

fn world() -> (Origin, Node) {
    let origin = Origin::start(|seen| ok("", format!("{} {}", seen.method, seen.target)));
    let node = Node::before(&origin);
    (origin, node)
}

#[track_caller]
fn refused(bytes: &str, statuses: &[u16]) {
    let (origin, node) = world();
    let mut client = node.client();
    client.send(bytes);
    let answer = client.answer();
    assert!(statuses.contains(&answer.status), "{bytes:?} was answered {}", answer.head);
    assert_eq!(origin.wire_text(), "", "{bytes:?} reached the origin");
    node.client().get("/after").expect(200, "GET /after");
}

#[test]
fn a_host_that_is_missing_doubled_or_not_a_host_is_refused() {
    refused("GET /a HTTP/1.1\r\n\r\n", &[400]);
    refused("GET /a HTTP/1.1\r\nHost: site.test\r\nHost: site.test\r\n\r\n", &[400]);
    refused("GET /a HTTP/1.1\r\nHost: site.test\r\nhost: evil.test\r\n\r\n", &[400]);
    let hosts = [
        "",
        "a b",
        "a@b",
        "user@site.test",
        "a/b",
        "site.test/",
        "site.test:",
        "site.test:x",
        "site.test:99999",
        "site.test:-1",
        "site.test, evil.test",
        "[::1",
        "::1",
        "a\\b",
        "a\tb",
        "site.test:80:80",
        "a\"b",
        "a<b",
        "%00",
        "site.test#",
        "site.test?",
    ];
    for host in hosts {
        if host == "site.test:" {
            continue; // RFC 3986 3.2.3 allows an empty port; either reading is the same.
        }
        refused(&format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"), &[400, 421]);
    }
}

#[test]
fn the_authority_of_an_absolute_target_wins_over_host() {
    let (origin, node) = world();
    let mut client = node.client();
    client.send("GET http://right.test/a HTTP/1.1\r\nHost: wrong.test\r\n\r\n");
    let answer = client.answer();
    if answer.status == 200 {
        let seen = origin.request(0);
        assert_eq!(
            (seen.target.as_str(), seen.field("host").as_deref()),
            ("/a", Some("right.test"))
        );
        assert!(!origin.wire_text().contains("wrong.test"));
    } else {
        assert_eq!(answer.status, 400, "RFC 9112 3.2.2 or refused");
        assert_eq!(origin.wire_text(), "");
    }
}

#[test]
fn an_unknown_host_is_misdirected_and_never_chooses_the_origin() {
    let origin = Origin::start(|_| ok("", "x"));
    let victim = Origin::start(|_| ok("", "internal"));
    let node = Node::with_site(&origin, "hosts = [\"site.test\"]");
    for host in [victim.addr.to_string(), "evil.test".to_owned(), "localhost".to_owned()] {
        let mut client = node.client();
        client.send(format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(matches!(client.answer().status, 404 | 421), "{host}");
        let mut client = node.client();
        client.send(format!("GET http://{host}/a HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(matches!(client.answer().status, 404 | 421), "{host}");
    }
    assert_eq!((origin.count(), victim.wires().len()), (0, 0));
}

#[test]
fn connect_trace_and_purge_are_not_forwarded() {
    refused("CONNECT site.test:443 HTTP/1.1\r\nHost: site.test:443\r\n\r\n", &[400, 405, 501]);
    refused("TRACE /a HTTP/1.1\r\nHost: site.test\r\n\r\n", &[405, 501]);
    refused("PURGE /a HTTP/1.1\r\nHost: site.test\r\n\r\n", &[403, 405]);
}

#[test]
fn a_purge_from_a_stranger_removes_nothing() {
    let origin = Origin::start(|_| reply::fresh(60, "kept"));
    let node = Node::before(&origin);
    node.client().get("/a").expect_miss("kept");
    let mut client = node.client();
    client.send(request("PURGE", "/a", ""));
    assert_eq!(client.answer().status, 405);
    node.client().get("/a").expect_hit("kept");
}

#[test]
fn fields_named_by_connection_stop_here() {
    let (origin, node) = world();
    let fields = "Connection: X-Private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: 5\r\n\
                  Proxy-Connection: close\r\nTE: gzip\r\nProxy-Authorization: x\r\n\
                  X-Public: 2\r\n";
    node.client().get_with("/a", fields).expect(200, "GET /a");
    let seen = origin.request(0);
    for dropped in ["x-private", "keep-alive", "proxy-connection", "te", "proxy-authorization"] {
        assert_eq!(seen.field(dropped), None, "{}", seen.head);
    }
    assert_eq!(seen.field("x-public").as_deref(), Some("2"));
}

#[test]
fn connection_cannot_drop_what_the_message_needs() {
    let (origin, node) = world();
    let mut client = node.client();
    let fields = "Connection: Content-Length, Host, Cookie\r\nContent-Length: 3\r\nCookie: a\r\n";
    client.send(request("POST", "/p", fields)).send("abc");
    let answer = client.answer();
    if answer.status == 200 {
        let seen = origin.request(0);
        assert_eq!((seen.body.as_slice(), seen.ended), (&b"abc"[..], Ended::Clean));
        assert_eq!(seen.field("host").as_deref(), Some("site.test"));
    } else {
        assert_eq!((answer.status, origin.count()), (400, 0));
    }
}

#[test]
fn an_expectation_of_100_is_met_by_the_node_and_others_are_refused() {
    let (origin, node) = world();
    let mut client = node.client();
    client.send(request("POST", "/p", "Expect: 100-continue\r\nContent-Length: 3\r\n"));
    assert!(client.head().starts_with("HTTP/1.1 100"));
    client.send("abc");
    client.answer().expect(200, "POST /p");
    assert_eq!(origin.request(0).body, b"abc");
    for odd in ["200-ok", "100-continue, x", "x"] {
        let mut client = node.client();
        client.send(request("POST", "/p", &format!("Expect: {odd}\r\nContent-Length: 3\r\n")));
        assert_eq!(client.answer().status, 417, "{odd}");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn an_upgrade_to_h2c_is_never_forwarded() {
    let (origin, node) = world();
    let fields = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                  HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
    let mut client = node.client();
    let answer = client.get_with("/a", fields);
    assert_eq!(answer.status, 200);
    let seen = origin.request(0);
    assert_eq!((seen.field("upgrade"), seen.field("http2-settings")), (None, None));
    client.get("/b").expect(200, "GET /b");
}

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn a_websocket_passes_through_in_both_directions() {
    let origin = Origin::start(|_| {
        reply(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .send("from origin")
        .hold()
    });
    let node = Node::before(&origin);
    let mut client = node.client();
    client.send(request("GET", "/ws", WEBSOCKET));
    assert!(client.head().starts_with("HTTP/1.1 101"));
    assert_eq!(client.take(11).0, b"from origin");
    client.send("from client");
    eventually("the bytes reach the origin", || origin.wire_text().ends_with("from client"));
}

#[test]
fn a_switch_to_another_protocol_than_asked_for_is_a_bad_gateway() {
    for named in ["h2c", "websocket, h2c", ""] {
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {named}\r\n\r\n"
        );
        let origin = Origin::start(move |seen| match seen.target.as_str() {
            "/ws" => reply(&head).hold(),
            _ => ok("", "good"),
        });
        let node = Node::before(&origin);
        assert_eq!(node.client().get_with("/ws", WEBSOCKET).status, 502, "{named:?}");
        node.client().get("/after").expect(200, "good");
    }
}

#[test]
fn an_options_that_may_go_no_further_ends_here() {
    let (origin, node) = world();
    let answer = node.client().ask("OPTIONS", "/a", "Max-Forwards: 0\r\n");
    assert_eq!((answer.status, origin.count()), (200, 0));
    assert!(answer.field("allow").is_some());
    node.client().ask("OPTIONS", "/a", "Max-Forwards: 5\r\n");
    assert_eq!(origin.request(0).field("max-forwards").as_deref(), Some("4"));
}

#[test]
fn what_may_be_a_replay_is_forwarded_only_if_it_is_safe() {
    let (origin, node) = world();
    let fields = "Early-Data: 1\r\nContent-Length: 0\r\n";
    assert_eq!(node.client().ask("POST", "/p", fields).status, 425);
    assert_eq!(origin.count(), 0);
    node.client().ask("GET", "/a", "Early-Data: 1\r\n").expect(200, "GET /a");
    assert_eq!(origin.request(0).field("early-data").as_deref(), Some("1"));
}

#[test]
fn an_empty_port_is_the_default_one() {
    let (_origin, node) = world();
    let mut client = node.client();
    client.send("GET /a HTTP/1.1\r\nHost: site.test:\r\n\r\n");
    client.answer().expect(200, "GET /a");
}

#[test]
fn an_upgrade_the_origin_declines_leaves_an_http_connection() {
    let (origin, node) = world();
    let mut client = node.client();
    client.send(request("GET", "/ws", WEBSOCKET)).send(request("GET", "/next", ""));
    client.answer().expect(200, "GET /ws");
    if let Some(answer) = client.try_answer("GET") {
        answer.expect(200, "GET /next");
    }
    assert!(!origin.request(0).head.contains("/next"));
}

#[test]
fn a_101_that_nobody_asked_for_is_a_bad_gateway() {
    let origin = Origin::start(|_| {
        reply("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nevil")
            .hold()
    });
    let node = Node::before(&origin);
    assert_eq!(node.client().get("/a").status, 502);
}

#[test]
fn the_answer_to_a_request_that_says_close_closes() {
    let (_origin, node) = world();
    let mut client = node.client();
    client.get_with("/a", "Connection: close\r\n").expect(200, "GET /a");
    client.expect_closed();
    let mut client = node.client();
    client.send("GET /b HTTP/1.0\r\nHost: site.test\r\n\r\n");
    client.answer().expect(200, "GET /b");
    client.expect_closed();
}

#[test]
fn crlf_in_a_target_never_becomes_a_header() {
    let origin = Origin::start(|_| ok("", "x"));
    let node = Node::with_site(&origin, "redirect_https = 443");
    let answer = node.client().get("/%0d%0aSet-Cookie:%20a=b");
    assert!((300..400).contains(&answer.status), "{}", answer.head);
    assert_eq!(answer.field("set-cookie"), None);
    assert!(!answer.head.contains("\nSet-Cookie"), "{}", answer.head);
}

#[test]
fn a_loop_is_detected_and_not_forwarded() {
    let (origin, node) = world();
    node.client().get("/a");
    let own = origin.request(0).field("cdn-loop").expect("CDN-Loop is appended (RFC 8586)");
    let answer = node.client().get_with("/b", &format!("CDN-Loop: other, {own}\r\n"));
    assert_eq!(answer.status, 508);
    assert_eq!(origin.count(), 1);
    node.client().get_with("/c", "CDN-Loop: other\r\n").expect(200, "GET /c");
    let passed = origin.request(1).field("cdn-loop").unwrap_or_default();
    assert!(passed.starts_with("other") && passed.ends_with(&own), "{passed}");
}

#[test]
fn a_site_for_tls_only_sends_plain_requests_to_https() {
    let origin = Origin::start(|_| ok("", "secret"));
    let node = Node::with_site(&origin, "redirect_https = 8443");
    let answer = node.client().get("/a%20b?x=1&y");
    assert_eq!(answer.status, 308);
    let there = "https://site.test:8443/a%20b?x=1&y";
    assert_eq!(answer.field("location").as_deref(), Some(there));
    let answer = node.client().ask("POST", "/form", "Content-Length: 0\r\n");
    assert_eq!(answer.status, 308, "the method is kept (RFC 9110 15.4.9)");
    assert_eq!(origin.count(), 0);
    node.tls_client().get("/a").expect(200, "secret");
}
