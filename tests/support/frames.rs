//! Raw HTTP/2 frames: for requests that no client library would send.
//!
//! Fields are written as literals without indexing and without Huffman coding (RFC 7541
//! 6.2.2), so any byte can be put in a name or value. Of an answer only the status is
//! decoded, plus what the framing layer says: reset, go-away, end.

use std::io::Write;
use std::net::SocketAddr;

use super::answer::Wire;
use super::tls::{self, TlsStream};

/// Frame types (RFC 9113 6).
pub mod kind {
    #![allow(missing_docs)]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// `END_STREAM` and `ACK`.
pub const END_STREAM: u8 = 1;
/// `END_HEADERS`.
pub const END_HEADERS: u8 = 4;

/// One frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream, 0 for the connection.
    pub stream: u32,
    /// The payload.
    pub payload: Vec<u8>,
}

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A final answer with this status, and the bytes of its body.
    Answered(u16, Vec<u8>),
    /// Reset with this code.
    Reset(u32),
    /// The connection was ended by GOAWAY with this code.
    GoneAway(u32),
    /// The connection ended without a word.
    Closed,
}

impl Fate {
    /// Refused by 4xx or by an error of stream or connection: never a success.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Fate::Answered(status, _) if !(400..500).contains(status))
    }

    /// The status, if it was answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Fate::Answered(status, _) => Some(*status),
            _ => None,
        }
    }
}

/// A raw HTTP/2 connection over TLS.
pub struct RawH2 {
    wire: Wire<TlsStream>,
}

impl RawH2 {
    /// Connects with ALPN h2 and sends the preface and empty SETTINGS.
    pub fn connect(addr: SocketAddr, sni: &str) -> Self {
        Self::connect_with(addr, sni, &[])
    }

    /// As [`RawH2::connect`] with settings.
    pub fn connect_with(addr: SocketAddr, sni: &str, settings: &[(u16, u32)]) -> Self {
        let (_, stream) = tls::dial(addr, sni, &["h2"]).expect("a TLS handshake");
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]), "ALPN h2");
        let mut raw = RawH2 { wire: Wire::new(stream) };
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        raw.frame(kind::SETTINGS, 0, 0, &payload);
        raw
    }

    /// Bytes as they are; false once the node no longer takes them.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        let stream = self.wire.inner();
        stream.write_all(bytes).and_then(|()| stream.flush()).is_ok()
    }

    /// One frame; false once the node no longer takes it.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.send(&frame(kind, flags, stream, payload))
    }

    /// A whole field section in one HEADERS frame.
    pub fn headers(&mut self, stream: u32, end: bool, fields: &[(&[u8], &[u8])]) -> bool {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.frame(kind::HEADERS, flags, stream, &literals(fields))
    }

    /// A plain GET with extra fields.
    pub fn get(&mut self, stream: u32, path: &str, more: &[(&[u8], &[u8])]) -> bool {
        let mut fields: Vec<(&[u8], &[u8])> = vec![
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", super::client::HOST.as_bytes()),
            (b":path", path.as_bytes()),
        ];
        fields.extend_from_slice(more);
        self.headers(stream, true, &fields)
    }

    /// The next frame; `None` at the end. SETTINGS are acknowledged on the way.
    pub fn next(&mut self) -> Option<Frame> {
        let (head, ended) = self.wire.exactly(9);
        if ended != super::Ended::Clean {
            return None;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let (payload, ended) = self.wire.exactly(length);
        if ended != super::Ended::Clean {
            return None;
        }
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if frame.kind == kind::SETTINGS && frame.flags & 1 == 0 {
            self.frame(kind::SETTINGS, 1, 0, &[]);
        }
        Some(frame)
    }

    /// Reads until `stream` has met its fate; opens the windows for what arrives.
    pub fn fate(&mut self, stream: u32) -> Fate {
        let (mut status, mut body) = (0, Vec::new());
        while let Some(frame) = self.next() {
            let code = |at: usize| {
                let bytes = frame.payload.get(at..at + 4).unwrap_or(&[0; 4]);
                u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
            };
            if frame.kind == kind::GOAWAY && (code(4) != 0 || code(0) < stream) {
                return Fate::GoneAway(code(4));
            }
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                kind::RST_STREAM if status == 0 => return Fate::Reset(code(0)),
                kind::RST_STREAM if code(0) == 0 => return Fate::Answered(status, body),
                kind::RST_STREAM => return Fate::Reset(code(0)),
                kind::HEADERS if status < 200 => status = status_of(&frame.payload),
                kind::DATA if !frame.payload.is_empty() => {
                    body.extend_from_slice(&frame.payload);
                    let grant = (frame.payload.len() as u32).to_be_bytes();
                    self.frame(kind::WINDOW_UPDATE, 0, 0, &grant);
                    self.frame(kind::WINDOW_UPDATE, 0, stream, &grant);
                }
                _ => {}
            }
            let carries = matches!(frame.kind, kind::DATA | kind::HEADERS);
            if carries && frame.flags & END_STREAM != 0 && status >= 200 {
                return Fate::Answered(status, body);
            }
        }
        Fate::Closed
    }
}

/// The bytes of one frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A field section of literals (RFC 7541 6.2.2).
pub fn literals(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(text.len(), &mut block);
            block.extend_from_slice(text);
        }
    }
    block
}

/// A string length with a 7-bit prefix (RFC 7541 5.1).
fn integer(mut n: usize, block: &mut Vec<u8>) {
    if n < 127 {
        block.push(n as u8);
        return;
    }
    block.push(127);
    n -= 127;
    while n >= 128 {
        block.push((n % 128) as u8 | 128);
        n /= 128;
    }
    block.push(n as u8);
}

/// The status, which comes first in every answer: indexed, or with an indexed name and a
/// literal value (RFC 7541 appendix A), plain or Huffman coded.
fn status_of(block: &[u8]) -> u16 {
    let mut block = block;
    while let [first, rest @ ..] = block
        && first & 0xe0 == 0x20
    {
        block = rest; // A table size update.
    }
    match block {
        [first @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)],
        [name, length, text @ ..] if matches!(name & 0x3f, 8..=14) => {
            let text = &text[..usize::from(length & 0x7f).min(text.len())];
            let digits = if length & 0x80 == 0 { text.to_vec() } else { unhuffed(text) };
            String::from_utf8_lossy(&digits).parse().unwrap_or(0)
        }
        _ => 0,
    }
}

/// Decodes three Huffman coded digits (RFC 7541 appendix B).
fn unhuffed(text: &[u8]) -> Vec<u8> {
    let bits = text.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    let mut left = text.len() * 8;
    let mut digits = Vec::new();
    while digits.len() < 3 && left >= 5 {
        let five = (bits >> (left - 5) & 31) as u8;
        if five < 3 {
            digits.push(b'0' + five);
            left -= 5;
            continue;
        }
        if left < 6 {
            break;
        }
        let six = (bits >> (left - 6) & 63) as u8;
        digits.push(b'3' + six.wrapping_sub(0b011001));
        left -= 6;
    }
    digits
}
