//! The request guard: a table of bytes and verdicts, every split, and hyper's opinion.

use proptest::prelude::*;

use crate::front::guard::{Guard, HeadLimits, Then, replay};
use crate::front::options::Limits;
use crate::rules::fault::Fault;

fn limits() -> HeadLimits {
    HeadLimits::from(&Limits::default())
}

fn feed(bytes: &[u8], cuts: &[usize], limits: HeadLimits) -> (Vec<u8>, u32, Then) {
    let replayed = replay(bytes, cuts, limits);
    (replayed.passed, replayed.heads, replayed.last)
}

fn verdict(bytes: &[u8]) -> Then {
    feed(bytes, &[], limits()).2
}

fn bad(then: Then) -> bool {
    matches!(then, Then::Refuse(_) | Then::Break(_))
}

#[test]
fn good_messages_pass_whole() {
    for good in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET http://a.test:80/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost:a\r\n\r\n",
        b"GET /a|b?q={1}&r=[2]^ HTTP/1.1\r\nHost: [::1]:8080\r\nX: \xe9\t\r\nEmpty:\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
          3;ext=\"v\"\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let (passed, _, then) = feed(good, &[], limits());
        assert_eq!(then, Then::Done, "{}", good.escape_ascii());
        assert_eq!(passed, good);
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let host = "GET / HTTP/1.1\r\nHost: a\r\n";
    let heads = [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/@b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET foo HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "BRINK-REFUSED / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    let fields = [
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 1 1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551617\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: a\r\n b\r\n",
        "X\u{e9}: a\r\n",
    ];
    for head in heads {
        assert!(bad(verdict(head.as_bytes())), "{head:?}");
    }
    for field in fields {
        let whole = format!("{host}{field}\r\n");
        assert!(bad(verdict(whole.as_bytes())), "{whole:?}");
    }
}

#[test]
fn each_refusal_has_its_status() {
    let of = |bytes: &str| match verdict(bytes.as_bytes()) {
        Then::Refuse(fault) => fault,
        other => panic!("{other:?}"),
    };
    let long = "a".repeat(9_000);
    assert_eq!(of(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")), Fault::UriTooLong);
    let wide = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(101));
    assert_eq!(of(&wide), Fault::HeadTooLarge);
    let fat = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(40_000));
    assert_eq!(of(&fat), Fault::HeadTooLarge);
    let endless = format!("GET /{}", "y".repeat(40_000));
    assert_eq!(of(&endless), Fault::UriTooLong);
    let expect = "GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n";
    assert_eq!(of(expect), Fault::ExpectationFailed);
    assert_eq!(of("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), Fault::MethodNotAllowed);
}

#[test]
fn a_broken_chunk_breaks_the_body() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let many = |text: &str, n: usize| text.repeat(n);
    let bodies = [
        "3\nabc\r\n0\r\n\r\n".to_owned(),
        "3\r\nabcd\r\n0\r\n\r\n".to_owned(),
        "3\r\nabc\n0\r\n\r\n".to_owned(),
        "+3\r\nabc\r\n0\r\n\r\n".to_owned(),
        "0x3\r\nabc\r\n0\r\n\r\n".to_owned(),
        "3 \r\nabc\r\n0\r\n\r\n".to_owned(),
        " 3\r\nabc\r\n0\r\n\r\n".to_owned(),
        "\r\n0\r\n\r\n".to_owned(),
        "10000000000000003\r\nabc".to_owned(),
        "3;a\nb\r\nabc\r\n0\r\n\r\n".to_owned(),
        "3;a\rb\r\nabc\r\n0\r\n\r\n".to_owned(),
        "0\r\nContent-Length: 3\r\n\r\n".to_owned(),
        "0\r\nX : 3\r\n\r\n".to_owned(),
        "0\r\n X: 3\r\n\r\n".to_owned(),
        "0\r\nX: 3\n\r\n".to_owned(),
        format!("3;{}\r\nabc\r\n0\r\n\r\n", many("e", 17_000)),
        format!("{}0\r\n\r\n", many("1;x\r\na\r\n", 9_000)),
        format!("0\r\n{}\r\n", many("X: y\r\n", 101)),
    ];
    for body in bodies {
        let then = verdict(format!("{head}{body}").as_bytes());
        let shown = body.get(..60.min(body.len())).unwrap_or_default();
        assert!(matches!(then, Then::Break(_)), "{shown:?}: {then:?}");
    }
}

#[test]
fn an_upgrade_stands_alone_and_holds_what_follows() {
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    let mut guard = Guard::new(limits());
    let before = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = [before.as_slice(), upgrade, b"secret"].concat();
    let first = guard.scan(&both);
    assert_eq!((first.pass, first.then, first.upgrade), (before.len(), Then::Alone, false));
    let second = guard.scan(&both[first.pass..]);
    assert_eq!((second.pass, second.then, second.upgrade), (upgrade.len(), Then::Hold, true));
    guard.resume();
    assert!(bad(guard.scan(b"(not http)").then));
}

/// Pieces from which messages, good and bad, are put together.
fn piece() -> impl Strategy<Value = &'static [u8]> {
    prop::sample::select(vec![
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
          5;x\r\nhello\r\n0\r\nT: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b":",
        b"GET ",
        b"/x",
        b" HTTP/1.1\r\n",
        b"Host: b\r\n",
        b"X: y\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"\0",
        b"\xff",
        b"a",
    ])
}

proptest! {
    #[test]
    fn the_verdict_does_not_depend_on_the_cuts(
        pieces in prop::collection::vec(piece(), 1..8),
        cuts in prop::collection::vec(1usize..20, 0..60),
    ) {
        let bytes = pieces.concat();
        let small = HeadLimits { head: 120, target: 20, fields: 4, overhead: 8, body: 100 };
        for limits in [limits(), small] {
            let whole = feed(&bytes, &[], limits);
            prop_assert_eq!(&whole, &feed(&bytes, &cuts, limits));
            let ones = vec![1; bytes.len()];
            prop_assert_eq!(&whole, &feed(&bytes, &ones, limits));
        }
    }

    #[test]
    fn what_passes_is_what_came(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (passed, _, _) = feed(&bytes, &[7, 3, 50], limits());
        prop_assert!(bytes.starts_with(&passed));
    }
}
