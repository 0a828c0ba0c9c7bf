//! What must hold of the readers of HTTP/1 byte streams, whatever the bytes: requests of
//! clients and answers of origins. No cut changes the outcome, and hyper, which is more
//! lenient than they are, reads whatever they take as the same messages. Shared by the fuzz
//! targets and by the ordinary test that replays the corpus.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use brink::front::Limits;
use brink::front::guard::{HeadLimits, Then, replay};
use brink::front::http2_block;
use brink::origin::answer::Reader;
use brink::origin::framing::{Expect, Framing};
use brink::origin::{self, Replayed};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWrite, DuplexStream};

/// Every property by the name of its fuzz target and corpus directory.
pub const ALL: [(&str, fn(&[u8])); 4] =
    [("guard", guard), ("answer", answer), ("bare", bare), ("block", block)];

/// No cut changes the verdict, what passes is what came, and hyper finds as many requests in
/// it. The first byte of an input is the size of the pieces.
pub fn guard(input: &[u8]) {
    let Some((piece, bytes)) = input.split_first() else { return };
    let cuts = vec![usize::from(*piece); bytes.len()];
    let small = HeadLimits { head: 120, target: 20, fields: 4, overhead: 8, body: 100 };
    for limits in [HeadLimits::from(&Limits::default()), small] {
        let whole = replay(bytes, &[], limits);
        let pieces = replay(bytes, &cuts, limits);
        assert_eq!((whole.heads, whole.last), (pieces.heads, pieces.last));
        // Of a body that breaks more may have passed: the request is broken off anyway.
        let broken = matches!(whole.last, Then::Break(_));
        assert!(broken || whole.passed == pieces.passed);
        assert!(bytes.starts_with(&whole.passed) && bytes.starts_with(&pieces.passed));
        let upgrades = whole.last == Then::Hold;
        let (served, last) = served_by_hyper(&whole.passed);
        assert!(served <= whole.heads, "hyper sees {served} of {}", whole.heads);
        assert!(last || upgrades || served == whole.heads, "{served} of {}", whole.heads);
    }
}

/// How many requests hyper's server reads, and whether it stops before the end of the bytes
/// by right: because a request was the last of its connection.
fn served_by_hyper(bytes: &[u8]) -> (u32, bool) {
    let (near, far) = tokio::io::duplex(bytes.len() + (1 << 20));
    let seen = Arc::new(Mutex::new((0, false)));
    let notes = seen.clone();
    let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
        let notes = notes.clone();
        async move {
            let fields = request.headers().get_all(header::CONNECTION);
            let says = |word: &str| {
                let mut words = fields.iter().flat_map(|v| v.as_bytes().split(|b| *b == b','));
                words.any(|it| it.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
            };
            let last = says("close") || request.version() == Version::HTTP_10;
            {
                let mut notes = notes.lock().unwrap();
                *notes = (notes.0 + 1, notes.1 || last);
            }
            // A body that never ends is not waited for.
            let _ = request.into_body().collect().await;
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.half_close(true).max_headers(200).header_read_timeout(None);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(near), answer));
    let mut cx = Context::from_waker(Waker::noop());
    let mut client = far;
    send_all(&mut client, bytes);
    for _ in 0..2 * bytes.len() + 16 {
        if serving.as_mut().poll(&mut cx).is_ready() {
            break;
        }
    }
    let seen = seen.lock().unwrap();
    *seen
}

/// Everything at once, and then the end.
fn send_all(stream: &mut DuplexStream, bytes: &[u8]) {
    let mut cx = Context::from_waker(Waker::noop());
    if !bytes.is_empty() {
        let Poll::Ready(Ok(sent)) = Pin::new(&mut *stream).poll_write(&mut cx, bytes) else {
            return;
        };
        assert_eq!(sent, bytes.len());
    }
    assert!(Pin::new(stream).poll_shutdown(&mut cx).is_ready());
}

/// No split changes what an answer is or where it ends, and its last byte ends it. The
/// first byte of the input says what was asked and how long the pieces are.
pub fn answer(input: &[u8]) {
    let Some((&how, bytes)) = input.split_first() else { return };
    let expect = Expect { head: how & 1 != 0, upgrade: how & 2 != 0 };
    let read = |bytes: &[u8], piece: usize| -> Option<(usize, bool, Framing)> {
        let mut reader = Reader::default();
        reader.begin(expect);
        let mut used = 0;
        for piece in bytes.chunks(piece) {
            used += reader.feed(piece).ok()?;
        }
        Some((used, reader.is_idle(), reader.framing()))
    };
    let whole = read(bytes, bytes.len().max(1));
    for piece in [1, 2, usize::from(how >> 2) + 1] {
        assert_eq!(whole, read(bytes, piece), "pieces of {piece}");
    }
    if let Some((used, true, framing)) = whole {
        let cut = read(&bytes[..used - 1], used).expect("a part of it is no worse");
        assert!(!cut.1, "it ended before its end");
        let next = [&bytes[..used], b"HTTP/1.1 200 OK\r\n\r\n"].concat();
        assert_eq!(read(&next, next.len()), Some((used, true, framing)));
    }
}

/// No cut changes what the client of our own makes of an answer, and what it takes hyper's
/// client takes for the same. The first byte says what was asked and how long the pieces are.
pub fn bare(input: &[u8]) {
    let Some((&how, bytes)) = input.split_first() else { return };
    let head = how & 1 != 0;
    let whole = origin::replay(bytes, bytes.len(), head);
    for piece in [1, 2, usize::from(how >> 1) + 1] {
        let pieces = origin::replay(bytes, piece, head);
        // Whether another byte follows may be known only later.
        assert_eq!(content(&whole), content(&pieces), "pieces of {piece}");
    }
    let Ok(ours) = whole else { return };
    let theirs = asked_by_hyper(bytes, head);
    assert_eq!(Some(parts(&ours)), theirs.as_ref().map(parts));
}

type Parts<'a> = (u16, &'a HeaderMap, &'a [u8], &'a HeaderMap);

fn parts(answer: &Replayed) -> Parts<'_> {
    (answer.status.as_u16(), &answer.headers, &answer.body, &answer.trailers)
}

fn content<E>(answer: &Result<Replayed, E>) -> Option<Parts<'_>> {
    answer.as_ref().ok().map(parts)
}

/// What hyper's client makes of the same bytes.
fn asked_by_hyper(bytes: &[u8], head: bool) -> Option<Replayed> {
    let (near, mut far) = tokio::io::duplex(bytes.len() + (1 << 10));
    let mut cx = Context::from_waker(Waker::noop());
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_headers(200).max_buf_size(1 << 20);
    let opened = pin!(builder.handshake::<_, Empty<Bytes>>(TokioIo::new(near))).poll(&mut cx);
    let Poll::Ready(Ok((mut sender, driver))) = opened else { return None };
    let mut driver = pin!(driver);
    let mut request = Request::new(Empty::new());
    *request.method_mut() = if head { Method::HEAD } else { Method::GET };
    let mut asking = pin!(async move {
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let whole = body.collect().await.ok()?;
        let trailers = whole.trailers().cloned().unwrap_or_default();
        let body = whole.to_bytes().to_vec();
        Some(Replayed { status: head.status, headers: head.headers, body, trailers, keeps: true })
    });
    let mut ended = false;
    for round in 0..4 * bytes.len() + 16 {
        if let Poll::Ready(answer) = asking.as_mut().poll(&mut cx) {
            return answer;
        }
        ended = ended || driver.as_mut().poll(&mut cx).is_ready();
        if round == 0 {
            send_all(&mut far, bytes);
        }
    }
    None
}

/// No cut into reads or frames changes what is odd about a header block, and a literal `:path`
/// is odd exactly if it does not begin like one or has a `#`.
pub fn block(input: &[u8]) {
    let Some((&how, bytes)) = input.split_first() else { return };
    let trailers = how & 1 != 0;
    let judge = |bytes: &[u8], piece, frames| http2_block::replay(bytes, trailers, piece, frames);
    let whole = judge(bytes, bytes.len(), false);
    for piece in [1, 2, usize::from(how >> 1) + 1] {
        for frames in [false, true] {
            assert_eq!(whole, judge(bytes, piece, frames), "pieces of {piece}, {frames}");
        }
    }
    let path = &bytes[..bytes.len().min(100)];
    let literal = [&[4, path.len() as u8], path].concat();
    let odd = judge(&literal, literal.len(), false).is_some();
    let begins = matches!(path.first(), Some(b'/' | b'*'));
    assert_eq!(odd, trailers || !begins || path.contains(&b'#'));
}
