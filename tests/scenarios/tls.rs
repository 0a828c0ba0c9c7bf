//! TLS: versions, ALPN, names, and handshakes that never finish.

use std::io::Write;
use std::sync::Arc;

use crate::support::client::{HOST, connect, request};
use crate::support::*;

fn world() -> (Origin, Node) {
    let origin = Origin::start(|_| reply::fresh(60, "x"));
    let node = Node::before(&origin);
    (origin, node)
}

#[test]
fn both_versions_and_both_protocols_are_spoken() {
    let (_origin, node) = world();
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13][..]] {
        for alpn in ["h2", "http/1.1"] {
            let config = Arc::new(tls::config(&[alpn], versions));
            let (_, stream) = tls::dial_with(node.tls_addr(), HOST, config).expect("a handshake");
            assert_eq!(stream.conn.alpn_protocol(), Some(alpn.as_bytes()));
        }
    }
}

#[test]
fn a_client_without_alpn_speaks_http_1() {
    let (_origin, node) = world();
    let (tcp, stream) = tls::dial(node.tls_addr(), HOST, &[]).expect("a handshake");
    Client::over(tcp, Box::new(stream)).get("/a").expect(200, "x");
}

#[test]
fn a_client_of_another_protocol_only_is_refused() {
    let (_origin, node) = world();
    assert!(tls::dial(node.tls_addr(), HOST, &["imap"]).is_err());
    node.tls_client().get("/a").expect(200, "x");
}

#[test]
fn a_host_outside_the_certificate_is_421() {
    let origin = Origin::start(|_| reply::fresh(60, "x"));
    let node = Node::with_certificate(&origin, &[HOST, "*.wild.test"]);
    let mut client = node.tls_client();
    client.send("GET /a HTTP/1.1\r\nHost: other.example\r\n\r\n");
    assert_eq!(client.answer().status, 421);
    let mut client = node.tls_client();
    client.send("GET /a HTTP/1.1\r\nHost: a.b.wild.test\r\n\r\n");
    assert_eq!(client.answer().status, 421);
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_session_is_resumed() {
    let (_origin, node) = world();
    let config = Arc::new(tls::config(&["http/1.1"], &[&rustls::version::TLS13]));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let dialled = tls::dial_with(node.tls_addr(), HOST, Arc::clone(&config));
        let (tcp, mut stream) = dialled.expect("a handshake");
        stream.write_all(request("GET", "/a", "Connection: close\r\n").as_bytes()).expect("sent");
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
        kinds.push(stream.conn.handshake_kind());
        drop(tcp);
    }
    assert_eq!(kinds[1], Some(rustls::HandshakeKind::Resumed), "{kinds:?}");
}

#[test]
fn plain_http_on_the_tls_port_is_not_served() {
    let (origin, node) = world();
    let mut client = Client::connect(node.tls_addr());
    client.send(request("GET", "/a", ""));
    let said = client.drain();
    assert!(!String::from_utf8_lossy(&said).contains("200 OK"));
    assert_eq!(origin.count(), 0);
}

#[test]
fn noise_and_half_handshakes_harm_nobody() {
    let (_origin, node) = world();
    let mut idle: Vec<_> = (0..50).map(|_| connect(node.tls_addr())).collect();
    for (n, stream) in idle.iter_mut().enumerate() {
        let _ = stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, n as u8]);
    }
    node.tls_client().get("/a").expect(200, "x");
}

#[test]
fn a_body_over_tls_that_is_cut_has_no_clean_end() {
    let origin = Origin::start(|_| {
        reply("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\ncut").cut()
    });
    let node = Node::before(&origin);
    let answer = node.tls_client().get("/a");
    assert!(answer.status == 502 || answer.ended == Ended::Cut, "{answer:?}");
}
