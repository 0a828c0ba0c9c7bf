//! A well-behaved HTTP/2 client over TLS, made blocking: hyper's, one runtime a client.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::runtime::Runtime;

use super::answer::{Answer, Ended};
use super::client::HOST;
use super::tls;

/// One HTTP/2 connection.
pub struct H2Client {
    runtime: Runtime,
    send: SendRequest<Full<Bytes>>,
}

impl H2Client {
    /// Connects, shakes hands and starts the connection's driver.
    pub fn connect(addr: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime for the client");
        let send = runtime.block_on(async move {
            let tcp = tokio::net::TcpStream::connect(addr).await.expect("the node accepts");
            let config = tls::config(&["h2"], rustls::ALL_VERSIONS);
            let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
            let name = ServerName::try_from(HOST).expect("a server name");
            let stream = connector.connect(name, tcp).await.expect("a TLS handshake");
            let (send, driver) = handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("an HTTP/2 handshake");
            tokio::spawn(driver);
            send
        });
        H2Client { runtime, send }
    }

    /// `GET` with extra fields.
    pub fn get_with(&mut self, target: &str, fields: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(format!("https://{HOST}{target}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.ask(request.body(Full::default()).expect("a request"))
    }

    /// `GET`.
    pub fn get(&mut self, target: &str) -> Answer {
        self.get_with(target, &[])
    }

    /// Any request.
    pub fn ask(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let answering = self.send.send_request(request);
        self.runtime.block_on(async { collect(answering.await.expect("an answer")).await })
    }
}

async fn collect(response: Response<hyper::body::Incoming>) -> Answer {
    let (parts, mut incoming) = response.into_parts();
    let (mut body, mut ended) = (Vec::new(), Ended::Clean);
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Err(_) => ended = Ended::Cut,
        }
    }
    let fields = parts
        .headers
        .iter()
        .map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
        .collect();
    let head = format!("{:?}", parts.headers);
    Answer { status: parts.status.as_u16(), interim: Vec::new(), head, fields, body, ended }
}
