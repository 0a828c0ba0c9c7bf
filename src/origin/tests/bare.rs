//! The client of our own against hyper under its guard: the same bytes, the same answer.

use proptest::prelude::*;
use tokio::io::DuplexStream;

use super::*;
use crate::base::clock;
use crate::origin::bare::Bare;
use crate::origin::framing::Expect;
use crate::origin::link::start_http1;
use crate::origin::wire::Wire;

/// All of an answer: status, fields, body, trailers.
type Whole = (u16, Vec<(String, Vec<u8>)>, Vec<u8>, Vec<(String, Vec<u8>)>);

fn listed(fields: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

/// Reads the request, then sends `bytes` in pieces of the given sizes and closes.
async fn answers(mut stream: DuplexStream, bytes: Vec<u8>, sizes: Vec<usize>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let mut rest = bytes.as_slice();
    for size in sizes.iter().cycle() {
        let (piece, after) = rest.split_at((*size).clamp(0, rest.len()));
        if stream.write_all(piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let _ = stream.shutdown().await;
    let _ = stream.read_u8().await;
}

async fn by_ourselves(stream: DuplexStream, method: Method) -> Result<Whole, OriginFault> {
    let mut bare = Bare::new(Wire::Pipe(stream), clock::instant());
    bare.begin(&request(method, "/"));
    let answer = std::future::poll_fn(|cx| bare.poll_answer(cx, None)).await?;
    let (mut body, mut trailers) = (Vec::new(), Vec::new());
    while let Some(frame) = std::future::poll_fn(|cx| bare.poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers = listed(frame.trailers_ref().unwrap()),
        }
    }
    Ok((answer.status().as_u16(), listed(answer.headers()), body, trailers))
}

async fn by_hyper(stream: DuplexStream, method: Method) -> Result<Whole, ()> {
    let minute = Duration::from_secs(60);
    let started = start_http1(Wire::Pipe(stream), clock::instant(), minute).await;
    let mut solo = started.map_err(drop)?;
    solo.line.begin(Expect { head: method == Method::HEAD, upgrade: false });
    let answer = solo.sender.try_send_request(request(method, "/")).await.map_err(drop)?;
    let (head, body) = answer.into_parts();
    let whole = body.collect().await.map_err(drop)?;
    let trailers = whole.trailers().map(listed).unwrap_or_default();
    let body = whole.to_bytes().to_vec();
    Ok((head.status.as_u16(), listed(&head.headers), body, trailers))
}

/// What both make of `bytes`.
fn both(bytes: &[u8], sizes: &[usize], method: &Method) -> (Result<Whole, ()>, Result<Whole, ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let origin = || {
            let (ours, theirs) = tokio::io::duplex(256);
            tokio::spawn(answers(theirs, bytes.to_vec(), sizes.to_vec()));
            ours
        };
        let bare = by_ourselves(origin(), method.clone()).await.map_err(drop);
        (bare, by_hyper(origin(), method.clone()).await)
    })
}

const SAMPLES: [&str; 12] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: ä y \r\nx:z\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\nC:\r\n\r\n",
    "HTTP/1.1 200\r\ntransfer-encoding: Chunked\r\n\r\n0\r\nA: b\r\n\r\n",
    "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 7\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\nb\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello!",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: token\r\n\r\nuntil the end",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
];

#[test]
fn every_sample_is_read_alike_however_it_is_cut() {
    for sample in SAMPLES {
        for (sizes, method) in
            [(&[1][..], Method::GET), (&[4096], Method::GET), (&[7], Method::HEAD)]
        {
            let (bare, hyper) = both(sample.as_bytes(), sizes, &method);
            assert_eq!(bare, hyper, "{method} {sample}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_damaged_answer_is_read_alike_or_refused_alike(
        sample in 0..SAMPLES.len(),
        damage in proptest::collection::vec((0..200usize, any::<u8>()), 0..3),
        cut in proptest::option::of(0..200usize),
        sizes in proptest::collection::vec(1..40usize, 1..4),
        head in any::<bool>(),
    ) {
        let mut bytes = SAMPLES[sample].as_bytes().to_vec();
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut);
        }
        let method = if head { Method::HEAD } else { Method::GET };
        let (bare, hyper) = both(&bytes, &sizes, &method);
        prop_assert_eq!(bare, hyper);
    }
}

/// Whether two requests one after the other share a connection.
async fn is_reused(answer: impl Into<Vec<u8>>) -> bool {
    let script = Script::constant(answer).await;
    let group = script.group();
    for _ in 0..2 {
        fetch(&group, "/").await.unwrap();
    }
    script.count() == 1
}

#[tokio::test]
async fn a_connection_is_used_again_only_if_both_sides_say_so() {
    let with = |start: &str| format!("{start}\r\nContent-Length: 2\r\n\r\nok");
    for again in ["HTTP/1.1 200 OK", "HTTP/1.0 200 OK\r\nConnection: x, Keep-Alive"] {
        assert!(is_reused(with(again)).await, "{again}");
    }
    for once in [
        "HTTP/1.1 200 OK\r\nConnection: close",
        "HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: y, Close",
        "HTTP/1.0 200 OK",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive, close",
    ] {
        assert!(!is_reused(with(once)).await, "{once}");
    }
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n";
    assert!(is_reused(chunked).await);
}

#[tokio::test]
async fn an_early_answer_is_believed_and_its_connection_is_not() {
    // The origin reads nothing, so that a large head cannot be sent whole.
    let script = Script::start(|_, mut stream| async move {
        socket2::SockRef::from(&stream).set_recv_buffer_size(4 << 10).unwrap();
        let mut start = [0; 16];
        stream.read_exact(&mut start).await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 431 No\r\nContent-Length: 2\r\n\r\nno").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let group = script.group();
    for round in 1..=2 {
        let mut large = request(Method::GET, "/");
        for n in 0..2000 {
            let name = http::HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap();
            let value = http::HeaderValue::from_bytes(&[b'y'; 8000]).unwrap();
            large.headers_mut().insert(name, value);
        }
        let answer = group.send(large, &SendContext::default()).await.unwrap();
        assert_eq!(answer.response.status(), 431);
        assert_eq!(answer.response.into_body().collect().await.unwrap().to_bytes(), "no");
        assert_eq!(script.count(), round);
    }
}

#[tokio::test]
async fn interim_answers_are_heard_in_order() {
    struct Ears(std::sync::Mutex<Vec<(u16, String)>>);
    impl crate::origin::Hear for Ears {
        fn interim(&self, status: http::StatusCode, fields: &http::HeaderMap) {
            let link = fields.get("link").map(|link| link.to_str().unwrap().to_owned());
            self.0.lock().unwrap().push((status.as_u16(), link.unwrap_or_default()));
        }
    }
    let script = Script::constant(
        "HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let group = script.group();
    let ears = Arc::new(Ears(std::sync::Mutex::default()));
    let heard = [(102, String::new()), (103, "</a>".to_owned())];
    for round in 1..=2 {
        let asked = request(Method::GET, "/").map(|body| body.heard_by(ears.clone()));
        group.send(asked, &SendContext::default()).await.unwrap();
        assert_eq!(ears.0.lock().unwrap().len(), 2 * round);
        assert!(ears.0.lock().unwrap().ends_with(&heard));
    }
}

#[tokio::test]
async fn what_needs_hyper_gets_it_and_the_others_do_not_wait_for_it() {
    let script = Script::start(|_, mut stream| async move {
        loop {
            let head = read_head(&mut stream).await;
            if head.is_empty() {
                return;
            }
            if head.starts_with(b"POST") {
                stream.read_exact(&mut [0; 5]).await.unwrap();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    let group = script.group();
    for round in 0..3 {
        fetch(&group, "/").await.unwrap();
        let mut post = request(Method::POST, "/");
        *post.body_mut() = Outgoing::full(Bytes::from("hello"));
        let answer = group.send(post, &SendContext::default()).await.unwrap();
        assert_eq!(answer.response.into_body().collect().await.unwrap().to_bytes(), "ok");
        assert_eq!(script.count(), if round == 0 { 1 } else { 2 });
    }
}
