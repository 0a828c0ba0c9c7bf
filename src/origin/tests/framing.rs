//! What an answer must look like to be believed.

use http::Method;
use http_body_util::BodyExt;

use super::*;
use crate::origin::Framing;

async fn refused(answer: impl Into<Vec<u8>>) -> &'static str {
    let script = Script::constant(answer).await;
    let group = script.group();
    for round in 1..=2 {
        match fetch(&group, "/").await {
            Err(OriginFault::Odd(_)) => {}
            other => panic!("expected an odd answer, got {other:?}"),
        }
        assert_eq!(script.count(), round, "an odd connection is never used again");
    }
    match fetch(&group, "/").await {
        Err(OriginFault::Odd(why)) => why,
        other => panic!("expected an odd answer, got {other:?}"),
    }
}

#[tokio::test]
async fn an_ambiguous_length_is_refused() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    ] {
        refused(answer).await;
    }
}

#[tokio::test]
async fn a_transfer_coding_other_than_chunked_is_refused() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nabc",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        refused(answer).await;
    }
}

#[tokio::test]
async fn control_characters_and_folded_lines_are_refused() {
    for answer in [
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 2\r\n\r\nok",
    ] {
        refused(answer).await;
    }
}

#[tokio::test]
async fn garbage_and_http_0_9_are_refused() {
    for answer in [
        "<html>hello</html>",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
        "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        refused(answer).await;
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_refused_at_its_limit() {
    let mut long = b"HTTP/1.1 200 OK\r\n".to_vec();
    for n in 0..2000 {
        long.extend_from_slice(format!("X-{n}: {}\r\n", "y".repeat(100)).as_bytes());
    }
    refused(long).await;
    let mut many = b"HTTP/1.1 200 OK\r\n".to_vec();
    for n in 0..201 {
        many.extend_from_slice(format!("X-{n}: y\r\n").as_bytes());
    }
    many.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    assert_eq!(refused(many).await, "too many fields in the answer");
}

#[tokio::test]
async fn two_hundred_fields_are_accepted() {
    let mut many = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n".to_vec();
    for n in 0..199 {
        many.extend_from_slice(format!("X-{n}: {}\r\n", "y".repeat(200)).as_bytes());
    }
    many.extend_from_slice(b"\r\nok");
    let script = Script::constant(many).await;
    let answer = get(&script.group(), "/").await.unwrap();
    assert_eq!(answer.response.headers().len(), 200);
}

#[tokio::test]
async fn interim_answers_are_consumed_but_not_without_end() {
    let final_one = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let script = Script::constant(format!("{}{final_one}", early.repeat(8))).await;
    assert_eq!(fetch(&script.group(), "/").await, Ok((200, Bytes::from("ok"))));
    let flood = format!("{}{final_one}", early.repeat(9));
    assert_eq!(refused(flood).await, "too many interim answers");
    refused("HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nok").await;
}

#[tokio::test]
async fn an_upgrade_nobody_asked_for_is_refused() {
    refused("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").await;
}

#[tokio::test]
async fn bytes_after_the_answer_are_dropped_and_the_connection_with_them() {
    for (answer, status, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", 200, "ok"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200, ""),
        ("HTTP/1.1 204 No Content\r\n\r\nx", 204, ""),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok", 304, ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n0\r\n\r\nx", 200, "o"),
    ] {
        let script = Script::constant(answer).await;
        let group = script.group();
        for round in 1..=3 {
            assert_eq!(fetch(&group, "/").await, Ok((status, Bytes::from(body))), "{answer}");
            assert_eq!(script.count(), round, "never used again: {answer}");
        }
    }
    refused("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok").await;
    let script = Script::constant("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let group = script.group();
    for round in 1..=3 {
        let head = group.send(request(Method::HEAD, "/"), &SendContext::default()).await;
        let body = head.unwrap().response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((body.len(), script.count()), (0, round), "a body after HEAD is dropped");
    }
}

#[tokio::test]
async fn an_answer_that_comes_in_single_bytes_is_the_same_answer() {
    let script = Script::start(|_, mut stream| async move {
        stream.set_nodelay(true).unwrap();
        while !read_head(&mut stream).await.is_empty() {
            let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                2\r\nok\r\n1;x=y\r\n!\r\n0\r\nX-Sum: 3\r\n\r\n";
            for byte in answer {
                stream.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    let group = script.group();
    for _ in 0..3 {
        assert_eq!(fetch(&group, "/").await, Ok((200, Bytes::from("ok!"))));
    }
    assert_eq!(script.count(), 1);
}

#[tokio::test]
async fn the_framing_of_a_body_is_told() {
    for (answer, framing) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Framing::Length),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Framing::Chunked,
        ),
        ("HTTP/1.0 200 OK\r\n\r\nok", Framing::Close),
        ("HTTP/1.1 200 OK\r\n\r\nok", Framing::Close),
    ] {
        let script = Script::closing(answer).await;
        let answer = get(&script.group(), "/").await.unwrap();
        assert_eq!(answer.response.body().framing(), framing);
        let body = answer.response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "ok");
    }
    let script = Script::constant("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n").await;
    let group = script.group();
    for _ in 0..2 {
        let answer = get(&group, "/").await.unwrap();
        assert_eq!(answer.response.body().framing(), Framing::None);
    }
    assert_eq!(script.count(), 1, "no body: the connection is used again");
}

#[tokio::test]
async fn an_upgrade_that_was_asked_for_hands_the_connection_out() {
    let script = Script::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let head =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhi";
        stream.write_all(head).await.unwrap();
        let mut four = [0; 4];
        stream.read_exact(&mut four).await.unwrap();
        stream.write_all(&four).await.unwrap();
    })
    .await;
    let mut asking = request(Method::GET, "/");
    asking.headers_mut().insert("connection", "upgrade".parse().unwrap());
    asking.headers_mut().insert("upgrade", "echo".parse().unwrap());
    let answer = script.group().send(asking, &SendContext::default()).await.unwrap();
    assert_eq!(answer.response.status(), 101);
    let tunnel = hyper::upgrade::on(answer.response).await.unwrap();
    let mut tunnel = hyper_util::rt::TokioIo::new(tunnel);
    tunnel.write_all(b"ping").await.unwrap();
    let mut six = [0; 6];
    tunnel.read_exact(&mut six).await.unwrap();
    assert_eq!(&six, b"hiping");
}
