//! The scripted origins: they read requests off pipes and answer as the scene says.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use brink::origin::Upstream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::scene::{Reply, Scene, Version};
use super::step::{Fault, HOSTS};
use crate::support::answer::{field, fields_of, head_end};

/// Bytes that a pipe holds.
pub const PIPE: usize = 8 << 10;

/// Gives the node a pipe to an origin for each connection it opens.
pub struct Origins(pub Arc<Scene>);

impl std::fmt::Debug for Origins {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Origins")
    }
}

impl Upstream for Origins {
    fn open(&self, server: &str) -> io::Result<DuplexStream> {
        let host = usize::from(server == "b");
        let mut facts = self.0.facts.lock();
        if let Some((Fault::Refuse, _)) = facts.faults[host] {
            facts.next_fault(host);
            drop(facts);
            self.0.note(host, false);
            (0..super::step::URLS)
                .filter(|url| usize::from(url % HOSTS) == host)
                .for_each(|url| self.0.failed(url));
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        drop(facts);
        let (ours, theirs) = tokio::io::duplex(PIPE);
        tokio::spawn(serve(self.0.clone(), host, ours));
        Ok(theirs)
    }
}

/// One request as the origin read it.
struct Heard {
    id: u64,
    method: String,
    url: u8,
    fields: Vec<(String, String)>,
    tick: u64,
    at_ms: u64,
}

impl Heard {
    fn field(&self, name: &str) -> Option<String> {
        field(&self.fields, name)
    }
}

async fn serve(scene: Arc<Scene>, host: usize, mut pipe: DuplexStream) {
    let mut buffer = Vec::new();
    while let Some(heard) = hear(&scene, &mut pipe, &mut buffer).await {
        if answer(&scene, host, &heard, &mut pipe).await.is_none() {
            return;
        }
    }
}

async fn hear(scene: &Scene, pipe: &mut DuplexStream, buffer: &mut Vec<u8>) -> Option<Heard> {
    let end = loop {
        match head_end(buffer) {
            Some(end) => break end,
            None => more(scene, pipe, buffer).await?,
        }
    };
    let head = String::from_utf8(buffer.drain(..end + 4).collect()).ok()?;
    let fields = fields_of(&head);
    let length = field(&fields, "content-length").map_or(0, |length| length.parse().unwrap_or(0));
    while buffer.len() < length {
        more(scene, pipe, buffer).await?;
    }
    buffer.drain(..length);
    let mut words = head.split(' ');
    let method = words.next()?.to_owned();
    let path = words.next()?.split('?').next()?.rsplit('/').next()?;
    let id = field(&fields, "x-sim")?.parse().ok()?;
    let tick = scene.tick();
    let at_ms = scene.clock.now().mono_ms;
    scene.facts.lock().seen.entry(id).or_insert(at_ms);
    Some(Heard { id, method, url: path.parse().ok()?, fields, tick, at_ms })
}

async fn more(scene: &Scene, pipe: &mut DuplexStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 4096];
    let read = pipe.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
    scene.stir();
    buffer.extend_from_slice(&chunk[..read]);
    Some(())
}

/// Waits while the host is held.
async fn released(scene: &Scene, host: usize) {
    loop {
        let notified = scene.released.notified();
        if !scene.facts.lock().held[host] {
            return;
        }
        notified.await;
        scene.stir();
    }
}

/// Answers; none when the connection is over.
async fn answer(scene: &Scene, host: usize, heard: &Heard, pipe: &mut DuplexStream) -> Option<()> {
    let early = heard.id.is_multiple_of(3);
    if !early {
        released(scene, host).await;
    }
    let fault = scene.facts.lock().next_fault(host);
    if fault.is_some_and(|fault| fault != Fault::Long) {
        scene.failed(heard.url);
    }
    let headless =
        matches!(fault, Some(Fault::Refuse | Fault::Silent | Fault::Garbage | Fault::CutHead));
    if headless {
        scene.note(host, false);
    }
    match fault {
        Some(Fault::Refuse | Fault::Silent) => return None,
        Some(Fault::Garbage) => {
            send(scene, pipe, b"HTP/1.1 yes\r\n\r\n").await?;
            return None;
        }
        _ => {}
    }
    let (head, body) = compose(scene, heard, fault);
    if fault == Some(Fault::CutHead) {
        send(scene, pipe, &head.as_bytes()[..head.len() / 2]).await?;
        return None;
    }
    send(scene, pipe, head.as_bytes()).await?;
    let whole = body.len();
    let sent = match fault {
        Some(Fault::CutBody(share)) => whole * usize::from(share) / 100,
        _ => whole,
    };
    let half = sent / 2;
    send(scene, pipe, &body[..half]).await?;
    if early && half < sent {
        released(scene, host).await;
    }
    send(scene, pipe, &body[half..sent]).await?;
    match fault {
        Some(Fault::CutBody(_)) => return None,
        Some(Fault::Long) => send(scene, pipe, b"and more").await?,
        _ => {}
    }
    let tick = scene.tick();
    let facts = scene.facts.lock();
    if let Some(reply) = facts.replies.iter().rev().find(|reply| reply.request == heard.id) {
        reply.whole.store(tick, Ordering::Relaxed);
    }
    Some(())
}

async fn send(scene: &Scene, pipe: &mut DuplexStream, bytes: &[u8]) -> Option<()> {
    for piece in bytes.chunks(PIPE / 2) {
        pipe.write_all(piece).await.ok()?;
        scene.stir();
    }
    Some(())
}

/// Head and framed body of the answer.
fn compose(scene: &Scene, heard: &Heard, fault: Option<Fault>) -> (String, Vec<u8>) {
    let asked = (heard.field("accept-language"), heard.field("x-kind"));
    let now = scene.clock.now();
    let mut facts = scene.facts.lock();
    let fails = |status: u16| match fault {
        Some(Fault::Status(status)) => Some(status),
        _ if heard.method == "DELETE" => Some(404),
        _ if heard.method == "POST" => Some(200),
        _ => (status == 0).then_some(500),
    };
    let profile = facts.urls[usize::from(heard.url)].0;
    let status = fails(profile.status);
    if heard.method == "POST" && status == Some(200) {
        facts.urls[usize::from(heard.url)].1 += 1;
    }
    let (number, version) = facts.version(heard.url, asked, status);
    let (status, span) = choose(heard, &version);
    facts.tick += 1;
    let serial = facts.replies.len();
    let reply = Reply {
        version: version.clone(),
        number,
        request: heard.id,
        secret: heard.field("authorization").is_some(),
        no_store: heard.field("cache-control").is_some_and(|text| text == "no-store"),
        status,
        body: heard.method != "HEAD" && status != 304,
        heard: heard.tick,
        said: facts.tick,
        whole: AtomicU64::new(0),
        at: now,
        delay_ms: now.mono_ms - heard.at_ms,
        tried_ms: now.mono_ms - facts.seen.get(&heard.id).unwrap_or(&heard.at_ms),
        run: facts.run,
        steps: (facts.slips, facts.leaps),
    };
    if status == 304 || heard.method == "HEAD" {
        facts.confirmed.insert(heard.id, number);
    }
    if reply.body {
        let brought = facts.brought.entry(number).or_default();
        *brought = heard.tick.max(*brought);
    }
    facts.replies.push(Arc::new(reply));
    drop(facts);
    let bad = matches!(status, 500 | 502 | 503 | 504);
    if bad {
        scene.failed(heard.url);
    }
    if fault != Some(Fault::CutHead) {
        scene.note(usize::from(heard.url % HOSTS), !bad);
    }
    let mut head = format!("HTTP/1.1 {status} X\r\nX-Reply: {serial}\r\nX-Version: {number}\r\n");
    say(&version, now.wall_secs(), &mut head);
    let bytes = match span {
        Some((first, last)) => {
            let total = version.body.len();
            head += &format!("Content-Range: bytes {first}-{last}/{total}\r\n");
            version.body[first..=last].to_vec()
        }
        None if matches!(status, 304 | 416) => Vec::new(),
        None => version.body.clone(),
    };
    frame(heard, &version, status, (head, bytes), fault)
}

/// Adds the framing; HEAD and 304 say a length and send nothing.
fn frame(
    heard: &Heard,
    version: &Version,
    status: u16,
    (mut head, bytes): (String, Vec<u8>),
    fault: Option<Fault>,
) -> (String, Vec<u8>) {
    if status == 304 {
        head += "\r\n";
        return (head, Vec::new());
    }
    let chunked = version.profile.chunked && fault != Some(Fault::Long);
    match chunked {
        true => head += "Transfer-Encoding: chunked\r\n\r\n",
        false => head += &format!("Content-Length: {}\r\n\r\n", bytes.len()),
    }
    if heard.method == "HEAD" {
        return (head, Vec::new());
    }
    if !chunked {
        return (head, bytes);
    }
    let mut framed = Vec::with_capacity(bytes.len() + 64);
    for chunk in bytes.chunks(3000) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    (head, framed)
}

/// Status and span of the answer to a conditional or range request.
fn choose(heard: &Heard, version: &Version) -> (u16, Option<(usize, usize)>) {
    let profile = &version.profile;
    if !matches!(heard.method.as_str(), "GET" | "HEAD") || profile.status != 200 {
        return (profile.status, None);
    }
    let opaque = |tag: &str| tag.trim_start_matches("W/").to_owned();
    let own = version.etag.as_deref();
    if let Some(wanted) = heard.field("if-none-match") {
        if own.is_some_and(|own| wanted.split(", ").any(|tag| opaque(tag) == opaque(own))) {
            return (304, None);
        }
    } else if let (Some(since), Some(modified)) =
        (heard.field("if-modified-since"), version.modified)
        && httpdate::parse_http_date(&since).is_ok_and(|since| since >= date(modified))
    {
        return (304, None);
    }
    let holds = heard.field("if-range").is_none_or(|tag| own == Some(&tag) && tag.starts_with('"'));
    let range = heard.field("range").filter(|_| profile.ranges && holds && heard.method == "GET");
    let Some(range) = range else { return (200, None) };
    let total = version.body.len();
    let text = range.trim_start_matches("bytes=");
    let Some((low, high)) = text.split_once('-').filter(|_| !text.contains(',')) else {
        return (200, None);
    };
    let (first, last) = match (low.parse::<usize>(), high.parse::<usize>()) {
        (Ok(first), Ok(last)) => (first, last.min(total.saturating_sub(1))),
        (Ok(first), Err(_)) => (first, total.saturating_sub(1)),
        (Err(_), Ok(0)) => return (416, None),
        (Err(_), Ok(suffix)) => (total.saturating_sub(suffix), total.saturating_sub(1)),
        (Err(_), Err(_)) => return (200, None),
    };
    if first >= total || last < first { (416, None) } else { (206, Some((first, last))) }
}

/// Unix time in seconds as the crate's type.
fn date(seconds: u64) -> std::time::SystemTime {
    std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}

/// The fields that a version always comes with.
fn say(version: &Version, now: u64, head: &mut String) {
    let profile = &version.profile;
    let mut put = |name: &str, value: String| *head += &format!("{name}: {value}\r\n");
    let http = |seconds| httpdate::fmt_http_date(date(seconds));
    put("Date", http(now));
    let spans = [
        ("max-age", profile.max_age),
        ("s-maxage", profile.s_maxage),
        ("stale-while-revalidate", profile.swr),
        ("stale-if-error", profile.sie),
    ];
    let spans = spans.iter().filter_map(|(name, span)| span.map(|span| format!("{name}={span}")));
    let control: Vec<String> = spans.chain(profile.word.map(str::to_owned)).collect();
    if !control.is_empty() {
        put("Cache-Control", control.join(", "));
    }
    if let Some(span) = profile.targeted {
        put("CDN-Cache-Control", format!("max-age={span}"));
    }
    if let Some(span) = profile.expires {
        put("Expires", http(now.saturating_add_signed(span.into())));
    }
    if let Some(vary) = profile.vary {
        put("Vary", vary.to_owned());
    }
    if let Some(tag) = &version.etag {
        put("ETag", tag.clone());
    }
    if let Some(modified) = version.modified {
        put("Last-Modified", http(modified));
    }
    if let Some(age) = profile.age {
        put("Age", age.to_string());
    }
    if profile.cookie {
        put("Set-Cookie", "who=me".to_owned());
    }
    if profile.tags > 0 {
        let tags = (0..super::step::TAGS).filter(|tag| profile.tags & (1 << tag) != 0);
        put("Surrogate-Key", tags.map(|tag| format!("t{tag}")).collect::<Vec<_>>().join(" "));
    }
}
