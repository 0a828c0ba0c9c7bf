//! One exchange as one line: JSON or the combined format, appended to a byte buffer.
//!
//! Nothing is allocated: numbers are written without the formatting machinery, the date is
//! made once a second and kept, text is copied in runs. Whatever a client can choose is
//! escaped byte by byte, so that a line is always one line of printable ASCII and a terminal
//! that shows it is safe. serde and `format!` were rejected for this one path: they cost
//! more than the whole rest of a hit's bookkeeping.

use std::io::Write;
use std::net::IpAddr;

use super::exchange::Exchange;
use crate::base::Now;

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object with the cache's words.
    #[default]
    Json,
    /// Apache's combined format, then cache word, source and seconds.
    Combined,
}

/// Longest client-chosen text in a line, in bytes before escaping; the rest is cut.
const TEXT_MAX: usize = 8 * 1024;

/// Bytes of a usual line.
const LINE_ROOM: usize = 512;

/// The date text of the current second.
#[derive(Debug, Default)]
pub struct DateCache {
    second: Option<u64>,
    rfc3339: [u8; 19],
    clf: [u8; 20],
}

/// Appends `exchange` as one line with its line feed.
pub fn write(format: Format, exchange: &Exchange<'_>, dates: &mut DateCache, out: &mut Vec<u8>) {
    dates.turn(exchange.now);
    match format {
        Format::Json => json(exchange, dates, out),
        Format::Combined => combined(exchange, dates, out),
    }
}

fn json(exchange: &Exchange<'_>, dates: &DateCache, out: &mut Vec<u8>) {
    let outcome = exchange.outcome;
    // Room for what is usual, so that it is asked for once.
    out.reserve(LINE_ROOM);
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(&dates.rfc3339);
    let millis = exchange.now.wall_ms % 1000;
    let [a, b, c] = [millis / 100, millis / 10 % 10, millis % 10].map(|at| digit(at as u8));
    out.extend_from_slice(&[b'.', a, b, c]);
    out.extend_from_slice(b"Z\",\"peer\":\"");
    address(exchange.peer.ip(), out);
    text("\",\"site\":\"", exchange.site.as_bytes(), out);
    text("\",\"method\":\"", exchange.method.as_bytes(), out);
    word("\",\"scheme\":\"", exchange.scheme.as_str(), out);
    text("\",\"host\":\"", exchange.host.as_bytes(), out);
    text("\",\"target\":\"", exchange.target.as_bytes(), out);
    word("\",\"protocol\":\"", exchange.protocol(), out);
    number("\",\"status\":", u64::from(exchange.status), out);
    number(",\"bytes\":", exchange.bytes, out);
    number(",\"duration_us\":", micros(exchange.duration), out);
    number(",\"ttfb_us\":", micros(exchange.ttfb), out);
    word(",\"cache\":\"", outcome.class().word(), out);
    word("\",\"source\":\"", outcome.source.word(), out);
    out.push(b'"');
    if let Some(fwd) = outcome.fwd {
        word(",\"fwd\":\"", fwd.word(), out);
        out.push(b'"');
    }
    if let Some(status) = outcome.fwd_status {
        number(",\"fwd_status\":", u64::from(status), out);
    }
    if let Some(ttl) = outcome.ttl {
        out.extend_from_slice(b",\"ttl\":");
        if ttl < 0 {
            out.push(b'-');
        }
        digits(ttl.unsigned_abs(), out);
    }
    for (name, set) in [
        (",\"stored\":true", outcome.stored),
        (",\"collapsed\":true", outcome.collapsed),
        (",\"complete\":false", !exchange.complete),
    ] {
        if set {
            out.extend_from_slice(name.as_bytes());
        }
    }
    let detail = outcome.detail.map(str::as_bytes);
    let fault = outcome.fault.map(|fault| fault.word().as_bytes());
    for (name, value) in [
        (",\"detail\":\"", detail),
        (",\"fault\":\"", fault),
        (",\"user_agent\":\"", exchange.user_agent),
        (",\"referer\":\"", exchange.referer),
        (",\"request_id\":\"", exchange.request_id),
    ] {
        if let Some(value) = value {
            text(name, value, out);
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"}\n");
}

fn combined(exchange: &Exchange<'_>, dates: &DateCache, out: &mut Vec<u8>) {
    address(exchange.peer.ip(), out);
    out.extend_from_slice(b" - - [");
    out.extend_from_slice(&dates.clf);
    out.extend_from_slice(b" +0000] \"");
    escape(exchange.method.as_bytes(), Style::Hex, out);
    out.push(b' ');
    escape(exchange.target.as_bytes(), Style::Hex, out);
    out.extend_from_slice(if exchange.http2 { b" HTTP/2.0\" " } else { b" HTTP/1.1\" " });
    digits(u64::from(exchange.status), out);
    out.push(b' ');
    digits(exchange.bytes, out);
    for value in [exchange.referer, exchange.user_agent] {
        out.extend_from_slice(b" \"");
        escape(value.unwrap_or(b"-"), Style::Hex, out);
        out.push(b'"');
    }
    out.push(b' ');
    out.extend_from_slice(exchange.outcome.class().word().as_bytes());
    out.push(b' ');
    out.extend_from_slice(exchange.outcome.source.word().as_bytes());
    out.push(b' ');
    let millis = exchange.duration.as_millis() as u64;
    digits(millis / 1000, out);
    out.push(b'.');
    let rest = millis % 1000;
    out.extend([(rest / 100) as u8, (rest / 10 % 10) as u8, (rest % 10) as u8].map(digit));
    out.push(b'\n');
}

/// What comes before a value, its opening quote included, and the value escaped. The closing
/// quote is the next one's, so that a line is written in few steps.
fn text(before: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(before.as_bytes());
    escape(value, Style::Json, out);
}

/// The same for a word of ours, which needs no escaping.
fn word(before: &str, value: &'static str, out: &mut Vec<u8>) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(value.as_bytes());
}

fn number(name: &str, value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    digits(value, out);
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn digit(value: u8) -> u8 {
    b'0' + value
}

fn digits(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn address(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                digits(u64::from(octet), out);
            }
        }
        // Rarer and harder; a write into a Vec cannot fail.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
}

#[derive(Clone, Copy)]
enum Style {
    Json,
    Hex,
}

/// Copies runs of plain bytes; quotes, backslashes, controls and everything outside ASCII
/// become `\u00XX` or `\xXX`.
fn escape(value: &[u8], style: Style, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let plain = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\');
    let mut rest = value.get(..TEXT_MAX).unwrap_or(value);
    // Nearly always true, and without branches it is asked many bytes at a time.
    if rest.iter().fold(true, |all, byte| all & plain(byte)) {
        return out.extend_from_slice(rest);
    }
    while !rest.is_empty() {
        let run = rest.iter().position(|byte| !plain(byte)).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(run);
        out.extend_from_slice(head);
        let Some((byte, after)) = tail.split_first() else { return };
        if matches!(byte, b'"' | b'\\') {
            out.extend([b'\\', *byte]);
        } else {
            let prefix: &[u8] = match style {
                Style::Json => b"\\u00",
                Style::Hex => b"\\x",
            };
            out.extend_from_slice(prefix);
            let nibble = |at: u8| HEX.get(usize::from(at & 15)).copied().unwrap_or(b'0');
            out.extend([nibble(byte >> 4), nibble(*byte)]);
        }
        rest = after;
    }
}

impl DateCache {
    /// Makes the texts for the second of `now` if they are of another.
    fn turn(&mut self, now: Now) {
        let second = now.wall_secs();
        if self.second == Some(second) {
            return;
        }
        self.second = Some(second);
        let (year, month, day) = civil(second / 86_400);
        let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
        let name = MONTHS.get(month as usize - 1).unwrap_or(&"Jan");
        let mut rfc3339 = self.rfc3339.as_mut_slice();
        let mut clf = self.clf.as_mut_slice();
        // Years after 9999 do not fit and leave the text of before: harmless.
        let _ = write!(rfc3339, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        let _ = write!(clf, "{day:02}/{name}/{year:04}:{hour:02}:{minute:02}:{second:02}");
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Days since 1970-01-01 to year, month, day (Howard Hinnant's algorithm, for days >= 0).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// `seconds` since the Unix epoch as `2026-11-22T17:00:00Z`.
pub fn rfc3339(seconds: u64) -> String {
    let mut dates = DateCache::default();
    dates.turn(Now { mono_ms: 0, wall_ms: seconds.saturating_mul(1000) });
    format!("{}Z", String::from_utf8_lossy(&dates.rfc3339))
}
