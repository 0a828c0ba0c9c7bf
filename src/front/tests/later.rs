//! Plain requests that wait for their answer: in order with all others, whole, or cut.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

use super::*;

/// Pieces that come one by one, each after a turn of the runtime.
struct Dripping {
    pieces: Vec<Bytes>,
    /// The length it says it has.
    says: Option<u64>,
    waited: bool,
}

impl Body for Dripping {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.waited = !self.waited;
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = (!self.pieces.is_empty()).then(|| self.pieces.remove(0));
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        self.says.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn dripping(says: Option<u64>, pieces: &[&'static str]) -> EchoBody {
    let pieces = pieces.iter().map(|piece| Bytes::from(*piece)).collect();
    Dripping { pieces, says, waited: false }.boxed_unsync()
}

/// Answers `/later/KIND` after a turn of the runtime; other targets are not taken.
pub(super) fn plain(head: &request::Parts, conn: &Arc<Connection>) -> Option<Answering<EchoBody>> {
    let kind = head.uri.path().strip_prefix("/later/")?.to_owned();
    let (conn, fields) = (conn.clone(), head.headers.len());
    Some(Box::pin(async move {
        tokio::task::yield_now().await;
        let (length, body) = match kind.as_str() {
            "panic" => panic!("as asked"),
            "hints" => {
                let mut hints = http::HeaderMap::new();
                hints.insert("link", "</a>".parse().unwrap());
                conn.interim.send(StatusCode::EARLY_HINTS, &hints);
                (Some(2), dripping(Some(2), &["ok"]))
            }
            "fields" => (Some(1), text(StatusCode::OK, fields.to_string()).into_body()),
            "long" => (Some(300_000), text(StatusCode::OK, vec![b'l'; 300_000]).into_body()),
            "dripping" => (Some(6), dripping(Some(6), &["dri", "p", "", "s!"])),
            "short" => (Some(6), dripping(Some(6), &["dri"])),
            "excess" => (Some(3), dripping(Some(3), &["dri", "p"])),
            "excess-at-once" => (Some(3), dripping(Some(3), &["drip"])),
            _ => (None, dripping(None, &["chu", "nked"])),
        };
        let mut response = Response::new(body);
        response.headers_mut().insert("date", "Thu, 01 Jan 2026 00:00:00 GMT".parse().unwrap());
        if let Some(length) = length {
            response.headers_mut().insert("content-length", http::HeaderValue::from(length));
        }
        response
    }))
}

fn get(kind: &str) -> String {
    format!("GET /later/{kind} HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n")
}

#[test]
fn answers_that_were_waited_for_alternate_with_all_others() {
    let (_running, address) = start(super::plain());
    let mut stream = connect(address);
    for round in 0..3 {
        for (kind, body) in [("fields", "2"), ("dripping", "drips!")] {
            stream.write_all(get(kind).as_bytes()).unwrap();
            let answer = answer(&mut stream);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.ends_with(body), "{answer}");
        }
        stream.write_all(get("long").as_bytes()).unwrap();
        assert!(answer(&mut stream).ends_with(&"l".repeat(300_000)));
        let other = format!("GET /ready/{round}/x HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(other.as_bytes()).unwrap();
        assert!(answer(&mut stream).ends_with(&"r".repeat(round)));
    }
}

#[test]
fn what_has_no_length_is_written_by_hyper_and_asked_for_once() {
    let (_running, address) = start(super::plain());
    let mut stream = connect(address);
    stream.write_all(get("chunked").as_bytes()).unwrap();
    let (mut all, mut byte) = (Vec::new(), [0u8; 1]);
    while !all.ends_with(b"\r\n0\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        all.extend_from_slice(&byte);
    }
    let all = String::from_utf8(all).unwrap();
    assert!(all.contains("transfer-encoding: chunked\r\n"), "{all}");
    assert!(all.ends_with("\r\n3\r\nchu\r\n4\r\nnked\r\n0\r\n\r\n"), "{all}");
    stream.write_all(b"GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    assert!(rest(stream).ends_with("GET /end 0"));
}

#[test]
fn hints_come_before_the_answer_they_belong_to() {
    let (_running, address) = start(super::plain());
    let mut stream = connect(address);
    for _ in 0..2 {
        stream.write_all(get("hints").as_bytes()).unwrap();
        assert!(answer(&mut stream).starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a>"));
        assert!(answer(&mut stream).ends_with("ok"));
    }
}

#[test]
fn a_body_that_is_not_as_long_as_announced_ends_the_connection() {
    for kind in ["short", "excess-at-once"] {
        let (_running, address) = start(super::plain());
        let all = ask(address, get(kind).as_bytes());
        let body = all.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(body.len() < 6 && !body.contains("drip"), "{kind}: {all}");
    }
    let (_running, address) = start(super::plain());
    let mut stream = connect(address);
    stream.write_all(get("excess").as_bytes()).unwrap();
    assert!(answer(&mut stream).ends_with("dri"), "what was announced is whole");
}

#[test]
fn a_panic_costs_its_own_exchange_an_answer_and_nothing_else() {
    let (_running, address) = start(super::plain());
    let all = ask(address, get("panic").as_bytes());
    assert!(all.starts_with("HTTP/1.1 500"), "{all}");
    assert!(all.contains("connection: close"), "{all}");
    let mut stream = connect(address);
    stream.write_all(get("fields").as_bytes()).unwrap();
    assert!(answer(&mut stream).ends_with('2'));
}
