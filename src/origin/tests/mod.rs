//! Tests of origins against scripted and real servers on loopback.
//!
//! The scripted origin writes raw bytes, so it can be wrong in every way an origin can be.

mod bare;
mod faults;
mod files;
mod fleets;
mod framing;
mod http2;
mod outliers;
mod pooling;
mod reach;
mod reader;
mod rolling;
mod secure;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Answer, Group, GroupOptions, OriginFault, Outgoing, SendContext};

/// A scripted origin: what each connection does is a function of its number.
pub struct Script {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
}

impl Script {
    pub async fn start<F, Fut>(play: F) -> Script
    where
        F: Fn(usize, TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(play(count.fetch_add(1, Ordering::SeqCst), stream));
            }
        });
        Script { address, connections }
    }

    /// Answers every request on every connection with the same bytes, then keeps the
    /// connection open.
    pub async fn constant(answer: impl Into<Vec<u8>>) -> Script {
        let answer: Arc<[u8]> = answer.into().into();
        Script::start(move |_, mut stream| {
            let answer = answer.clone();
            async move {
                while !read_head(&mut stream).await.is_empty() {
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// The same, but closes after the first answer.
    pub async fn closing(answer: impl Into<Vec<u8>>) -> Script {
        let answer: Arc<[u8]> = answer.into().into();
        Script::start(move |_, mut stream| {
            let answer = answer.clone();
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    pub fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn options(&self) -> GroupOptions {
        let mut options =
            GroupOptions::single("test", &format!("http://{}", self.address)).unwrap();
        options.timeouts.first_byte = Duration::from_secs(5);
        options
    }

    pub fn group(&self) -> Arc<Group> {
        Group::new(self.options()).unwrap()
    }
}

/// Reads up to the empty line; empty when the connection ended.
pub async fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return Vec::new(),
        }
    }
    head
}

pub fn request(method: Method, path: &str) -> Request<Outgoing> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "example.com")
        .body(Outgoing::empty())
        .unwrap()
}

pub async fn get(group: &Group, path: &str) -> Result<Answer, OriginFault> {
    group.send(request(Method::GET, path), &SendContext::default()).await
}

/// Status and body, or the fault of either.
pub async fn fetch(group: &Group, path: &str) -> Result<(u16, Bytes), OriginFault> {
    let answer = get(group, path).await?;
    let status = answer.response.status().as_u16();
    let body = answer.response.into_body().collect().await?;
    Ok((status, body.to_bytes()))
}

/// Polls until `done`, at most ten seconds.
pub async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen within ten seconds");
}
