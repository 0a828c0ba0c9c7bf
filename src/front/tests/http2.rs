//! HTTP/2 with prior knowledge: hyper's client for good behaviour, raw frames for bad.

use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// `GET http://a/` by static table entries (RFC 7541 A); authority `a` literal.
fn get(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, &[0x82, 0x84, 0x86, 0x01, 1, b'a'])
}

/// `GET http://a{path}`.
pub(super) fn get_path(stream: u32, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, path.len() as u8];
    block.extend(path.as_bytes());
    block.extend([0x01, 1, b'a']);
    frame(1, 5, stream, &block)
}

pub(super) fn hello(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).unwrap();
    stream
}

/// A client that lets nothing be sent on a stream: SETTINGS_INITIAL_WINDOW_SIZE 0.
pub(super) fn shut(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])).unwrap();
    stream
}

/// The error code of the last GOAWAY before the close.
fn goaway(mut stream: TcpStream) -> Option<u32> {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let (mut rest, mut code) = (all.as_slice(), None);
    while rest.len() >= 9 {
        let len = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
        if rest[3] == 7 && rest.len() >= 17 {
            code = Some(u32::from_be_bytes([rest[13], rest[14], rest[15], rest[16]]));
        }
        rest = rest.get(9 + len..).unwrap_or_default();
    }
    code
}

const CALM: Option<u32> = Some(0x0b);

/// Sends `bytes` again and again until the node has had enough.
fn flood(bytes: &[u8]) -> Option<u32> {
    let (running, address) = start(plain());
    let mut stream = hello(address);
    for _ in 0..20_000 {
        if stream.write_all(bytes).is_err() || running.stats().http2_floods > 0 {
            break;
        }
    }
    until("the flood is noticed", || running.stats().http2_floods == 1);
    let code = goaway(stream);
    running.drain(Duration::from_secs(5));
    code
}

#[test]
fn floods_of_cheap_frames_end_the_connection() {
    assert_eq!(flood(&frame(4, 0, 0, &[])), CALM);
    assert_eq!(flood(&frame(6, 0, 0, &[0; 8])), CALM);
    assert_eq!(flood(&frame(2, 0, 1, &[0, 0, 0, 3, 1])), CALM);
    assert_eq!(flood(&frame(0xfa, 0, 0, &[])), CALM);
}

#[test]
fn rapid_resets_end_the_connection() {
    let (running, address) = start(plain());
    let mut stream = hello(address);
    for id in (1u32..8000).step_by(2) {
        let both = [get(id), frame(3, 0, id, &[0, 0, 0, 8])].concat();
        if stream.write_all(&both).is_err() {
            break;
        }
    }
    until("the connection ends", || running.connections() == 0);
    running.drain(Duration::from_secs(5));
}

#[test]
fn endless_continuations_end_the_connection() {
    let (running, address) = start(plain());
    let mut stream = hello(address);
    stream.write_all(&frame(1, 1, 1, &[0x82])).unwrap();
    for _ in 0..20 {
        let _ = stream.write_all(&frame(9, 0, 1, &[0x82]));
    }
    assert!(goaway(stream).is_some());
    running.drain(Duration::from_secs(5));
}

#[test]
fn an_idle_connection_gets_goaway() {
    let mut options = plain();
    options.deadlines.idle = Duration::from_millis(60);
    let (running, address) = start(options);
    let mut stream = hello(address);
    stream.write_all(&get(1)).unwrap();
    assert_eq!(goaway(stream), Some(0));
    assert_eq!(running.stats().idle_timeouts, 1);
    running.drain(Duration::from_secs(5));
}

#[test]
fn a_stream_whose_window_stays_shut_is_reset() {
    let mut options = plain();
    options.deadlines.write_stall = Duration::from_millis(60);
    let (running, address) = start(options);
    let mut stream = shut(address);
    stream.write_all(&get_path(1, "/large")).unwrap();
    until("the stall is noticed", || running.stats().http2_stalls == 1);
    drop(stream);
    until("the connection ends", || running.connections() == 0);
    running.drain(Duration::from_secs(5));
}

#[test]
fn a_window_opened_byte_by_byte_does_not_keep_a_stream() {
    let mut options = plain();
    options.deadlines.write_stall = Duration::from_millis(200);
    options.http2.window_updates_per_minute = u32::MAX;
    let (running, address) = start(options);
    let mut stream = shut(address);
    stream.write_all(&get_path(1, "/large")).unwrap();
    until("the stall is noticed", || {
        let _ = stream.write_all(&frame(8, 0, 1, &[0, 0, 0, 1]));
        running.stats().http2_stalls == 1
    });
    drop(stream);
    until("the connection ends", || running.connections() == 0);
    running.drain(Duration::from_secs(5));
}

#[test]
fn a_request_body_that_does_not_come_ends_the_connection() {
    let mut options = plain();
    options.deadlines.body_idle = Duration::from_millis(60);
    options.deadlines.linger = Duration::from_millis(60);
    let (running, address) = start(options);
    let mut stream = hello(address);
    // POST without END_STREAM, and nothing after it.
    stream.write_all(&frame(1, 4, 1, &[0x83, 0x84, 0x86, 0x01, 1, b'a'])).unwrap();
    assert!(goaway(stream).is_some());
    assert_eq!(running.stats().body_timeouts, 1);
    running.drain(Duration::from_secs(5));
}

#[test]
fn many_streams_are_answered_whole_and_a_drain_says_goaway() {
    let (mut running, address) = start(plain());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut send, conn) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp))
                .await
                .unwrap();
        let driver = tokio::spawn(conn);
        let mut answers = Vec::new();
        for n in 0..50 {
            let path = if n == 49 { "http://a/large".into() } else { format!("http://a/{n}") };
            let body = Full::new(Bytes::from(vec![b'b'; n * 1000]));
            let request = Request::post(path).body(body).unwrap();
            answers.push((n, send.send_request(request)));
        }
        for (n, answer) in answers {
            let body = answer.await.unwrap().into_body().collect().await.unwrap().to_bytes();
            if n == 49 {
                assert_eq!(body.len(), 64 << 20);
            } else {
                assert_eq!(body, format!("POST http://a/{n} {}", n * 1000));
            }
        }
        running.stop();
        driver.await.unwrap().unwrap();
        assert!(send.is_closed());
    });
    assert_eq!(running.drain(Duration::from_secs(5)), 0);
}

#[test]
fn a_head_gets_no_content_whatever_the_handler_gives() {
    let (running, address) = start(plain());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let (send, conn) = h2::client::handshake(tcp).await.unwrap();
        tokio::spawn(conn);
        let head = Request::head("http://a/").body(()).unwrap();
        let (answer, _) = send.ready().await.unwrap().send_request(head, true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers()["content-length"], "16");
        assert!(answer.body().is_end_stream());
    });
    running.drain(Duration::from_secs(5));
}
