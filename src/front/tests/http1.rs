//! HTTP/1 connections end to end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use super::*;
use crate::front::http1::flushed;
use crate::front::pulse::{Phase, Pulse, Verdict};

const GET: &[u8] = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn answers_keep_the_order_of_pipelined_requests_and_a_bad_one_ends_the_connection() {
    let (running, address) = start(plain());
    let all = ask(
        address,
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
          POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\
          GET /3 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let (one, two) = (all.find("GET /1 0").unwrap(), all.find("POST /2 2").unwrap());
    let refused = all.find("HTTP/1.1 400").unwrap();
    assert!(one < two && two < refused, "{all}");
    assert!(all[refused..].contains("connection: close"), "{all}");
    assert!(all.ends_with("more than one Host"), "{all}");
    assert_eq!(running.stats().refused, 1);
    // The next connection is not affected.
    assert!(ask(address, b"GET /5 HTTP/1.0\r\n\r\n").contains("GET /5 0"));
    running.drain(Duration::from_secs(5));
}

#[test]
fn a_request_is_the_same_however_it_arrives() {
    let (running, address) = start(plain());
    let request = b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5;x=y\r\nhello\r\n0\r\n\r\n";
    let mut stream = connect(address);
    stream.set_nodelay(true).unwrap();
    for byte in request {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(answer(&mut stream).ends_with("POST /p 5"));
    for cut in 1..request.len() {
        stream.write_all(&request[..cut]).unwrap();
        std::thread::yield_now();
        stream.write_all(&request[cut..]).unwrap();
        assert!(answer(&mut stream).ends_with("POST /p 5"), "cut at {cut}");
    }
    running.drain(Duration::from_secs(5));
}

#[test]
fn a_broken_chunk_fails_the_body_and_closes() {
    let (running, address) = start(plain());
    let head = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["5\r\nhello\r\nzz\r\n", "5\r\nhelloo\r\n0\r\n\r\n"] {
        let all =
            ask(address, format!("{head}{body}GET /n HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert!(all.starts_with("HTTP/1.1 400"), "{all}");
        assert!(!all.contains("GET /n"), "{all}");
    }
    running.drain(Duration::from_secs(5));
}

#[test]
fn an_unread_body_never_becomes_a_request() {
    let (running, address) = start(plain());
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let request = format!(
        "POST /ignore-body HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inner}{}",
        inner.len() + 200_000,
        "x".repeat(200_000)
    );
    let all = ask(address, request.as_bytes());
    assert!(all.starts_with("HTTP/1.1 200"), "{all}");
    assert!(!all.contains("smuggled"), "{all}");
    running.drain(Duration::from_secs(5));
}

#[test]
fn a_client_that_half_closes_gets_its_answer() {
    let (running, address) = start(plain());
    let mut stream = connect(address);
    stream.write_all(GET).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(rest(stream).ends_with("GET /x 0"));
    running.drain(Duration::from_secs(5));
}

#[test]
fn a_panicking_handler_costs_one_answer() {
    let (running, address) = start(plain());
    let all = ask(address, b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(all.starts_with("HTTP/1.1 500"), "{all}");
    assert!(ask(address, b"GET /x HTTP/1.0\r\n\r\n").ends_with("GET /x 0"));
    assert_eq!(running.stats().panics, 1);
    running.drain(Duration::from_secs(5));
}

#[test]
fn a_granted_upgrade_becomes_a_tunnel_and_an_ignored_one_goes_on_with_http() {
    let (running, address) = start(plain());
    let mut stream = connect(address);
    let ask_h2c = b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                    Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    stream.write_all(&[&ask_h2c[..], GET].concat()).unwrap();
    assert!(answer(&mut stream).ends_with("no upgrade asked"));
    assert!(answer(&mut stream).ends_with("GET /x 0"));
    let ask_ws =
        b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    stream.write_all(&[&ask_ws[..], b"early "].concat()).unwrap();
    assert!(answer(&mut stream).starts_with("HTTP/1.1 101"));
    stream.write_all(b"bytes").unwrap();
    let mut echoed = [0u8; 11];
    stream.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"EARLY BYTES");
    drop(stream);
    running.drain(Duration::from_secs(5));
}

#[test]
fn a_drain_lets_an_idle_connection_ask_once_more_and_accepts_nobody() {
    let (mut running, address) = start(plain());
    let mut stream = connect(address);
    stream.write_all(GET).unwrap();
    assert!(!answer(&mut stream).contains("connection: close"));
    running.stop();
    until("the listener closes", || TcpStream::connect(address).is_err());
    stream.write_all(GET).unwrap();
    assert!(answer(&mut stream).contains("connection: close"));
    assert_eq!(rest(stream), "");
    assert_eq!(running.drain(Duration::from_secs(10)), 0);
}

#[test]
fn a_handed_over_socket_keeps_serving() {
    let (running, address) = start(plain());
    let sockets = running.sockets().unwrap();
    let next = Front::bind(plain(), sockets).unwrap();
    assert_eq!(next.addresses()[0].1, address);
    let next = next.serve(None, |_| Echo).unwrap();
    running.drain(Duration::from_secs(5));
    assert!(ask(address, b"GET /x HTTP/1.0\r\n\r\n").ends_with("GET /x 0"));
    next.drain(Duration::from_secs(5));
}

#[test]
fn a_port_in_use_is_an_error_and_not_shared() {
    let (running, address) = start(plain());
    let mut options = plain();
    options.listeners[0].address = address;
    assert!(matches!(Front::bind(options, Vec::new()), Err(FrontError::Bind { .. })));
    running.drain(Duration::from_secs(5));
}

/// Over TLS the rest of an answer waits below the writes; the client takes it late, but does.
#[test]
fn a_client_that_took_all_is_not_blamed_for_what_comes_later() {
    let now = Arc::new(AtomicU64::new(1));
    let (pulse, limits) = (Pulse::new(now.clone(), false), Deadlines::default());
    let stall = limits.write_stall.as_millis() as u64;
    let judged = || pulse.judge(&limits, &Stats::default());
    pulse.enter(Phase::Busy);
    flushed(&pulse, &Poll::Pending);
    now.fetch_add(stall / 2, Ordering::Relaxed);
    flushed(&pulse, &Poll::Ready(Ok(())));
    now.fetch_add(stall, Ordering::Relaxed);
    assert_eq!(judged(), Verdict::Fine);
    flushed(&pulse, &Poll::Pending);
    now.fetch_add(stall + 1, Ordering::Relaxed);
    assert_eq!(judged(), Verdict::Abort);
}
