//! The demo's origin: a small web server inside the process, on a port of its own.
//!
//! It is a plain HTTP/1.1 server that knows nothing of the cache in front of it, as a real
//! one would not. It runs on its own thread and runtime, so that a slow answer here costs
//! the node nothing but the wait.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::pages::{FILES, File, SAMPLE, sample};
use crate::base::Clock;

/// How long the slow page takes.
const SLOW: Duration = Duration::from_secs(2);

/// What the origin remembers.
#[derive(Debug)]
struct State {
    clock: Clock,
    asked: AtomicU64,
    flaky: AtomicU64,
    sample: Bytes,
}

/// Starts the origin on a free port of the loopback interface; it lives as long as the
/// process.
pub fn start() -> io::Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let address = listener.local_addr()?;
    let state = Arc::new(State {
        clock: Clock::real(),
        asked: AtomicU64::new(0),
        flaky: AtomicU64::new(0),
        sample: sample(),
    });
    std::thread::Builder::new()
        .name("demo-origin".to_owned())
        .spawn(move || runtime.block_on(serve(listener, state)))?;
    Ok(address)
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    // A failing accept (no file descriptors left) is tried again with the next client.
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let state = state.clone();
        let service = service_fn(move |request| {
            let state = state.clone();
            async move { Ok::<_, std::convert::Infallible>(answer(&request, &state).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer<B>(request: &Request<B>, state: &State) -> Response<Full<Bytes>> {
    let asked = state.asked.fetch_add(1, Ordering::Relaxed) + 1;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned(), &[]);
    }
    let headers = request.headers();
    let path = request.uri().path();
    if let Some(file) = FILES.iter().find(|file| file.path == path) {
        return send(file, headers);
    }
    match path {
        SAMPLE => with_validator(headers, state.sample.clone(), SAMPLE_FIELDS),
        "/slow" => {
            tokio::time::sleep(SLOW).await;
            let text = format!("This took the origin {} seconds.\n", SLOW.as_secs());
            plain(StatusCode::OK, text, &[("cache-control", "max-age=20")])
        }
        "/time" => {
            let now = httpdate::fmt_http_date(state.clock.now().system_time());
            let text = format!("Origin's clock: {now}. It was asked {asked} times so far.\n");
            let rule = "max-age=0, s-maxage=10, stale-while-revalidate=20";
            plain(StatusCode::OK, text, &[("cache-control", rule)])
        }
        "/flaky" => flaky(state),
        "/hello" => hello(headers),
        "/private" => {
            let text = format!("For you alone. The origin was asked {asked} times so far.\n");
            plain(StatusCode::OK, text, &[("cache-control", "no-store")])
        }
        "/cookie" => {
            let cookie = format!("visitor={asked}; Path=/cookie; HttpOnly");
            let fields = [("cache-control", "max-age=3600"), ("set-cookie", cookie.as_str())];
            plain(StatusCode::OK, format!("You are visitor {asked}.\n"), &fields)
        }
        _ => match path.strip_prefix("/products/").and_then(|id| id.parse::<u32>().ok()) {
            Some(id) if (1..=99).contains(&id) => product(id),
            _ => missing(path),
        },
    }
}

const SAMPLE_FIELDS: &[(&str, &str)] =
    &[("cache-control", "public, max-age=3600"), ("content-type", "application/octet-stream")];

/// A file of the site; style and script also as gzip, if the client takes that.
fn send(file: &File, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let mut fields = vec![("content-type", file.kind), ("cache-control", file.cache)];
    fields.push(("surrogate-key", file.tags));
    let accepts = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let gzip = file.compress && accepts.is_some_and(|value| value.contains("gzip"));
    let body = if gzip { gzipped(file.body) } else { Bytes::from_static(file.body) };
    if file.compress {
        fields.push(("vary", "Accept-Encoding"));
    }
    if gzip {
        fields.push(("content-encoding", "gzip"));
    }
    with_validator(headers, body, &fields)
}

/// The answer with a strong `ETag`, or 304 if the client names it (RFC 9110 13.1.2).
fn with_validator(
    headers: &HeaderMap,
    body: Bytes,
    fields: &[(&str, &str)],
) -> Response<Full<Bytes>> {
    let tag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let matches = known.is_some_and(|known| known.contains(&tag));
    let status = if matches { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let body = if matches { Bytes::new() } else { body };
    let mut response = respond(status, body, fields);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Works once, then never again.
fn flaky(state: &State) -> Response<Full<Bytes>> {
    if state.flaky.fetch_add(1, Ordering::Relaxed) > 0 {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "The origin is broken.\n".to_owned(), &[]);
    }
    let text = "From better days: the origin worked when it was asked first.\n".to_owned();
    plain(StatusCode::OK, text, &[("cache-control", "max-age=3, stale-if-error=86400")])
}

fn hello(headers: &HeaderMap) -> Response<Full<Bytes>> {
    let wanted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (language, text) = match wanted.get(..2) {
        Some("de") => ("de", "Guten Tag vom Rand des Netzes.\n"),
        Some("fr") => ("fr", "Bonjour du bord du reseau.\n"),
        Some("da") => ("da", "Goddag fra kanten af nettet.\n"),
        _ => ("en", "Hello from the edge of the network.\n"),
    };
    let fields = [("cache-control", "max-age=60"), ("content-language", language)];
    let mut response = plain(StatusCode::OK, text.to_owned(), &fields);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Language"));
    response
}

fn product(id: u32) -> Response<Full<Bytes>> {
    let text = format!("{{\"product\":{id},\"name\":\"Sample {id}\"}}\n");
    let tags = format!("products product-{id}");
    let fields = [
        ("content-type", "application/json"),
        ("cache-control", "max-age=0, s-maxage=3600"),
        ("surrogate-key", tags.as_str()),
    ];
    respond(StatusCode::OK, Bytes::from(text), &fields)
}

fn missing(path: &str) -> Response<Full<Bytes>> {
    let text = format!("The demo has no page {path}. Its first page is /\n");
    plain(StatusCode::NOT_FOUND, text, &[("cache-control", "max-age=5")])
}

fn plain(status: StatusCode, text: String, fields: &[(&str, &str)]) -> Response<Full<Bytes>> {
    let mut response = respond(status, Bytes::from(text), fields);
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

fn respond(status: StatusCode, body: Bytes, fields: &[(&str, &str)]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn gzipped(body: &[u8]) -> Bytes {
    use std::io::Write;
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing to memory does not fail; if it did, the answer would be empty, not wrong.
    out.write_all(body).and_then(|()| out.finish()).map(Bytes::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            clock: Clock::manual(0),
            asked: AtomicU64::new(0),
            flaky: AtomicU64::new(0),
            sample: sample(),
        }
    }

    fn get(path: &str, state: &State) -> Response<Full<Bytes>> {
        let request = Request::get(path).header("accept-encoding", "gzip").body(()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(answer(&request, state))
    }

    #[test]
    fn the_flaky_page_works_once_and_never_again() {
        let state = state();
        assert_eq!(get("/flaky", &state).status(), 200);
        assert_eq!(get("/flaky", &state).status(), 500);
        assert_eq!(get("/flaky", &state).status(), 500);
    }

    #[test]
    fn every_file_is_there_and_knows_its_validator() {
        let state = state();
        for file in FILES {
            let first = get(file.path, &state);
            assert_eq!(first.status(), 200, "{}", file.path);
            let request = Request::get(file.path)
                .header("accept-encoding", "gzip")
                .header("if-none-match", first.headers()["etag"].clone())
                .body(())
                .unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let again = runtime.block_on(answer(&request, &state));
            assert_eq!(again.status(), 304, "{}", file.path);
        }
        assert_eq!(get("/products/100", &state).status(), 404);
    }
}
