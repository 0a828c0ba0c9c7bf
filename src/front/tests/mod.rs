//! Scenarios of the listeners with raw sockets and a handler of a few lines.

mod guard;
mod http1;
mod http2;
mod http2_straight;
mod limits;
mod straight;
mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};

use super::*;

/// Answers with what it saw: method, target, body length; a few targets do more.
#[derive(Clone)]
struct Echo;

type EchoBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<EchoBody> {
    let body = Full::new(text.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

impl Handler for Echo {
    type Body = EchoBody;

    async fn handle(&self, request: Request<Upload>, conn: Arc<Connection>) -> Response<EchoBody> {
        let (parts, body) = request.into_parts();
        match parts.uri.path() {
            "/panic" => panic!("as asked"),
            "/ignore-body" => return text(StatusCode::OK, "ignored"),
            "/large" => return text(StatusCode::OK, vec![b'x'; 64 << 20]),
            "/peer" => return text(StatusCode::OK, conn.peer.to_string()),
            "/upgrade" => return self.upgrade(parts, body),
            _ => {}
        }
        match body.collect().await {
            Ok(whole) => {
                let length = whole.to_bytes().len();
                text(StatusCode::OK, format!("{} {} {length}", parts.method, parts.uri))
            }
            Err(error) => self.refuse(BrokenBody::fault_of(&error), conn),
        }
    }

    fn refuse(&self, fault: Fault, _: Arc<Connection>) -> Response<EchoBody> {
        text(fault.status(), fault.reason())
    }

    type Ready = straight::AtHand;

    fn ready(
        &self,
        asked: &Plain<'_>,
        _: &Arc<Connection>,
        head: &mut Vec<u8>,
    ) -> Option<Self::Ready> {
        straight::ready(asked, head)
    }

    fn ready_http2(
        &self,
        asked: &http::request::Parts,
        _: &Connection,
    ) -> Option<(Response<()>, Self::Ready)> {
        straight::ready_http2(asked)
    }

    fn sent(&self, ready: Self::Ready, asked: &Plain<'_>, _: &Connection, told: (u64, bool)) {
        straight::sent(ready, asked, told);
    }
}

impl Echo {
    /// Grants a WebSocket and echoes its bytes in capitals.
    fn upgrade(&self, parts: http::request::Parts, body: Upload) -> Response<EchoBody> {
        if !parts.headers.contains_key(http::header::UPGRADE) {
            return text(StatusCode::OK, "no upgrade asked");
        }
        let on = hyper::upgrade::on(Request::from_parts(parts, body));
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut stream = hyper_util::rt::TokioIo::new(on.await.unwrap());
            let mut bytes = [0u8; 64];
            while let Ok(n @ 1..) = stream.read(&mut bytes).await {
                bytes[..n].make_ascii_uppercase();
                stream.write_all(&bytes[..n]).await.unwrap();
            }
        });
        let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
        response.headers_mut().insert("connection", "upgrade".parse().unwrap());
        response.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        response
    }
}

/// Options for one plain listener on a free port and one thread.
fn plain() -> Options {
    let listener = ListenerOptions {
        name: "plain".into(),
        address: "127.0.0.1:0".parse().unwrap(),
        tls: false,
        proxy_protocol: Vec::new(),
    };
    let deadlines = Deadlines { tick: Duration::from_millis(10), ..Deadlines::default() };
    Options { threads: 1, listeners: vec![listener], deadlines, ..Options::default() }
}

fn start(options: Options) -> (Running, SocketAddr) {
    let front = Front::bind(options, Vec::new()).unwrap();
    let address = front.addresses()[0].1;
    (front.serve(None, |_| Echo).unwrap(), address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Everything until the node closes.
fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

/// Sends `request` on a new connection and returns all that comes back until the close.
fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    rest(stream)
}

/// Reads one answer with Content-Length from an open connection.
fn answer(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut byte = [0u8; 1];
    while !all.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "closed after {all:?}");
        all.push(byte[0]);
    }
    let head = String::from_utf8(all).unwrap();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = vec![0u8; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8_lossy(&body)
}

/// Polls until `done` holds.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = crate::base::clock::instant();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
