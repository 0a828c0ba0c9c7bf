//! The clients of a replay: connections, requests, and what came of them.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Request, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::options::{Options, ReplayError};
use super::origin::{PATH, VARIANT};
use super::report::{Count, Outcome, Report, Seen};
use super::tls;
use crate::base::clock::instant;
use crate::lab::trace::Trace;

/// Errors shown in the report.
const SAMPLES: usize = 5;
const STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What is asked for, in order: the number in the path and of the object.
pub(super) struct Tape {
    requests: Vec<(u32, u32)>,
    varies: bool,
}

impl Tape {
    pub(super) fn of(trace: &Trace) -> Tape {
        let names = trace.variants.as_ref().map(|variants| &variants.names);
        let name = |object: u32| names.map_or(object, |names| names[object as usize]);
        let requests = trace.requests.iter().map(|request| (name(request.object), request.object));
        Tape { requests: requests.collect(), varies: names.is_some() }
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }
}

/// A connection that has been given back.
pub(super) enum Connection {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

pub(super) struct Clients {
    pub(super) tape: Arc<Tape>,
    target: Uri,
    authority: Authority,
    host: String,
    tls: Option<Arc<ClientConfig>>,
    http2: bool,
    timeout: std::time::Duration,
    idle: Mutex<Vec<Connection>>,
    counts: Mutex<Vec<Count>>,
    errors: Mutex<(u64, Vec<String>)>,
}

impl Clients {
    pub(super) fn new(options: &Options, tape: Arc<Tape>) -> Result<Clients, ReplayError> {
        let target = options.target.clone();
        let wrong = || ReplayError::Target(target.clone());
        let authority = target.authority().cloned().ok_or_else(wrong)?;
        let tls = match target.scheme_str() {
            Some("http") => None,
            Some("https") => Some(tls::config(options.insecure, options.http2)?),
            _ => return Err(wrong()),
        };
        let host = options.host.clone().unwrap_or_else(|| authority.to_string());
        Ok(Clients {
            tape,
            target,
            authority,
            host,
            tls,
            http2: options.http2,
            timeout: options.timeout,
            idle: Mutex::default(),
            counts: Mutex::new(Outcome::ALL.iter().map(|_| Count::new()).collect()),
            errors: Mutex::default(),
        })
    }

    /// A connection that waits for work.
    pub(super) fn idle(&self) -> Option<Connection> {
        self.idle.lock().pop()
    }

    /// Gives a connection back.
    pub(super) fn keep(&self, connection: Connection) {
        self.idle.lock().push(connection);
    }

    pub(super) fn report(&self, seconds: f64, origin: Seen) -> Report {
        let mut report = Report::new(&self.counts.lock(), seconds, origin);
        (report.errors, report.error_samples) = self.errors.lock().clone();
        report
    }

    /// Makes one request of the tape and counts it; latency runs from `due`. Gives the
    /// connection back if it can be used again.
    pub(super) async fn ask(
        &self,
        at: usize,
        connection: Option<Connection>,
        due: Instant,
    ) -> Option<Connection> {
        let asked = tokio::time::timeout(self.timeout, self.twice(at, connection)).await;
        let (outcome, bytes, connection) = match asked {
            Ok(Ok((status, fields, bytes, connection))) => {
                let said = fields.get_all(STATUS).iter().next_back();
                let mut outcome = Outcome::of(said.and_then(|said| said.to_str().ok()));
                if status != StatusCode::OK {
                    self.failed(at, &format!("status {}", status.as_u16()));
                    outcome = Outcome::Failed;
                }
                (outcome, bytes, connection)
            }
            Ok(Err(error)) => {
                self.failed(at, &error.to_string());
                (Outcome::Failed, 0, None)
            }
            Err(_) => {
                self.failed(at, "no whole answer in time");
                (Outcome::Failed, 0, None)
            }
        };
        let micros = u64::try_from(instant().saturating_duration_since(due).as_micros());
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(outcome as usize) {
            count.requests += 1;
            count.bytes += bytes;
            count.latency.saturating_record(micros.unwrap_or(u64::MAX).max(1));
        }
        connection
    }

    fn failed(&self, at: usize, why: &str) {
        let mut errors = self.errors.lock();
        errors.0 += 1;
        if errors.1.len() < SAMPLES {
            errors.1.push(format!("request {}: {why}", at + 1));
        }
    }

    /// A kept connection may have been closed by the other side meanwhile; a new one has
    /// not.
    async fn twice(&self, at: usize, kept: Option<Connection>) -> Result<Answer, Failure> {
        if let Some(connection) = kept
            && let Ok(answer) = self.once(at, connection).await
        {
            return Ok(answer);
        }
        let connection = self.connect().await?;
        self.once(at, connection).await
    }

    async fn once(&self, at: usize, connection: Connection) -> Result<Answer, Failure> {
        let request = self.request(at)?;
        let (response, connection) = match connection {
            Connection::Http1(mut sender) => {
                sender.ready().await?;
                (sender.send_request(request).await?, Connection::Http1(sender))
            }
            Connection::Http2(mut sender) => {
                sender.ready().await?;
                (sender.send_request(request).await?, Connection::Http2(sender))
            }
        };
        let (head, body) = response.into_parts();
        let bytes = drain(body).await?;
        Ok((head.status, head.headers, bytes, Some(connection)))
    }

    fn request(&self, at: usize) -> Result<Request<Empty<Bytes>>, Failure> {
        let (name, object) = self.tape.requests.get(at).copied().unwrap_or_default();
        let mut request = Request::builder();
        if self.http2 {
            let scheme = self.target.scheme_str().unwrap_or("http");
            request = request
                .version(Version::HTTP_2)
                .uri(format!("{scheme}://{}{PATH}{name}", self.host));
        } else {
            request = request.uri(format!("{PATH}{name}")).header(HOST, &self.host);
        }
        if self.tape.varies {
            request = request.header(VARIANT, object);
        }
        Ok(request.body(Empty::new())?)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let secure = self.tls.is_some();
        let port = self.authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let name = self.authority.host().trim_matches(['[', ']']).to_owned();
        let stream = TcpStream::connect((name.as_str(), port)).await?;
        stream.set_nodelay(true)?;
        let Some(config) = &self.tls else { return self.speak(stream).await };
        let name = self.host.rsplit_once(':').map_or(self.host.as_str(), |(name, _)| name);
        let name = name.trim_matches(['[', ']']).to_owned();
        let server = ServerName::try_from(name).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config.clone()).connect(server, stream).await?;
        self.speak(stream).await
    }

    async fn speak<S>(&self, stream: S) -> Result<Connection, Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = TokioIo::new(stream);
        if self.http2 {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20)
                .handshake(stream)
                .await?;
            tokio::spawn(connection);
            return Ok(Connection::Http2(sender));
        }
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Connection::Http1(sender))
    }
}

type Answer = (StatusCode, HeaderMap, u64, Option<Connection>);
type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn drain(mut body: Incoming) -> Result<u64, Failure> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Ok(bytes)
}
