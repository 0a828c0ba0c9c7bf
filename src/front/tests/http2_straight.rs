//! Answers that are ready, over HTTP/2: whole, told about once, and let go if nobody takes them.

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::http2::{frame, get_path, hello, shut};
use super::straight::told;
use super::*;

type Send = SendRequest<Full<Bytes>>;

/// Runs `script` with a client whose streams have a window of `window` bytes.
fn with_client(address: SocketAddr, window: u32, script: impl AsyncFnOnce(Send)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (send, driver) = builder.handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(driver);
        script(send).await;
    });
}

async fn ask(send: &mut Send, method: &str, path: &str, body: &'static str) -> Bytes {
    let request = Request::builder().method(method).uri(format!("http://a{path}"));
    let answer = send.send_request(request.body(Full::from(body)).unwrap()).await.unwrap();
    answer.into_body().collect().await.unwrap().to_bytes()
}

#[test]
fn ready_answers_and_others_alternate_on_one_connection() {
    let (_running, address) = start(plain());
    with_client(address, 1 << 20, async |mut send: Send| {
        for _ in 0..3 {
            for length in [0, 1, 5_000, 300_000] {
                let path = format!("/ready/{length}/alternate-2");
                assert_eq!(ask(&mut send, "GET", &path, "").await, vec![b'r'; length]);
                assert_eq!(ask(&mut send, "GET", "/other", "").await, "GET http://a/other 0");
            }
        }
    });
    for length in [0, 1, 5_000, 300_000] {
        assert_eq!(told(&format!("/ready/{length}/alternate-2")), [(length, true); 3]);
    }
}

#[test]
fn only_a_get_that_is_over_with_its_head_is_answered_at_once() {
    let (_running, address) = start(plain());
    with_client(address, 1 << 20, async |mut send: Send| {
        let path = "/ready/1/long-way";
        assert_eq!(ask(&mut send, "POST", path, "").await, format!("POST http://a{path} 0"));
        assert_eq!(ask(&mut send, "GET", path, "body").await, format!("GET http://a{path} 4"));
    });
    assert_eq!(told("/ready/1/long-way"), []);
}

#[test]
fn a_ready_answer_larger_than_the_window_is_whole_and_others_go_on() {
    let (_running, address) = start(plain());
    with_client(address, 10_000, async |mut send: Send| {
        let request = Request::get("http://a/ready/3000000/windows").body(Full::default());
        let slow = send.send_request(request.unwrap()).await.unwrap();
        assert_eq!(ask(&mut send, "GET", "/ready/7/windows", "").await, "rrrrrrr");
        let body = slow.into_body().collect().await.unwrap().to_bytes();
        assert!(body.len() == 3_000_000 && body.iter().all(|byte| *byte == b'r'));
    });
    until("told", || !told("/ready/3000000/windows").is_empty());
    assert_eq!(told("/ready/3000000/windows"), [(3_000_000, true)]);
}

#[test]
fn a_ready_answer_that_the_client_resets_is_told_as_incomplete() {
    let (_running, address) = start(plain());
    let mut stream = hello(address);
    let target = "/ready/4000000/reset";
    stream.write_all(&get_path(1, target)).unwrap();
    let mut some = [0u8; 20_000];
    stream.read_exact(&mut some).unwrap();
    stream.write_all(&frame(3, 0, 1, &[0, 0, 0, 8])).unwrap();
    until("told", || !told(target).is_empty());
    assert!(matches!(told(target)[..], [(..=65_535, false)]), "{:?}", told(target));
}

#[test]
fn a_ready_answer_whose_window_stays_shut_is_let_go() {
    let mut options = plain();
    options.deadlines.write_stall = Duration::from_millis(60);
    let (running, address) = start(options);
    let mut stream = shut(address);
    let target = "/ready/10/shut";
    stream.write_all(&get_path(1, target)).unwrap();
    until("the stall is noticed", || running.stats().http2_stalls == 1);
    until("told", || told(target) == [(0, false)]);
}

#[test]
fn a_panic_over_a_ready_answer_costs_nothing() {
    let (running, address) = start(plain());
    with_client(address, 1 << 20, async |mut send: Send| {
        for _ in 0..2 {
            let answer = ask(&mut send, "GET", "/ready/panic", "").await;
            assert_eq!(answer, "GET http://a/ready/panic 0");
        }
    });
    assert_eq!(running.stats().panics, 2);
}
