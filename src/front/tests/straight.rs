//! Answers that are ready: in order with hyper's, whole, and told about once.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::*;

/// An answer at hand, `/ready/LENGTH/NAME`, or one that comes bit by bit, `/coming/...`; of
/// `/cut/...` only the first half comes.
pub(super) struct AtHand {
    body: Vec<Bytes>,
    coming: VecDeque<Bytes>,
    cut: bool,
    waited: bool,
}

impl Ready for AtHand {
    fn body(&self) -> &[Bytes] {
        &self.body
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        self.waited = !self.waited;
        if self.waited && !self.coming.is_empty() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.coming.pop_front() {
            None if self.cut => Poll::Ready(Some(Err(Fault::BadGateway("as asked")))),
            part => Poll::Ready(part.map(Ok)),
        }
    }
}

/// What was told of answers, by target.
static TOLD: Mutex<Vec<(String, u64, bool)>> = Mutex::new(Vec::new());

pub(super) fn ready(asked: &Plain<'_>, head: &mut Vec<u8>) -> Option<AtHand> {
    let (way, length) = way_and_length(std::str::from_utf8(asked.target).ok()?)?;
    write!(head, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").unwrap();
    Some(at_hand(way, length))
}

pub(super) fn ready_http2(asked: &http::request::Parts) -> Option<(Response<()>, AtHand)> {
    let (way, length) = way_and_length(asked.uri.path())?;
    let head = Response::builder().header("content-length", length).body(()).unwrap();
    (way == "ready").then(|| (head, at_hand(way, length)))
}

fn way_and_length(target: &str) -> Option<(&str, usize)> {
    assert!(target != "/ready/panic", "as asked");
    let (way, rest) = target.strip_prefix('/')?.split_once('/')?;
    let length = rest.split_once('/')?.0.parse().ok()?;
    ["ready", "coming", "cut"].contains(&way).then_some((way, length))
}

fn at_hand(way: &str, length: usize) -> AtHand {
    let cut = way == "cut";
    let there = if cut { length / 2 } else { length };
    let mut body: Vec<Bytes> =
        vec![b'r'; there].chunks(100_000).map(Bytes::copy_from_slice).collect();
    let coming = if way == "ready" { 0 } else { body.len() };
    let coming = body.split_off(body.len() - coming).into();
    AtHand { body, coming, cut, waited: false }
}

pub(super) fn sent(_: AtHand, asked: &Plain<'_>, (bytes, complete): (u64, bool)) {
    let target = String::from_utf8_lossy(asked.target).into_owned();
    TOLD.lock().unwrap().push((target, bytes, complete));
}

pub(super) fn told(target: &str) -> Vec<(u64, bool)> {
    let told = TOLD.lock().unwrap();
    told.iter().filter(|told| told.0 == target).map(|told| (told.1, told.2)).collect()
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
}

#[test]
fn ready_answers_and_others_alternate_on_one_connection() {
    let (_running, address) = start(plain());
    let mut stream = connect(address);
    for _ in 0..3 {
        for length in [0, 1, 5_000] {
            stream.write_all(get(&format!("/ready/{length}/alternate")).as_bytes()).unwrap();
            let body = answer(&mut stream);
            assert!(body.ends_with(&"r".repeat(length)), "{length}");
            stream.write_all(get("/other").as_bytes()).unwrap();
            assert!(answer(&mut stream).ends_with("GET /other 0"));
        }
    }
    until("told", || told("/ready/5000/alternate").len() == 3);
    assert_eq!(told("/ready/5000/alternate"), [(5_000, true); 3]);
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let (_running, address) = start(plain());
    let mut stream = connect(address);
    let many = get("/one") + &get("/ready/3/ahead") + &get("/two") + &get("/ready/4/ahead");
    stream.write_all(many.as_bytes()).unwrap();
    let answers: Vec<String> = (0..4).map(|_| answer(&mut stream)).collect();
    // Sent together they are hyper's, which does not know `/ready`.
    for (got, wanted) in answers.iter().zip(["/one 0", "/ready/3/ahead 0", "/two 0", "ahead 0"]) {
        assert!(got.ends_with(wanted), "{got}");
    }
}

#[test]
fn a_ready_answer_that_the_client_takes_slowly_is_whole_and_the_next_waits() {
    let (_running, address) = start(plain());
    let mut stream = connect(address);
    let length = 40 << 20;
    let target = format!("/ready/{length}/slowly");
    stream.write_all(get(&target).as_bytes()).unwrap();
    let mut first = [0u8; 64];
    stream.read_exact(&mut first).unwrap();
    stream.write_all(get("/after").as_bytes()).unwrap();
    let end = first.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut rest = vec![0u8; length - (first.len() - end)];
    stream.read_exact(&mut rest).unwrap();
    assert!(rest.iter().all(|byte| *byte == b'r'));
    assert!(answer(&mut stream).ends_with("GET /after 0"));
    assert_eq!(told(&target), [(length as u64, true)]);
}

#[test]
fn a_ready_answer_that_breaks_off_is_told_as_incomplete() {
    let (_running, address) = start(plain());
    let mut stream = connect(address);
    let length = 41 << 20;
    let target = format!("/ready/{length}/breaks");
    stream.write_all(get(&target).as_bytes()).unwrap();
    let mut first = [0u8; 64];
    stream.read_exact(&mut first).unwrap();
    drop(stream);
    until("told", || !told(&target).is_empty());
    let told = told(&target);
    assert!(matches!(told[..], [(bytes, false)] if bytes < length as u64), "{told:?}");
}

#[test]
fn a_ready_answer_that_nobody_takes_is_given_up() {
    let mut options = plain();
    options.deadlines.write_stall = Duration::from_millis(60);
    let (running, address) = start(options);
    let mut stream = connect(address);
    let target = format!("/ready/{}/stalled", 42 << 20);
    stream.write_all(get(&target).as_bytes()).unwrap();
    until("the stall is noticed", || running.stats().write_timeouts == 1);
    until("the connection ends", || running.connections() == 0);
}

#[test]
fn a_panic_over_a_plain_request_costs_nothing() {
    let (_running, address) = start(plain());
    let mut stream = connect(address);
    for _ in 0..2 {
        stream.write_all(get("/ready/panic").as_bytes()).unwrap();
        assert!(answer(&mut stream).ends_with("GET /ready/panic 0"));
    }
}

#[test]
fn a_body_that_comes_bit_by_bit_is_whole_also_for_a_slow_client() {
    let (_running, address) = start(plain());
    let mut stream = connect(address);
    for (length, step) in [(0, 100), (1, 100), (250_000, 999), (30 << 20, 60_000)] {
        let target = format!("/coming/{length}/whole");
        stream.write_all(get(&target).as_bytes()).unwrap();
        let (mut got, mut some) = (Vec::new(), vec![0u8; step]);
        let end = |got: &[u8]| got.windows(4).position(|four| four == b"\r\n\r\n");
        while end(&got[..got.len().min(200)]).is_none_or(|end| got.len() < end + 4 + length) {
            let n = stream.read(&mut some).unwrap();
            assert!(n > 0, "{length}: the end after {}", got.len());
            got.extend_from_slice(&some[..n]);
        }
        let body = &got[end(&got).unwrap() + 4..];
        assert!(body.len() == length && body.iter().all(|byte| *byte == b'r'), "{length}");
        until("told", || told(&target) == [(length as u64, true)]);
    }
    stream.write_all(get("/after").as_bytes()).unwrap();
    assert!(answer(&mut stream).ends_with("GET /after 0"));
}

#[test]
fn a_body_that_breaks_off_ends_the_connection_and_is_told_as_incomplete() {
    let (running, address) = start(plain());
    let mut stream = connect(address);
    let target = "/cut/600000/short";
    stream.write_all(get(target).as_bytes()).unwrap();
    let mut got = Vec::new();
    // A close or a reset: in any case not all of it.
    let _ = stream.read_to_end(&mut got);
    assert!(got.len() < 400_000, "{}", got.len());
    until("told", || told(target).iter().any(|told| !told.1));
    until("the connection ends", || running.connections() == 0);
}
