//! Are the bytes those of the version, and of the range that was asked for?

use super::client::{Answer, Told};
use super::scene::Version;
use super::step::{Method, Range};
use crate::support::Ended;

/// Checks the body of an answer that claims to be of `version`.
pub fn check(told: &Told, answer: &Answer, version: &Version) -> Result<(), String> {
    if told.ask.method == Method::Head || answer.status == 304 {
        return Ok(());
    }
    match answer.status {
        206 => partial(told, answer, version),
        416 => unsatisfiable(told, answer, version),
        _ => {
            if answer.status != version.profile.status {
                return Err(format!("status of version is {}", version.profile.status));
            }
            bytes(answer, &answer.body, &version.body, "whole")
        }
    }
}

/// `got` is all of `wanted`, or its beginning if the answer was cut.
fn bytes(answer: &Answer, got: &[u8], wanted: &[u8], what: &str) -> Result<(), String> {
    let same = match answer.ended {
        Ended::Clean => got == wanted,
        Ended::Cut => wanted.starts_with(got),
        Ended::Garbled => false,
    };
    if same {
        return Ok(());
    }
    let at = got.iter().zip(wanted).position(|(one, two)| one != two);
    let at = at.unwrap_or(got.len().min(wanted.len()));
    let show = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[at.min(bytes.len())..(at + 24).min(bytes.len())])
            .into_owned()
    };
    Err(format!(
        "{what}: {} bytes ({:?}) instead of {}, first difference at {at}: {:?} instead of {:?}",
        got.len(),
        answer.ended,
        wanted.len(),
        show(got),
        show(wanted)
    ))
}

fn partial(told: &Told, answer: &Answer, version: &Version) -> Result<(), String> {
    let Some(range) = told.ask.range else { return Err("206 to a request without range".into()) };
    let kind = answer.field("content-type").unwrap_or_default();
    if let Some(boundary) = kind.strip_prefix("multipart/byteranges; boundary=") {
        return multipart(answer, version, boundary);
    }
    let said = answer.field("content-range").unwrap_or_default();
    let (first, last) = span(&said, version)?;
    let total = version.body.len();
    let wanted = match range {
        Range::From(from) => (from as usize, total - 1),
        Range::Closed(from, to) => (from as usize, (to as usize).min(total - 1)),
        Range::Suffix(count) => (total.saturating_sub(count as usize), total - 1),
        Range::Two(..) => (first, last),
    };
    if (first, last) != wanted {
        return Err(format!("asked for {range:?} of {total}, got {said}"));
    }
    bytes(answer, &answer.body, &version.body[first..=last], "part")
}

/// Reads `bytes a-b/total`.
fn span(said: &str, version: &Version) -> Result<(usize, usize), String> {
    let parsed = said.strip_prefix("bytes ").and_then(|rest| {
        let (span, total) = rest.split_once('/')?;
        let (first, last) = span.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
    });
    let Some((first, last, total)) = parsed else { return Err(format!("range {said:?}")) };
    let sound = total == version.body.len() && first <= last && last < total;
    if sound { Ok((first, last)) } else { Err(format!("range {said:?} of {}", version.body.len())) }
}

fn multipart(answer: &Answer, version: &Version, boundary: &str) -> Result<(), String> {
    if answer.ended != Ended::Clean {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&answer.body);
    let text = text.strip_suffix(&format!("\r\n--{boundary}--\r\n")).ok_or("no last boundary")?;
    for part in text.split(&format!("--{boundary}\r\n")).skip(1) {
        let (head, body) = part.split_once("\r\n\r\n").ok_or("a part without head")?;
        let said = head.lines().find_map(|line| line.strip_prefix("Content-Range: "));
        let (first, last) = span(said.unwrap_or_default(), version)?;
        let body = body.strip_suffix("\r\n").filter(|_| body.len() > last - first + 1);
        let body = body.unwrap_or(part.split_once("\r\n\r\n").map_or("", |(_, body)| body));
        bytes(answer, body.as_bytes(), &version.body[first..=last], "part of several")?;
    }
    Ok(())
}

fn unsatisfiable(told: &Told, answer: &Answer, version: &Version) -> Result<(), String> {
    if told.ask.range.is_none() {
        return Err("416 to a request without range".into());
    }
    let said = answer.field("content-range").unwrap_or_default();
    let total = version.body.len();
    let out = match told.ask.range {
        Some(Range::From(from) | Range::Closed(from, _)) => from as usize >= total,
        Some(Range::Suffix(count)) => count == 0 || total == 0,
        Some(Range::Two(one, two)) => one as usize >= total && two as usize >= total,
        None => false,
    };
    let named = said.is_empty() || said == format!("bytes */{total}");
    if out && named { Ok(()) } else { Err(format!("416 with {said:?} of {total}")) }
}
