//! The strict reader of HTTP/1 answers: follows an origin's bytes and refuses whatever
//! two readers could take for two different messages.
//!
//! hyper's client merges equal lengths, drops `Content-Length` beside
//! `Transfer-Encoding`, reads any other coding until the end of the connection, and
//! takes endless 1xx (RFC 9112 6.1, 6.3, 11.1: all of them are ways to smuggle or to
//! poison a response queue). This reader sees every byte before hyper does. It copies
//! nothing when a head arrives in one piece. Pure: bytes in, verdict out.
//!
//! ```text
//! Idle --begin--> Head --1xx--> Head
//!                  |--101 asked--> Tunnel
//!                  |--204 304 HEAD, length 0--> Idle
//!                  |--length--> Length --0--> Idle
//!                  |--chunked--> Chunked --last chunk--> Idle
//!                  '--neither--> UntilClose
//! ```

use memchr::{memchr, memchr_iter, memmem};

use super::chunks::Chunks;

/// What was asked, as far as it decides the framing of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// The request was HEAD.
    pub head: bool,
    /// The request asked for an upgrade, so a 101 is allowed.
    pub upgrade: bool,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// There is no body.
    None,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The end of the connection: a cut cannot be told from an end (RFC 9112 8).
    Close,
    /// HTTP/2 END_STREAM.
    Stream,
    /// The connection changed its protocol.
    Tunnel,
}

/// Follows one connection.
#[derive(Debug)]
pub struct Reader {
    phase: Phase,
    expect: Expect,
    /// A head that came in pieces.
    partial: Vec<u8>,
    interim: u32,
    framing: Framing,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Head,
    Length(u64),
    Chunked(Chunks),
    UntilClose,
    Tunnel,
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            phase: Phase::Idle,
            expect: Expect::default(),
            partial: Vec::new(),
            interim: 0,
            framing: Framing::None,
        }
    }
}

impl Reader {
    /// Whether no answer is under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Framing of the newest answer whose head is complete.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// A request was sent; its answer comes next.
    pub fn begin(&mut self, expect: Expect) {
        self.expect = expect;
        self.interim = 0;
        self.phase = Phase::Head;
    }

    /// Takes the next bytes and returns how many of them belong to the answer: fewer than
    /// all if something is left over after its end, and then the connection must not be
    /// used again. An error is final: the connection must be closed, and no byte of this
    /// call may be believed.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let all = bytes.len();
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let used = match &mut self.phase {
                Phase::Idle => break,
                Phase::Head => self.feed_head(bytes)?,
                Phase::Length(left) => {
                    let take = (*left).min(bytes.len() as u64);
                    *left -= take;
                    if *left == 0 {
                        self.phase = Phase::Idle;
                    }
                    take as usize
                }
                Phase::Chunked(chunks) => {
                    let used = chunks.feed(bytes)?;
                    if chunks.is_done() {
                        self.phase = Phase::Idle;
                    }
                    used
                }
                Phase::UntilClose | Phase::Tunnel => bytes.len(),
            };
            bytes = bytes.get(used..).unwrap_or_default();
        }
        Ok(all - bytes.len())
    }

    /// Consumes up to the end of the head; returns how many of `bytes` belong to it.
    fn feed_head(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        if self.partial.is_empty() {
            check_start(bytes)?;
            if let Some(end) = memmem::find(bytes, b"\r\n\r\n") {
                let head = bytes.get(..end + 4).unwrap_or_default();
                self.settle(head)?;
                return Ok(head.len());
            }
        }
        let before = self.partial.len();
        let room = HEAD_BYTES_MAX.saturating_sub(before);
        let piece = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.partial.extend_from_slice(piece);
        check_start(&self.partial)?;
        let from = before.saturating_sub(3);
        let fresh = self.partial.get(from..).unwrap_or_default();
        if let Some(end) = memmem::find(fresh, b"\r\n\r\n") {
            let end = from + end + 4;
            let mut head = std::mem::take(&mut self.partial);
            head.truncate(end);
            self.settle(&head)?;
            return Ok(end - before);
        }
        if piece.len() < bytes.len() || self.partial.len() >= HEAD_BYTES_MAX {
            return Err("the head of the answer is too large");
        }
        // A bare LF could end the head for hyper while it does not for us, so it is
        // looked for in every piece.
        let mut newlines = memchr_iter(b'\n', fresh);
        if newlines.any(|at| from + at == 0 || self.partial.get(from + at - 1) != Some(&b'\r')) {
            return Err("bare LF in the head of the answer");
        }
        Ok(bytes.len())
    }

    /// A complete head: what comes after it?
    fn settle(&mut self, head: &[u8]) -> Result<(), &'static str> {
        let head = parse(head)?;
        self.framing = Framing::None;
        match head.status {
            101 if self.expect.upgrade => {
                self.framing = Framing::Tunnel;
                self.phase = Phase::Tunnel;
                return Ok(());
            }
            101 => return Err("101 although no upgrade was asked for"),
            100..=199 => {
                self.interim += 1;
                if head.length.is_some() || head.coded {
                    return Err("an interim answer with a body");
                }
                return if self.interim > INTERIM_MAX {
                    Err("too many interim answers")
                } else {
                    Ok(())
                };
            }
            // RFC 9110 8.6: no length in a 204; the harmless zero is common.
            204 if head.coded || head.length.is_some_and(|length| length > 0) => {
                return Err("204 with a body");
            }
            _ => {}
        }
        self.phase = if self.expect.head || matches!(head.status, 204 | 304) {
            Phase::Idle
        } else if head.chunked {
            self.framing = Framing::Chunked;
            Phase::Chunked(Chunks::default())
        } else if let Some(length) = head.length {
            self.framing = Framing::Length;
            if length == 0 { Phase::Idle } else { Phase::Length(length) }
        } else {
            self.framing = Framing::Close;
            Phase::UntilClose
        };
        Ok(())
    }
}

/// What of a head decides the framing.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Option<u64>,
    /// There is a Transfer-Encoding; `chunked` if that is what it says.
    coded: bool,
    chunked: bool,
}

/// Refuses what does not begin like a status line, as early as it can be seen.
fn check_start(bytes: &[u8]) -> Result<(), &'static str> {
    let seen = bytes.len().min(START.len());
    if bytes.get(..seen) == START.get(..seen) { Ok(()) } else { Err("not an HTTP/1 answer") }
}

/// Reads a whole head including its empty line.
fn parse(head: &[u8]) -> Result<Head, &'static str> {
    if head.len() > HEAD_BYTES_MAX {
        return Err("the head of the answer is too large");
    }
    let mut lines = Lines { rest: head };
    let (status, minor) = status_line(lines.next_line()?)?;
    let mut out = Head { status, length: None, coded: false, chunked: false };
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
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if out.length.is_some() {
                    return Err("more than one Content-Length");
                }
                out.length = Some(length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                out.chunked = value.eq_ignore_ascii_case(b"chunked");
                if out.coded || !(out.chunked || ends_with_connection(value)) {
                    return Err("a Transfer-Encoding that is not exactly chunked");
                }
                out.coded = true;
            }
            _ => {}
        }
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
    if tail.first().is_some_and(|&space| space != b' ') || !tail.iter().all(|&b| is_text(b)) {
        return Err(bad);
    }
    let status = digits.iter().fold(0u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    Ok((status, minor))
}

/// `name: value` with the optional white space taken off (RFC 9112 5).
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err("a folded field line");
    }
    let colon = memchr(b':', line).ok_or("a field line without colon")?;
    let (name, value) = line.split_at_checked(colon).ok_or("a field line without colon")?;
    if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
        return Err("an invalid field name");
    }
    let value = value.get(1..).unwrap_or_default();
    if !value.iter().all(|&byte| is_text(byte)) {
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
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a field value may hold: tab, visible characters, space, obs-text.
pub(super) fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

/// Transfer codings that have or had a meaning (RFC 9112 7.2, RFC 2616 3.6).
const CODINGS: [&[u8]; 8] =
    [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"identity", b"br", b"zstd"];

const START: &[u8] = b"HTTP/1.";
/// Largest head of an answer in bytes.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most field lines of an answer.
pub const FIELDS_MAX: usize = 200;
/// Most interim (1xx) answers before the final one.
pub const INTERIM_MAX: u32 = 8;
