//! The client side of the admin API, shared by the verbs that talk to a running node.
//!
//! A small hyper client on a current-thread runtime: one connection a call. Where the
//! node is and which token to use come from `--admin` and `--admin-token-file`, else from
//! `BRINK_ADMIN` and `BRINK_ADMIN_TOKEN_FILE`; a token itself is never an argument,
//! because arguments can be read by everybody on the machine.

use std::env;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::admin_tls::Trust;

/// Where the admin API is unless said otherwise.
const DEFAULT: &str = "127.0.0.1:8090";
/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest answer read, in bytes.
const ANSWER_MAX: usize = 64 << 20;

/// Which node to talk to.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// Admin listener: address and port, https://HOST:PORT or unix:PATH [default:
    /// $BRINK_ADMIN or 127.0.0.1:8090]
    #[arg(long, value_name = "ADDR", global = true)]
    admin: Option<String>,
    /// File with the token [default: $BRINK_ADMIN_TOKEN_FILE]
    #[arg(long, value_name = "FILE", global = true)]
    admin_token_file: Option<PathBuf>,
    /// Authorities of an https:// node's certificate [default: $BRINK_ADMIN_CA or the system's]
    #[arg(long, global = true, value_name = "PEM")]
    admin_ca: Option<PathBuf>,
    /// Certificate to show to the node [default: $BRINK_ADMIN_CERT]
    #[arg(long, global = true, value_name = "PEM")]
    admin_cert: Option<PathBuf>,
    /// Its key [default: $BRINK_ADMIN_KEY]
    #[arg(long, global = true, value_name = "PEM")]
    admin_key: Option<PathBuf>,
    /// Print the node's JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

/// Why a call did not work.
#[derive(Debug)]
pub enum Problem {
    /// Nobody there, or the connection broke.
    Unreachable(String),
    /// No token where one was expected.
    Token(String),
    /// The node refused: status and its message.
    Refused(StatusCode, String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unreachable(why) => f.write_str(why),
            Problem::Token(why) => f.write_str(why),
            Problem::Refused(status, why) => write!(f, "{} {why}", status.as_u16()),
        }
    }
}

impl Problem {
    /// 2 when the call itself was wrong, else 1.
    pub fn exit(&self) -> ExitCode {
        match self {
            Problem::Refused(status, _)
                if matches!(
                    *status,
                    StatusCode::BAD_REQUEST
                        | StatusCode::PAYLOAD_TOO_LARGE
                        | StatusCode::UNPROCESSABLE_ENTITY
                ) =>
            {
                ExitCode::from(super::USAGE)
            }
            _ => ExitCode::FAILURE,
        }
    }
}

/// A client of one node.
#[derive(Clone, Debug)]
pub struct Client {
    address: String,
    token: Option<String>,
    trust: Trust,
}

impl Target {
    /// The client for these arguments.
    pub fn client(&self) -> Result<Client, Problem> {
        let address = self.admin.clone().or_else(|| env::var("BRINK_ADMIN").ok());
        let file = |given: &Option<PathBuf>, name: &str| {
            given.clone().or_else(|| env::var_os(name).map(PathBuf::from))
        };
        let token = match file(&self.admin_token_file, "BRINK_ADMIN_TOKEN_FILE") {
            None => None,
            Some(file) => Some(read_token(&file)?),
        };
        let cert = file(&self.admin_cert, "BRINK_ADMIN_CERT");
        let identity = cert.zip(file(&self.admin_key, "BRINK_ADMIN_KEY"));
        let trust = Trust { ca: file(&self.admin_ca, "BRINK_ADMIN_CA"), identity };
        Ok(Client { address: address.unwrap_or_else(|| DEFAULT.to_owned()), token, trust })
    }
}

/// The first token of a token file; its last word if the line names scopes.
fn read_token(file: &PathBuf) -> Result<String, Problem> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Problem::Token(format!("token file {}: {error}", file.display())))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or(""));
    let token = lines.filter_map(|line| line.split_whitespace().last()).next();
    token
        .map(str::to_owned)
        .ok_or_else(|| Problem::Token(format!("token file {} holds no token", file.display())))
}

/// Runs `verb` with a client and turns its result into an exit code.
pub fn run<F>(target: &Target, verb: impl FnOnce(Client) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Problem>>,
{
    let result = target.client().and_then(|client| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Problem::Unreachable(error.to_string()))?;
        runtime.block_on(verb(client))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("brink: {problem}");
            problem.exit()
        }
    }
}

impl Client {
    /// A GET with a query.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Problem> {
        self.call(Method::GET, &with_query(path, query), None).await
    }

    /// A call with a JSON body, answered with JSON.
    pub async fn call(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Value, Problem> {
        let response = self.send(method, target, body).await?;
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), ANSWER_MAX);
        let bytes = body.collect().await.map_err(|error| self.broke(error))?.to_bytes();
        let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        Err(refused(status, &value))
    }

    /// A GET whose answer is lines without end; `line` says whether to go on.
    pub async fn follow(
        &self,
        target: &str,
        mut line: impl FnMut(&str) -> bool,
    ) -> Result<(), Problem> {
        let response = self.send(Method::GET, target, None).await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.broke(error))?;
            rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if !status.is_success() {
                continue;
            }
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let whole: Vec<u8> = rest.drain(..=end).collect();
                if !line(String::from_utf8_lossy(&whole).trim_end()) {
                    return Ok(());
                }
            }
        }
        if status.is_success() {
            return Ok(());
        }
        Err(refused(status, &serde_json::from_slice(&rest).unwrap_or(Value::Null)))
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, Problem> {
        let stream = tokio::time::timeout(CONNECT_MAX, self.connect());
        let stream = stream.await.map_err(|_| self.broke("no answer"))??;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broke(error))?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(target);
        request = request.header(header::HOST, "localhost");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let bytes = match body {
            None => Bytes::new(),
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
        };
        let request = request.body(Full::new(bytes)).map_err(|error| self.broke(error))?;
        sender.send_request(request).await.map_err(|error| self.broke(error))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Problem> {
        if let Some(path) = self.address.strip_prefix("unix:") {
            let stream = UnixStream::connect(path).await.map_err(|error| self.broke(error))?;
            return Ok(Box::new(stream));
        }
        let address = self.address.trim_end_matches('/');
        if let Some(address) = address.strip_prefix("https://") {
            let stream = TcpStream::connect(address).await.map_err(|error| self.broke(error))?;
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let stream = self.trust.connect(host, stream).await.map_err(|why| self.broke(why))?;
            return Ok(Box::new(stream));
        }
        let address = address.strip_prefix("http://").unwrap_or(address);
        let stream = TcpStream::connect(address).await.map_err(|error| self.broke(error))?;
        Ok(Box::new(stream))
    }

    fn broke(&self, error: impl fmt::Display) -> Problem {
        Problem::Unreachable(format!(
            "no node answers at {}: {error} (--admin ADDR says where it is)",
            self.address
        ))
    }
}

fn refused(status: StatusCode, value: &Value) -> Problem {
    let message = value.pointer("/error/message").and_then(Value::as_str);
    let mut message = message.unwrap_or("the node did not say why").to_owned();
    if status == StatusCode::UNAUTHORIZED {
        message.push_str(" (--admin-token-file FILE)");
    }
    Problem::Refused(status, message)
}

/// A path with an encoded query; pairs with an empty value are left out.
pub fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        encoded.append_pair(name, value);
    }
    match encoded.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A number with a unit that people read: `1.4 M`.
pub fn short(count: f64) -> String {
    for (unit, size) in [("G", 1e9), ("M", 1e6), ("k", 1e4)] {
        if count.abs() >= size {
            let size = if unit == "k" { 1e3 } else { size };
            return format!("{:.1} {unit}", count / size);
        }
    }
    format!("{count:.0}")
}

/// Bytes with a binary unit.
pub fn bytes(count: u64) -> String {
    crate::base::ByteSize(count).to_string()
}

/// The number under `pointer`, or zero.
pub fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// The text under `pointer`, or nothing.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// A share as per cent.
pub fn percent(value: &Value, pointer: &str) -> String {
    format!("{:.1} %", value.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0) * 100.0)
}

/// Prints JSON as `--json` does.
pub fn print_json(value: &Value) {
    println!("{value:#}");
}
