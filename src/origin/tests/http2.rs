//! HTTP/2 servers that break its rules, say goodbye, or break off: no answer is taken that
//! is not one, and no connection carries another exchange after an odd one.

use super::*;
use crate::origin::{Http2, ServerOptions};

const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const DATA: u8 = 0;
const RESET: u8 = 3;
const GOAWAY: u8 = 7;
const PUSH: u8 = 5;
/// END_STREAM and END_HEADERS.
const END: u8 = 1;
const WHOLE: u8 = 4;
/// `:status: 200` in the static table (RFC 7541 A).
const OK: &[u8] = b"\x88";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A field, literal and new.
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0, name.len() as u8];
    out.extend_from_slice(name.as_bytes());
    out.push(value.len() as u8);
    out.extend_from_slice(value.as_bytes());
    out
}

fn good(stream: u32) -> Vec<u8> {
    [frame(HEADERS, WHOLE, stream, OK), frame(DATA, END, stream, b"good")].concat()
}

/// Reads until the next request's head; its stream, or `None` at the end.
async fn next_request(stream: &mut TcpStream) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.ok()?;
        if head[3] == HEADERS {
            return Some(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        }
    }
}

/// The first request on the first connection is answered by `bad`, all others well.
async fn server(bad: impl Fn(u32) -> Vec<u8> + Clone + Send + Sync + 'static) -> Script {
    Script::start(move |number, mut stream| {
        let bad = bad.clone();
        async move {
            let mut preface = [0; 24];
            if stream.read_exact(&mut preface).await.is_err() {
                return;
            }
            assert_eq!(&preface[..3], b"PRI");
            stream.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
            let mut first = number == 0;
            while let Some(id) = next_request(&mut stream).await {
                let answer = if first { bad(id) } else { good(id) };
                first = false;
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

fn group(script: &Script) -> Arc<Group> {
    let mut options = script.options();
    options.http2 = Http2::Only;
    options.eject.failures = 0;
    options.timeouts.between_bytes = Duration::from_secs(5);
    Group::new(options).unwrap()
}

#[tokio::test]
async fn a_good_answer_shares_its_connection_with_the_next() {
    let script = server(good).await;
    let group = group(&script);
    for _ in 0..5 {
        assert_eq!(fetch(&group, "/").await, Ok((200, Bytes::from("good"))));
    }
    assert_eq!(script.count(), 1);
}

/// Makes the frames of a bad answer on the stream with this number.
type Bad = fn(u32) -> Vec<u8>;

async fn each_fails_and_costs_its_connection(list: &[(&str, Bad)]) {
    for (what, bad) in list {
        let script = server(*bad).await;
        let group = group(&script);
        let first = fetch(&group, "/").await;
        assert!(first.is_err(), "{what}: {first:?}");
        assert_eq!(fetch(&group, "/").await, Ok((200, Bytes::from("good"))), "{what}");
        assert_eq!(script.count(), 2, "{what}: on a connection of its own");
    }
}

#[tokio::test]
async fn an_odd_answer_is_an_error_and_its_connection_is_not_used_again() {
    let list: [(&str, Bad); 11] = [
        ("garbage", |_| b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake".to_vec()),
        ("a body without a head", |id| frame(DATA, END, id, b"fake")),
        ("a body on stream 0", |_| frame(DATA, END, 0, b"fake")),
        ("a head on a stream nobody opened", |_| frame(HEADERS, WHOLE, 2, OK)),
        ("a push nobody allowed", |id| frame(PUSH, WHOLE, id, b"\0\0\0\x02\x82")),
        ("a head that is no HPACK", |id| frame(HEADERS, WHOLE | END, id, b"\xff\xff\xff\xff\xff")),
        ("no status", |id| frame(HEADERS, WHOLE | END, id, &field("a", "b"))),
        ("a connection-specific field", |id| {
            frame(HEADERS, WHOLE | END, id, &[OK, &field("connection", "close")].concat())
        }),
        ("a name in upper case", |id| {
            frame(HEADERS, WHOLE | END, id, &[OK, &field("X-A", "b")].concat())
        }),
        ("two lengths", |id| {
            let fields = [field("content-length", "4"), field("content-length", "5")].concat();
            let head = frame(HEADERS, WHOLE, id, &[OK, &fields].concat());
            [head, frame(DATA, END, id, b"fake")].concat()
        }),
        ("reset at once", |id| frame(RESET, 0, id, b"\0\0\0\x02")),
    ];
    each_fails_and_costs_its_connection(&list).await;
}

#[tokio::test]
async fn a_body_that_does_not_end_as_announced_is_cut() {
    let list: [(&str, Bad); 3] = [
        ("shorter than its length", |id| {
            let head = [OK, &field("content-length", "10")].concat();
            [frame(HEADERS, WHOLE, id, &head), frame(DATA, END, id, b"short")].concat()
        }),
        ("longer than its length", |id| {
            let head = [OK, &field("content-length", "2")].concat();
            [frame(HEADERS, WHOLE, id, &head), frame(DATA, END, id, b"longer")].concat()
        }),
        ("reset in the middle", |id| {
            let head = [frame(HEADERS, WHOLE, id, OK), frame(DATA, 0, id, b"half")].concat();
            [head, frame(RESET, 0, id, b"\0\0\0\x02")].concat()
        }),
    ];
    each_fails_and_costs_its_connection(&list).await;
}

#[tokio::test]
async fn a_goodbye_moves_what_it_did_not_answer_to_another_connection() {
    let goodbye = |last: u32| frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat());
    // After the first answer: the second request must not notice.
    let script = server(move |id| [good(id), goodbye(id)].concat()).await;
    let polite = group(&script);
    for _ in 0..3 {
        assert_eq!(fetch(&polite, "/").await, Ok((200, Bytes::from("good"))));
    }
    assert_eq!(script.count(), 2);
    // In place of an answer: what was not worked on goes to the next server.
    let (a, b) = (server(move |_| goodbye(0)).await, server(good).await);
    let mut options = a.options();
    options.http2 = Http2::Only;
    options.servers.push(ServerOptions::new(format!("http://{}", b.address).parse().unwrap()));
    let group = Group::new(options).unwrap();
    for _ in 0..4 {
        assert_eq!(fetch(&group, "/").await, Ok((200, Bytes::from("good"))));
    }
}
