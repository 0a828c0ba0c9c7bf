//! The ways of a client's request into the node: hyper alone with the handler behind it, or
//! the real front over HTTP/1 connections that are used again, or over HTTP/2.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use brink::front::Pipe;
use brink::node::core::Core;
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

use super::client::{Answer, parse};
use super::origin::PIPE;
use super::scene::Scene;
use super::step::Ask;
use crate::support::Ended;

/// Bytes of a client's window of HTTP/2: small, so that longer answers have to wait for it.
const WINDOW: u32 = 3_000;

/// One way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A connection for one request, served by hyper without the front.
    Hyper,
    /// HTTP/1 through the front; the connection is used again.
    Http1,
    /// HTTP/2 through the front; one connection for all requests of a client.
    Http2,
}

impl Way {
    /// That of a client in a world where each has its own. By the client and not by lot: the
    /// steps that are left when a list is made shorter go the ways they went before.
    pub fn of(client: u8) -> Self {
        match client {
            0 => Way::Hyper,
            2 => Way::Http2,
            _ => Way::Http1,
        }
    }
}

/// The open connections of all clients.
#[derive(Default)]
pub struct Lines {
    idle: HashMap<u8, Vec<DuplexStream>>,
    http2: HashMap<u8, SendRequest<Bytes>>,
}

/// What an exchange needs beside its text.
pub struct Going {
    /// The world.
    pub scene: Arc<Scene>,
    /// Connections to use again.
    pub lines: Arc<Mutex<Lines>>,
    /// Who asks what.
    pub ask: Ask,
    /// Opens a connection; on the runtime it is called on.
    pub connect: Box<dyn Fn(bool) -> DuplexStream + Send + Sync>,
}

/// Opens connections to the front of `core` for one client.
pub fn connector(core: &Core, peer: SocketAddr) -> Box<dyn Fn(bool) -> DuplexStream + Send + Sync> {
    let door = core.door();
    Box::new(move |http2| {
        let (ours, stream) = tokio::io::duplex(PIPE);
        door(Pipe { stream, peer, http2 });
        ours
    })
}

impl Going {
    /// One exchange over HTTP/1: the answer, and whether the client left.
    pub async fn http1(self, text: &str, head_only: bool) -> (Option<Answer>, bool) {
        let old = self.lines.lock().idle.get_mut(&self.ask.client).and_then(Vec::pop);
        let mut pipe = old.unwrap_or_else(|| (self.connect)(false));
        let mut raw = Vec::new();
        let mut chunk = [0; PIPE];
        let mut ended = pipe.write_all(text.as_bytes()).await.is_err();
        while !ended {
            self.scene.stir();
            if self.ask.leaves.is_some_and(|leaves| raw.len() >= leaves as usize) {
                return (parse(&raw, head_only).map(|(answer, _)| answer), true);
            }
            match pipe.read(&mut chunk).await {
                Ok(0) | Err(_) => ended = true,
                Ok(read) => raw.extend_from_slice(&chunk[..read]),
            }
            let Some((mut answer, more)) = parse(&raw, head_only).filter(|_| !ended) else {
                continue;
            };
            let framed = head_only || matches!(answer.status, 204 | 304);
            let framed = framed || answer.field("content-length").is_some();
            let framed = framed || answer.field("transfer-encoding").is_some();
            if !framed || answer.ended != Ended::Clean {
                continue;
            }
            if more > 0 {
                // Bytes behind the end would be the answer to somebody's next request.
                answer.ended = Ended::Garbled;
            } else if answer.field("connection").is_none_or(|word| word != "close") {
                self.lines.lock().idle.entry(self.ask.client).or_default().push(pipe);
            }
            return (Some(answer), false);
        }
        (parse(&raw, head_only).map(|(answer, _)| answer), false)
    }

    /// One exchange over HTTP/2.
    pub async fn http2(self, text: &str) -> (Option<Answer>, bool) {
        let Some(mut line) = self.line().await else { return (None, false) };
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let request = translate(head);
        let Ok((answer, mut upload)) = line.send_request(request, body.is_empty()) else {
            return (None, false);
        };
        drop(line);
        if !body.is_empty()
            && upload.send_data(Bytes::copy_from_slice(body.as_bytes()), true).is_err()
        {
            return (None, false);
        }
        if self.ask.leaves == Some(0) {
            return (None, true);
        }
        self.answer(answer.await).await
    }

    async fn answer(
        &self,
        answered: Result<http::Response<h2::RecvStream>, h2::Error>,
    ) -> (Option<Answer>, bool) {
        self.scene.stir();
        let Ok(response) = answered else { return (None, false) };
        let (head, mut stream) = response.into_parts();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
        let fields = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        let (status, fields) = (head.status.as_u16(), fields.collect());
        let mut answer = Answer { status, fields, body: Vec::new(), ended: Ended::Cut };
        loop {
            if self.ask.leaves.is_some_and(|leaves| answer.body.len() + 1 >= leaves as usize) {
                return (Some(answer), true);
            }
            match stream.data().await {
                Some(Ok(data)) => {
                    self.scene.stir();
                    let _ = stream.flow_control().release_capacity(data.len());
                    answer.body.extend_from_slice(&data);
                }
                Some(Err(_)) => return (Some(answer), false),
                None => break,
            }
        }
        answer.ended = Ended::Clean;
        (Some(answer), false)
    }

    /// The client's connection, opened if there is none or it takes no more requests.
    async fn line(&self) -> Option<SendRequest<Bytes>> {
        let client = self.ask.client;
        let known = self.lines.lock().http2.get(&client).cloned();
        if let Some(known) = known
            && let Ok(line) = known.ready().await
        {
            return Some(line);
        }
        let pipe = Stirring((self.connect)(true), self.scene.clone());
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW);
        let (line, driver) = builder.handshake(pipe).await.ok()?;
        tokio::spawn(async move { drop(driver.await) });
        self.lines.lock().http2.insert(client, line.clone());
        line.ready().await.ok()
    }
}

/// A request of HTTP/1 as one of HTTP/2 (RFC 9113 8.2.2, 8.3.1).
fn translate(head: &str) -> Request<()> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    let host = fields.iter().find(|(name, _)| *name == "Host").map_or("", |(_, value)| value);
    let mut request = Request::builder().method(method).uri(format!("http://{host}{target}"));
    for (name, value) in fields.iter().filter(|(name, _)| !matches!(*name, "Host" | "Connection")) {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

/// A pipe that tells the world when bytes move.
struct Stirring(DuplexStream, Arc<Scene>);

impl AsyncRead for Stirring {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let polled = ready!(Pin::new(&mut self.0).poll_read(cx, buf));
        self.1.stir();
        Poll::Ready(polled)
    }
}

impl AsyncWrite for Stirring {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = ready!(Pin::new(&mut self.0).poll_write(cx, data));
        self.1.stir();
        Poll::Ready(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
