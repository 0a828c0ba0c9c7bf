//! Origins that stop, stall and break.

use http::Method;
use http_body_util::BodyExt;

use super::*;
use crate::origin::BoxError;
use crate::rules::fault::Fault;

#[tokio::test]
async fn a_refused_connection_is_a_bad_gateway() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let group = Group::new(GroupOptions::single("x", &format!("http://{address}")).unwrap());
    let fault = fetch(&group.unwrap(), "/").await.unwrap_err();
    assert!(matches!(fault, OriginFault::Connect(_)));
    assert!(matches!(fault.fault(), Fault::BadGateway(_)));
}

#[tokio::test]
async fn a_reset_before_the_answer_is_a_bad_gateway() {
    let script = Script::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    let fault = fetch(&script.group(), "/").await.unwrap_err();
    assert!(matches!(fault, OriginFault::Broken(_)), "{fault:?}");
    assert_eq!(script.count(), 1, "a fresh connection that breaks is not the reuse race");
}

#[tokio::test]
async fn half_a_head_is_a_bad_gateway() {
    let script = Script::closing("HTTP/1.1 200 OK\r\nContent-Le").await;
    let fault = fetch(&script.group(), "/").await.unwrap_err();
    assert!(matches!(fault.fault(), Fault::BadGateway(_)), "{fault:?}");
}

#[tokio::test]
async fn silence_is_a_gateway_timeout_and_the_connection_is_closed() {
    let (closed, seen) = tokio::sync::oneshot::channel();
    let closed = std::sync::Mutex::new(Some(closed));
    let script = Script::start(move |_, mut stream| {
        let closed = closed.lock().unwrap().take();
        async move {
            read_head(&mut stream).await;
            let _ = stream.read(&mut [0; 16]).await;
            if let Some(closed) = closed {
                let _ = closed.send(());
            }
        }
    })
    .await;
    let mut options = script.options();
    options.timeouts.first_byte = Duration::from_millis(50);
    let group = Group::new(options).unwrap();
    let fault = fetch(&group, "/").await.unwrap_err();
    assert_eq!(fault, OriginFault::FirstByteTimeout);
    assert!(matches!(fault.fault(), Fault::GatewayTimeout(_)));
    seen.await.unwrap();
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_at_its_own_deadline() {
    let script = Script::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"X: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let mut options = script.options();
    options.timeouts.first_byte = Duration::from_millis(100);
    options.timeouts.head = Duration::from_millis(200);
    let group = Group::new(options).unwrap();
    assert_eq!(fetch(&group, "/").await, Err(OriginFault::HeadTimeout));
}

#[tokio::test]
async fn a_body_that_stands_still_fails_and_does_not_end() {
    let script = Script::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
        let _ = stream.read(&mut [0; 16]).await;
    })
    .await;
    let mut options = script.options();
    options.timeouts.between_bytes = Duration::from_millis(50);
    let group = Group::new(options).unwrap();
    assert_eq!(fetch(&group, "/").await, Err(OriginFault::BodyTimeout));
}

#[tokio::test]
async fn a_body_shorter_than_its_length_is_an_error_and_never_a_clean_end() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let script = Script::closing(answer).await;
        let answer = get(&script.group(), "/").await.unwrap();
        let end = answer.response.into_body().collect().await;
        assert_eq!(end.err(), Some(OriginFault::Truncated));
    }
}

#[tokio::test]
async fn a_bad_chunk_in_the_middle_is_an_error_of_the_body() {
    let script = Script::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        stream.write_all(head).await.unwrap();
        let mut ready = [0; 1];
        let _ = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut ready)).await;
        let _ = stream.write_all(b"zz\r\nhello\r\n0\r\n\r\n").await;
        let _ = stream.read(&mut ready).await;
    })
    .await;
    let answer = get(&script.group(), "/").await.unwrap();
    let mut body = answer.response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
    let fault = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(fault, OriginFault::Odd(_) | OriginFault::Truncated), "{fault:?}");
}

#[tokio::test]
async fn a_request_body_that_fails_breaks_the_request_off() {
    let (told, seen) = tokio::sync::oneshot::channel();
    let told = std::sync::Mutex::new(Some(told));
    let script = Script::start(move |_, mut stream| {
        let told = told.lock().unwrap().take();
        async move {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all).await;
            if let Some(told) = told {
                let _ = told.send(all);
            }
        }
    })
    .await;
    let (tx, rx) = tokio::sync::mpsc::channel::<Result<http_body::Frame<Bytes>, BoxError>>(1);
    let mut post = request(Method::POST, "/");
    *post.body_mut() = Outgoing::stream(Pieces(rx));
    let group = script.group();
    tx.send(Ok(http_body::Frame::data(Bytes::from("hello")))).await.unwrap();
    let sending = tokio::spawn(async move { group.send(post, &SendContext::default()).await });
    tx.send(Err("the client went away".into())).await.unwrap();
    assert_eq!(sending.await.unwrap().unwrap_err(), OriginFault::ClientBody);
    let bytes = seen.await.unwrap();
    assert!(!bytes.ends_with(b"0\r\n\r\n"), "no last chunk after a failed body");
    assert_eq!(script.count(), 1, "and it is not tried again");
}

/// A client's body that the test sends by hand.
struct Pieces(tokio::sync::mpsc::Receiver<Result<http_body::Frame<Bytes>, BoxError>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}

#[tokio::test]
async fn an_early_answer_to_an_unfinished_request_closes_the_connection() {
    let script = Script::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno";
        let _ = stream.write_all(answer).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    let group = script.group();
    for round in 1..=2 {
        let (tx, rx) = tokio::sync::mpsc::channel(1);
        let mut post = request(Method::POST, "/");
        *post.body_mut() = Outgoing::stream(Pieces(rx));
        tx.send(Ok(http_body::Frame::data(Bytes::from("part")))).await.unwrap();
        let answer = group.send(post, &SendContext::default()).await.unwrap();
        assert_eq!(answer.response.status(), 413);
        assert_eq!(answer.response.into_body().collect().await.unwrap().to_bytes(), "no");
        assert_eq!(script.count(), round, "a request not sent whole spoils its connection");
        drop(tx);
    }
}
