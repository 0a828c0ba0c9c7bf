//! The head of an HTTP/1 answer, read strictly: what it says of its body, and its fields.
//!
//! One pass over the bytes where they lie, for both who read answers: the guard under hyper,
//! which needs the framing alone, and the client of our own, which keeps the fields too
//! (`bare`). Two readers of one head could be of two opinions. Pure.

use memchr::memchr;

use super::framing::{Expect, FIELDS_MAX, Framing, HEAD_BYTES_MAX};

/// What of a head decides the framing, and the fate of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub status: u16,
    /// `HTTP/1.x`.
    pub minor: u8,
    pub length: Option<u64>,
    /// There is a Transfer-Encoding; `chunked` if that is what it says.
    pub coded: bool,
    pub chunked: bool,
    /// `Connection` says so.
    pub close: bool,
    pub keep_alive: bool,
}

/// What comes after a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another head.
    Interim,
    /// Another protocol.
    Tunnel,
    /// The next answer.
    Nothing,
    /// Of zero bytes too.
    Length(u64),
    Chunked,
    Close,
}

impl Next {
    /// The framing of the body.
    pub fn framing(self) -> Framing {
        match self {
            Next::Interim | Next::Nothing => Framing::None,
            Next::Tunnel => Framing::Tunnel,
            Next::Length(_) => Framing::Length,
            Next::Chunked => Framing::Chunked,
            Next::Close => Framing::Close,
        }
    }
}

impl Head {
    /// What comes next, given what was asked (RFC 9112 6.3).
    pub fn next(&self, expect: Expect) -> Result<Next, &'static str> {
        match self.status {
            101 if expect.upgrade => return Ok(Next::Tunnel),
            101 => return Err("101 although no upgrade was asked for"),
            100..=199 if self.length.is_some() || self.coded => {
                return Err("an interim answer with a body");
            }
            100..=199 => return Ok(Next::Interim),
            // RFC 9110 8.6: no length in a 204; the harmless zero is common.
            204 if self.coded || self.length.is_some_and(|length| length > 0) => {
                return Err("204 with a body");
            }
            _ => {}
        }
        Ok(match self.length {
            _ if expect.head || matches!(self.status, 204 | 304) => Next::Nothing,
            _ if self.chunked => Next::Chunked,
            Some(length) => Next::Length(length),
            None => Next::Close,
        })
    }

    /// Whether the connection stays open after the answer (RFC 9112 9.3).
    pub fn persists(&self) -> bool {
        !self.close && (self.minor > 0 || self.keep_alive)
    }
}

/// Refuses what does not begin like a status line, as early as it can be seen.
pub(super) fn check_start(bytes: &[u8]) -> Result<(), &'static str> {
    let seen = bytes.len().min(START.len());
    if bytes.get(..seen) == START.get(..seen) { Ok(()) } else { Err("not an HTTP/1 answer") }
}

/// Reads a whole head including its empty line; `each` hears of every field.
pub(super) fn parse<'a>(
    head: &'a [u8],
    mut each: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), &'static str>,
) -> Result<Head, &'static str> {
    if head.len() > HEAD_BYTES_MAX {
        return Err("the head of the answer is too large");
    }
    let mut lines = Lines { rest: head };
    let (status, minor) = status_line(lines.next_line()?)?;
    let mut out = Head {
        status,
        minor,
        length: None,
        coded: false,
        chunked: false,
        close: false,
        keep_alive: false,
    };
    let mut fields = 0usize;
    loop {
        let line = lines.next_line()?;
        if line.is_empty() {
            break;
        }
        fields += 1;
        if fields > FIELDS_MAX {
            return Err("too many fields in the answer");
        }
        let (name, value) = field(line)?;
        out.heed(name, value)?;
        each(name, value)?;
    }
    // RFC 9112 6.1 and 6.3: both together, or a coding in HTTP/1.0, is an attack or a bug.
    if out.coded && out.length.is_some() {
        return Err("Content-Length and Transfer-Encoding together");
    }
    if out.coded && minor == 0 {
        return Err("Transfer-Encoding in an HTTP/1.0 answer");
    }
    Ok(out)
}

impl Head {
    /// Looks at one field.
    fn heed(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for word in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= word.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err("more than one Content-Length");
                }
                self.length = Some(length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.chunked = value.eq_ignore_ascii_case(b"chunked");
                if self.coded || !(self.chunked || ends_with_connection(value)) {
                    return Err("a Transfer-Encoding that is not exactly chunked");
                }
                self.coded = true;
            }
            _ => {}
        }
        Ok(())
    }
}

/// A single coding that cannot be taken for `chunked` by anybody: the body then ends with
/// the connection (RFC 9112 6.3, rule 4.2), for hyper as for us. One that says how the body
/// is coded is refused: passing the body on without it would garble it.
fn ends_with_connection(value: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let lower = value.to_ascii_lowercase();
    !value.is_empty()
        && value.iter().all(token)
        && !lower.windows(5).any(|part| part == b"chunk")
        && !CODINGS.contains(&lower.as_slice())
}

struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    /// The next line without its CRLF; CR and LF appear only together.
    fn next_line(&mut self) -> Result<&'a [u8], &'static str> {
        let end = memchr(b'\n', self.rest).ok_or("an incomplete head")?;
        let (line, rest) = self.rest.split_at_checked(end + 1).ok_or("an incomplete head")?;
        self.rest = rest;
        let line = line.strip_suffix(b"\r\n").ok_or("bare LF in the head of the answer")?;
        if memchr(b'\r', line).is_some() {
            return Err("bare CR in the head of the answer");
        }
        Ok(line)
    }
}

/// `HTTP/1.x 200 reason` (RFC 9112 4); an empty reason may lack its space.
fn status_line(line: &[u8]) -> Result<(u16, u8), &'static str> {
    let bad = "a broken status line";
    let rest = line.strip_prefix(START).ok_or(bad)?;
    let (minor, digits, tail) = match rest {
        [minor @ (b'0' | b'1'), b' ', a, b, c, tail @ ..] => (minor - b'0', [*a, *b, *c], tail),
        _ => return Err(bad),
    };
    if !digits.iter().all(u8::is_ascii_digit) || digits.first() == Some(&b'0') {
        return Err(bad);
    }
    if tail.first().is_some_and(|&space| space != b' ') || !are_text(tail) {
        return Err(bad);
    }
    let status = digits.iter().fold(0u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    Ok((status, minor))
}

/// `name: value` with the optional white space taken off (RFC 9112 5).
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err("a folded field line");
    }
    let colon = memchr(b':', line).ok_or("a field line without colon")?;
    let (name, value) = line.split_at_checked(colon).ok_or("a field line without colon")?;
    if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
        return Err("an invalid field name");
    }
    let value = value.get(1..).unwrap_or_default();
    if !are_text(value) {
        return Err("a control character in a field value");
    }
    Ok((name, value.trim_ascii()))
}

/// Digits only, and few enough for 63 bits (RFC 9110 8.6).
fn length(value: &[u8]) -> Result<u64, &'static str> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err("an invalid Content-Length");
    }
    Ok(value.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// tchar of RFC 9110 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

/// What a field value may hold: tab, visible characters, space, obs-text.
pub(super) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

/// The same of all bytes; without branches, so that it is vectorised.
fn are_text(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |fine, &byte| fine & is_text(byte))
}

const TOKEN: [bool; 256] = {
    let marks = b"!#$%&'*+-.^_`|~";
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = (at as u8).is_ascii_alphanumeric();
        at += 1;
    }
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

/// Transfer codings that have or had a meaning (RFC 9112 7.2, RFC 2616 3.6).
const CODINGS: [&[u8]; 8] =
    [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"identity", b"br", b"zstd"];

const START: &[u8] = b"HTTP/1.";
