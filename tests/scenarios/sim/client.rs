//! The clients: raw requests over pipes, either to hyper and the node's handler behind it or
//! through the node's front (`ways`), and a reader of answers that notices how each of them
//! ended.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use brink::base::Now;
use brink::front::{Connection, Handler, Upload};
use brink::node::core::Core;
use brink::serve::Serve;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::origin::PIPE;
use super::scene::{Scene, target};
use super::step::{Ask, Condition, Control, HOSTS, Method, Range};
use super::ways::{Going, Lines, Way, connector};
use crate::support::Ended;
use crate::support::answer::{Wire, field, fields_of, framing_of};

/// One exchange as its client saw it.
pub struct Told {
    /// Its number.
    pub id: u64,
    /// What was asked.
    pub ask: Ask,
    /// How it came in.
    pub way: Way,
    /// Tag and date that went with the condition.
    pub known: Known,
    /// When it began: event and clock.
    pub began: (u64, Now),
    /// When it ended.
    pub ended: (u64, Now),
    /// The configuration at its beginning.
    pub plan: u8,
    /// Whether the host failed as a whole then.
    pub outage: bool,
    /// The answer; none if the connection ended before there was one.
    pub answer: Option<Answer>,
    /// Whether the client went away before the end.
    pub left: bool,
}

impl Told {
    /// The exchange and what is wrong with it, for people.
    pub fn tell(&self, what: &str) -> String {
        let shown = self.answer.as_ref().map_or("no answer".to_owned(), |answer| {
            let fields: Vec<String> =
                answer.fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let (length, ended) = (answer.body.len(), answer.ended);
            let fields = fields.join("\n    ");
            format!("{} with {length} bytes ({ended:?})\n    {fields}", answer.status)
        });
        let Told { id, ask, way, known, .. } = self;
        format!("{what}\n  request {id} ({way:?}): {ask:?} knowing {known:?}\n  {shown}")
    }
}

/// An answer.
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Fields.
    pub fields: Vec<(String, String)>,
    /// Bytes of the body.
    pub body: Vec<u8>,
    /// How it ended.
    pub ended: Ended,
}

impl Answer {
    /// The value of a field; several are joined.
    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.fields, name)
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }
}

/// What a client remembers of a URL: its tag and its date.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// `ETag`.
    pub tag: Option<String>,
    /// `Last-Modified`.
    pub modified: Option<String>,
}

/// All clients of a run.
#[derive(Default)]
pub struct Clients {
    known: HashMap<(u8, u8), Known>,
    /// Exchanges that are over and not judged yet.
    pub told: Arc<Mutex<Vec<Told>>>,
    /// Exchanges under way.
    pub open: Arc<std::sync::atomic::AtomicUsize>,
    /// The way that everybody goes; else each client has its own.
    way: Option<Way>,
    lines: Arc<Mutex<Lines>>,
    next: u64,
}

impl Clients {
    /// Clients that all go this way, or each its own.
    pub fn new(way: Option<Way>) -> Self {
        Clients { way, ..Clients::default() }
    }

    /// Remembers what an answer says of itself, if all of it came.
    pub fn learn(&mut self, told: &Told) {
        let whole = |answer: &&Answer| answer.status == 200 && answer.ended == Ended::Clean;
        let Some(answer) = told.answer.as_ref().filter(whole) else { return };
        let known = Known { tag: answer.field("etag"), modified: answer.field("last-modified") };
        self.known.insert((told.ask.client, told.ask.url), known);
    }

    /// Forgets the connections to a node that is no more.
    pub fn part(&mut self) {
        *self.lines.lock() = Lines::default();
    }

    /// Sends one request on the runtime this is called on. Returns its number.
    pub fn send(&mut self, scene: &Arc<Scene>, core: &Core, plan: u8, ask: &Ask) -> u64 {
        let id = self.next;
        self.next += 1;
        let known = self.known.get(&(ask.client, ask.url)).cloned().unwrap_or_default();
        let (told, open) = (self.told.clone(), self.open.clone());
        let began = (scene.tick(), scene.clock.now());
        let outage = scene.facts.lock().outages[usize::from(ask.url % HOSTS)].1;
        let mut ask = ask.clone();
        let profile = scene.facts.lock().urls[usize::from(ask.url)].0;
        if ask.method == Method::Head && profile.etag.is_none() && !profile.modified {
            // RFC 9111 4.3.5 has such a HEAD confirm whatever body of that length is stored,
            // so with an origin without validators versions may mix: not judged.
            ask.method = Method::Get;
        }
        let way = self.way.unwrap_or(Way::of(ask.client));
        let text = request(id, &ask, &known, way == Way::Hyper);
        let peer = SocketAddr::from(([10, 0, 0, 1], 1000 + u16::from(ask.client)));
        let (serve, connect) = (core.serve(), connector(core, peer));
        let lines = self.lines.clone();
        let going = Going { scene: scene.clone(), lines, ask: ask.clone(), connect };
        let scene = scene.clone();
        open.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tokio::spawn(async move {
            let head_only = ask.method == Method::Head;
            let (answer, left) = match way {
                Way::Hyper => {
                    let (ours, theirs) = tokio::io::duplex(PIPE);
                    tokio::spawn(connection(serve, theirs, peer));
                    let (raw, left) = read(&scene, ours, &text, ask.leaves).await;
                    (parse(&raw, head_only).map(|(answer, _)| answer), left)
                }
                Way::Http1 => going.http1(&text, head_only).await,
                Way::Http2 => going.http2(&text).await,
            };
            scene.stir();
            let ended = (scene.tick(), scene.clock.now());
            let one = Told { id, ask, way, known, began, ended, plan, outage, answer, left };
            told.lock().push(one);
            open.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        });
        id
    }
}

async fn connection(serve: Serve, pipe: DuplexStream, peer: SocketAddr) {
    let conn = Arc::new(Connection::in_process(u64::from(peer.port()), peer));
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (serve, conn) = (serve.clone(), conn.clone());
        async move { Ok::<_, Infallible>(serve.handle(request.map(Upload::from), conn).await) }
    });
    // A connection that is cut is what a client has to notice.
    let _ = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(pipe), service)
        .await;
}

/// Sends `text` and reads to the end, or as many bytes as the client has patience for.
async fn read(
    scene: &Scene,
    mut pipe: DuplexStream,
    text: &str,
    leaves: Option<u32>,
) -> (Vec<u8>, bool) {
    let mut raw = Vec::new();
    if pipe.write_all(text.as_bytes()).await.is_err() {
        return (raw, false);
    }
    let mut chunk = [0; PIPE];
    loop {
        scene.stir();
        if leaves.is_some_and(|leaves| raw.len() >= leaves as usize) {
            return (raw, true);
        }
        match pipe.read(&mut chunk).await {
            Ok(0) | Err(_) => return (raw, false),
            Ok(read) => raw.extend_from_slice(&chunk[..read]),
        }
    }
}

/// The answer in `raw`, and how many bytes are behind it.
pub fn parse(raw: &[u8], head_only: bool) -> Option<(Answer, usize)> {
    let mut wire = Wire::new(raw);
    let head = String::from_utf8(wire.head().ok().flatten()?).ok()?;
    let status: u16 = head.get(9..12)?.parse().ok()?;
    let fields = fields_of(&head);
    let (body, ended) = match head_only || status == 304 || status == 204 {
        true => (Vec::new(), Ended::Clean),
        false => wire.body(framing_of(&fields)),
    };
    while wire.fill().ok()? {}
    let rest = wire.rest().len();
    Some((Answer { status, fields, body, ended }, rest))
}

/// The text of a request.
fn request(id: u64, ask: &Ask, known: &Known, last: bool) -> String {
    let (host, target) = target(ask.url);
    let method = match ask.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Delete => "DELETE",
    };
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Sim: {id}\r\n");
    let mut put = |name: &str, value: &str| text += &format!("{name}: {value}\r\n");
    if last {
        put("Connection", "close");
    }
    if let Some(language) = ask.language {
        put("Accept-Language", language);
    }
    if let Some(kind) = ask.kind {
        put("X-Kind", kind);
    }
    if ask.secret {
        put("Authorization", "Basic c2lt");
    }
    match ask.control {
        Some(Control::NoCache) => put("Cache-Control", "no-cache"),
        Some(Control::NoStore) => put("Cache-Control", "no-store"),
        Some(Control::OnlyIfCached) => put("Cache-Control", "only-if-cached"),
        Some(Control::MaxAge(span)) => put("Cache-Control", &format!("max-age={span}")),
        Some(Control::MinFresh(span)) => put("Cache-Control", &format!("min-fresh={span}")),
        Some(Control::MaxStale(span)) => put("Cache-Control", &format!("max-stale={span}")),
        None => {}
    }
    match ask.range {
        Some(Range::From(from)) => put("Range", &format!("bytes={from}-")),
        Some(Range::Closed(from, to)) => put("Range", &format!("bytes={from}-{to}")),
        Some(Range::Suffix(count)) => put("Range", &format!("bytes=-{count}")),
        Some(Range::Two(one, two)) => {
            put("Range", &format!("bytes={one}-{},{two}-{}", one + 9, two + 19));
        }
        None => {}
    }
    match (ask.condition, &known.tag) {
        (Some(Condition::NoneMatch), Some(tag)) => put("If-None-Match", tag),
        (Some(Condition::NoneMatchOther), _) => put("If-None-Match", "\"other\", W/\"none\""),
        (Some(Condition::IfRange), Some(tag)) => put("If-Range", tag),
        (Some(Condition::ModifiedSince), _) => {
            if let Some(modified) = &known.modified {
                put("If-Modified-Since", modified);
            }
        }
        _ => {}
    }
    if ask.method == Method::Post {
        put("Content-Length", "3");
        return text + "\r\nx=1";
    }
    text + "\r\n"
}
