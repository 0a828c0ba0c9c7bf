//! Connections: kept, limited, raced and given up.

use http::Method;
use http_body_util::BodyExt;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn requests_one_after_the_other_share_a_connection() {
    let script = Script::constant(OK).await;
    let group = script.group();
    for _ in 0..20 {
        assert_eq!(fetch(&group, "/").await, Ok((200, Bytes::from("ok"))));
    }
    assert_eq!(script.count(), 1);
}

#[tokio::test]
async fn a_body_that_is_dropped_early_closes_its_connection() {
    let script = Script::start(|_, mut stream| async move {
        while !read_head(&mut stream).await.is_empty() {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello";
            let _ = stream.write_all(head).await;
        }
    })
    .await;
    let group = script.group();
    drop(get(&group, "/").await.unwrap());
    drop(get(&group, "/").await.unwrap());
    assert_eq!(script.count(), 2);
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_no_request() {
    // Each connection answers once and closes when the next request is read, which is
    // the race: the request was written before the close was seen.
    let script = Script::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(OK.as_bytes()).await;
        read_head(&mut stream).await;
    })
    .await;
    let group = script.group();
    for _ in 0..5 {
        assert_eq!(fetch(&group, "/").await, Ok((200, Bytes::from("ok"))));
    }
    let post = group.send(request(Method::POST, "/"), &SendContext::default()).await;
    assert!(matches!(post, Err(OriginFault::Broken(_))), "POST is not sent twice: {post:?}");
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_twice_avoids_connections_that_rested_long() {
    // As above: a connection's second request is the one that meets the close.
    let script = Script::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(OK.as_bytes()).await;
        read_head(&mut stream).await;
    })
    .await;
    let mut options = script.options();
    options.pool.rest_once_max = Duration::ZERO;
    let group = Group::new(options).unwrap();
    for _ in 0..3 {
        assert_eq!(fetch(&group, "/").await, Ok((200, Bytes::from("ok"))));
        let post = group.send(request(Method::POST, "/"), &SendContext::default()).await;
        assert!(post.is_ok(), "{post:?}");
    }
}

#[tokio::test]
async fn a_full_server_makes_requests_wait_and_a_full_queue_refuses_them() {
    let script = Script::start(|_, mut stream| async move {
        while !read_head(&mut stream).await.is_empty() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await;
            // The body comes when the client sends a byte on another connection: never.
            let mut one = [0; 1];
            let _ = stream.read(&mut one).await;
        }
    })
    .await;
    let mut options = script.options();
    options.pool.in_flight_max = 1;
    options.pool.queue_max = 1;
    options.pool.queue_timeout = Duration::from_millis(100);
    let group = Group::new(options).unwrap();
    let holding = get(&group, "/").await.unwrap();
    let queued = tokio::spawn({
        let group = group.clone();
        async move { get(&group, "/").await.map(drop) }
    });
    tokio::task::yield_now().await;
    assert_eq!(get(&group, "/").await.map(drop), Err(OriginFault::QueueFull));
    assert_eq!(queued.await.unwrap(), Err(OriginFault::QueueTimeout));
    drop(holding);
    assert!(get(&group, "/").await.is_ok(), "the place is given back");
}

#[tokio::test]
async fn a_reply_nobody_asked_for_spoils_an_idle_connection() {
    let (ended, seen) = tokio::sync::oneshot::channel::<()>();
    let ended = std::sync::Mutex::new(Some(ended));
    let script = Script::start(move |_, mut stream| {
        let ended = ended.lock().unwrap().take();
        async move {
            while !read_head(&mut stream).await.is_empty() {
                let _ = stream.write_all(OK.as_bytes()).await;
                if ended.is_some() {
                    let poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let _ = stream.write_all(poison).await;
                }
            }
        }
    })
    .await;
    let group = script.group();
    assert_eq!(fetch(&group, "/").await, Ok((200, Bytes::from("ok"))));
    assert!(seen.await.is_err(), "the origin saw the connection end");
    assert_eq!(fetch(&group, "/").await, Ok((200, Bytes::from("ok"))));
    assert_eq!(script.count(), 2);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let (closed, seen) = tokio::sync::oneshot::channel();
    let closed = std::sync::Mutex::new(Some(closed));
    let script = Script::start(move |_, mut stream| {
        let closed = closed.lock().unwrap().take();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(OK.as_bytes()).await;
            let _ = stream.read(&mut [0; 1]).await;
            drop(closed);
        }
    })
    .await;
    let mut options = script.options();
    options.pool.idle_timeout = Duration::from_millis(30);
    let group = Group::new(options).unwrap();
    fetch(&group, "/").await.unwrap();
    let never: Result<(), _> = seen.await;
    assert!(never.is_err(), "the origin saw the connection end");
}

#[tokio::test]
async fn h2_with_prior_knowledge_carries_many_requests_on_one_connection() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let service =
        hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
            let authority = request.uri().authority().map(ToString::to_string);
            let body = request.into_body().collect().await?.to_bytes();
            let text = format!("{} {}", authority.unwrap_or_default(), body.len());
            Ok::<_, hyper::Error>(http::Response::new(http_body_util::Full::new(Bytes::from(text))))
        });
    let script = Script::start(move |_, stream| async move {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    })
    .await;
    let mut options = script.options();
    options.http2 = crate::origin::Http2::Only;
    let group = Group::new(options).unwrap();
    let mut running = tokio::task::JoinSet::new();
    for n in 0..20usize {
        let group = group.clone();
        running.spawn(async move {
            let mut post = request(Method::POST, "/");
            *post.body_mut() = Outgoing::full(Bytes::from(vec![b'x'; n * 1000]));
            let answer = group.send(post, &SendContext::default()).await.unwrap();
            let body = answer.response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, format!("example.com {}", n * 1000));
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    assert_eq!(script.count(), 1);
}
