//! One line of a log or of a csv trace.
//!
//! | form | recognised by |
//! |---|---|
//! | JSON lines: Brink, nginx (any usual field names), Caddy | a brace |
//! | csv with a header: `time,id,size[,ttl][,class][,variant]` in any order | column names |
//! | csv of libCacheSim, no header | three or more numbers |
//! | Common and Combined Log Format, Varnish's too | otherwise |

use serde_json::Value;

use super::NO_TTL;
use super::time;

/// 1 TiB. A larger size is no object's, and the sum of all must fit in 64 bits.
const SIZE_MAX: u64 = 1 << 40;

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) at_ms: i64,
    pub(super) name: Vec<u8>,
    pub(super) size: u64,
    /// Whether `size` is the whole object: a 200 to a GET that was sent to its end.
    pub(super) whole: bool,
    pub(super) ttl_s: u32,
    /// What kind of content it is, where the trace says so.
    pub(super) class: Vec<u8>,
    /// Which variant of the name (RFC 9111 4.1), where the trace says so.
    pub(super) variant: Vec<u8>,
}

/// How lines are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Csv(Columns),
    Log,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    time: usize,
    id: usize,
    size: usize,
    ttl: Option<usize>,
    class: Option<usize>,
    variant: Option<usize>,
    pub(super) header: bool,
}

impl Form {
    /// Guesses from the first line.
    pub(super) fn guess(line: &str) -> Form {
        if line.trim_start().starts_with('{') {
            return Form::Json;
        }
        let fields: Vec<&str> =
            line.split(',').map(|field| field.trim().trim_matches('"')).collect();
        let column = |names: &[&str]| {
            fields
                .iter()
                .position(|field| names.iter().any(|name| field.eq_ignore_ascii_case(name)))
        };
        let id = column(&["id", "obj_id", "obj-id", "object", "key", "url"]);
        if let (Some(id), Some(size)) = (id, column(&["size", "obj_size", "obj-size", "bytes"])) {
            let time = column(&["time", "timestamp", "clock_time", "ts"]).unwrap_or(usize::MAX);
            let (ttl, class) = (column(&["ttl"]), column(&["class"]));
            let variant = column(&["variant", "vary"]);
            return Form::Csv(Columns { time, id, size, ttl, class, variant, header: true });
        }
        let numbers = fields.iter().filter(|field| field.parse::<f64>().is_ok()).count();
        if fields.len() >= 3 && numbers == fields.len() {
            let (ttl, class, variant) = (None, None, None);
            return Form::Csv(Columns {
                time: 0,
                id: 1,
                size: 2,
                ttl,
                class,
                variant,
                header: false,
            });
        }
        Form::Log
    }

    /// The word for reports.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Form::Json => "JSON lines",
            Form::Csv(_) => "csv",
            Form::Log => "access log",
        }
    }

    /// Reads one line: `Err` if it is none of this form, `Ok(None)` if it is a request
    /// that no cache would answer (method or status).
    pub(super) fn parse(&self, line: &str) -> Result<Option<Line>, ()> {
        let read = match self {
            Form::Json => json(line)?,
            Form::Csv(columns) => Some(csv(line, columns).ok_or(())?),
            Form::Log => log(line)?,
        };
        if read.as_ref().is_some_and(|line| line.size > SIZE_MAX) {
            return Err(());
        }
        Ok(read)
    }
}

fn csv(line: &str, columns: &Columns) -> Option<Line> {
    let mut wanted = [None; 6];
    let columns = [
        Some(columns.time),
        Some(columns.id),
        Some(columns.size),
        columns.ttl,
        columns.class,
        columns.variant,
    ];
    for (at, field) in line.split(',').enumerate() {
        for (slot, column) in wanted.iter_mut().zip(columns) {
            if column == Some(at) {
                *slot = Some(field.trim().trim_matches('"'));
            }
        }
    }
    let text = |slot: Option<&str>| slot.unwrap_or_default().as_bytes().to_vec();
    Some(Line {
        at_ms: wanted[0].map_or(Some(0), time::parse)?,
        name: wanted[1].filter(|id| !id.is_empty())?.as_bytes().to_vec(),
        size: wanted[2]?.parse().ok()?,
        whole: true,
        ttl_s: match wanted[3] {
            Some(ttl) if !ttl.is_empty() => ttl.parse::<f64>().ok()? as u32,
            _ => NO_TTL,
        },
        class: text(wanted[4]),
        variant: text(wanted[5]),
    })
}

/// `peer ident user [time] "METHOD target HTTP/x" status bytes ...`
fn log(line: &str) -> Result<Option<Line>, ()> {
    let (_, rest) = line.split_once('[').ok_or(())?;
    let (stamp, rest) = rest.split_once(']').ok_or(())?;
    let (_, rest) = rest.split_once('"').ok_or(())?;
    let (request, rest) = rest.split_once('"').ok_or(())?;
    let mut words = request.split(' ');
    let (method, target) = (words.next().ok_or(())?, words.next().ok_or(())?);
    let mut numbers = rest.split_whitespace();
    let status: u16 = numbers.next().and_then(|status| status.parse().ok()).ok_or(())?;
    let bytes = numbers.next().ok_or(())?;
    // A body that was not sent is written as a dash.
    let bytes = if bytes == "-" { 0 } else { bytes.parse().map_err(drop)? };
    let at_ms = time::parse(stamp).ok_or(())?;
    Ok(exchange(at_ms, method, "", target, status, bytes, true))
}

fn json(line: &str) -> Result<Option<Line>, ()> {
    let document: Value = serde_json::from_str(line).map_err(drop)?;
    // Caddy has the request as an object of its own.
    let inner = document.get("request").filter(|inner| inner.is_object());
    let field = |names: &[&str]| {
        names.iter().find_map(|name| {
            inner.and_then(|inner| inner.get(*name)).or_else(|| document.get(*name))
        })
    };
    let text = |names: &[&str]| match field(names) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let stamp =
        text(&["time", "ts", "msec", "timestamp", "@timestamp", "time_iso8601", "time_local"]);
    let at_ms = stamp.as_deref().and_then(time::parse).ok_or(())?;
    // nginx's $request is the whole request line.
    let line = text(&["request"]).unwrap_or_default();
    let mut words = line.split(' ');
    let (line_method, line_target) = (words.next(), words.next());
    let method = text(&["method", "request_method"]);
    let method = method.as_deref().or(line_method).unwrap_or("GET");
    let target = text(&["target", "uri", "request_uri", "url", "path"]);
    let target = target.as_deref().or(line_target).ok_or(())?;
    let host = text(&["host", "http_host", "server_name", "vhost"]).unwrap_or_default();
    let status = text(&["status"]).and_then(|status| status.parse().ok()).ok_or(())?;
    let bytes = text(&["bytes", "body_bytes_sent", "size", "bytes_sent", "resp_size"]);
    let bytes = bytes.and_then(|bytes| bytes.parse().ok()).ok_or(())?;
    let complete = !matches!(document.get("complete"), Some(Value::Bool(false)));
    let mut read = exchange(at_ms, method, &host, target, status, bytes, complete);
    // nginx: log what the answer varied by, for example $http_accept_encoding, as `variant`.
    if let (Some(line), Some(variant)) = (&mut read, text(&["variant", "vary"])) {
        line.variant = variant.into_bytes();
    }
    Ok(read)
}

/// Which exchanges count: GET and HEAD with an answer that is stored, or was validated.
fn exchange(
    at_ms: i64,
    method: &str,
    host: &str,
    target: &str,
    status: u16,
    bytes: u64,
    complete: bool,
) -> Option<Line> {
    let head = method == "HEAD";
    if !(head || method == "GET") || !matches!(status, 200 | 203 | 206 | 304) {
        return None;
    }
    let name = [host.as_bytes(), target.as_bytes()].concat();
    let whole = complete && !head && matches!(status, 200 | 203);
    let (class, variant) = (Vec::new(), Vec::new());
    Some(Line { at_ms, name, size: bytes, whole, ttl_s: NO_TTL, class, variant })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_recognised_and_read() {
        let combined = r#"127.0.0.1 - - [22/Nov/2026:17:01:27 +0000] "GET /a?b=1 HTTP/1.1" 200 512 "-" "curl/8""#;
        let brink = r#"{"time":"2026-11-22T17:01:27.000Z","method":"GET","host":"h","target":"/a?b=1","status":200,"bytes":512,"cache":"hit"}"#;
        let nginx = r#"{"time_iso8601":"2026-11-22T17:01:27+00:00","request":"GET /a?b=1 HTTP/1.1","status":"200","body_bytes_sent":"512"}"#;
        let caddy = r#"{"ts":1795366887.0,"request":{"method":"GET","host":"h","uri":"/a?b=1"},"size":512,"status":200}"#;
        let plain = "1795366887,/a?b=1,512";
        for (header, line) in [
            (combined, combined),
            (brink, brink),
            (nginx, nginx),
            (caddy, caddy),
            ("time,id,size", plain),
            ("1795366887,17,512", plain),
        ] {
            let read = Form::guess(header).parse(line).unwrap().unwrap();
            assert_eq!(
                (read.at_ms, read.size, read.whole),
                (1_795_366_887_000, 512, true),
                "{line}"
            );
            assert!(read.name.ends_with(b"/a?b=1"), "{line}");
        }
    }

    #[test]
    fn what_no_cache_answers_is_left_out_and_noise_is_an_error() {
        let line = |request: &str, status: u16| {
            Form::Log.parse(&format!("h - - [22/Nov/2026:17:01:27 +0000] \"{request}\" {status} -"))
        };
        assert_eq!(line("POST /a HTTP/1.1", 200), Ok(None));
        assert_eq!(line("GET /a HTTP/1.1", 404), Ok(None));
        assert!(!line("GET /a HTTP/1.1", 304).unwrap().unwrap().whole);
        assert!(!line("HEAD /a HTTP/1.1", 200).unwrap().unwrap().whole);
        for noise in ["", "hello", "[x] \"GET / HTTP/1.1\" 200 1", "h [1] \"GET\" 200 1"] {
            assert!(Form::Log.parse(noise).is_err(), "{noise}");
        }
    }
}
