//! Reads HTTP/1 messages off a wire without mercy: what is there, and how it ended.

use std::io::{ErrorKind, Read};

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As its framing said.
    Clean,
    /// Earlier: the connection closed or broke inside it.
    Cut,
    /// Its chunked framing is wrong.
    Garbled,
}

/// How the length of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`, or none at all.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The end of the connection.
    UntilClose,
}

/// One answer as a client received it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status of the final answer.
    pub status: u16,
    /// Statuses of the interim answers before it.
    pub interim: Vec<u16>,
    /// Status line and fields, without the empty line.
    pub head: String,
    /// Field names as sent, and values.
    pub fields: Vec<(String, String)>,
    /// The decoded body.
    pub body: Vec<u8>,
    /// How it ended.
    pub ended: Ended,
}

impl Answer {
    /// The value of a field; several are joined with `, `.
    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.fields, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The last member of `Cache-Status` (RFC 9211): the node nearest to the client.
    pub fn cache_status(&self) -> String {
        self.field("cache-status").unwrap_or_default()
    }

    /// Whether the node says it answered from its cache.
    pub fn is_hit(&self) -> bool {
        self.cache_status().contains("; hit")
    }

    /// `Age` in seconds.
    pub fn age(&self) -> Option<u64> {
        self.field("age").and_then(|age| age.parse().ok())
    }

    /// Whole and with this status and body.
    #[track_caller]
    pub fn expect(&self, status: u16, body: &str) -> &Self {
        assert_eq!((self.status, self.text().as_str()), (status, body), "{}", self.head);
        assert_eq!(self.ended, Ended::Clean, "{}", self.head);
        self
    }

    /// As [`Answer::expect`] and answered from the cache.
    #[track_caller]
    pub fn expect_hit(&self, body: &str) -> &Self {
        self.expect(200, body);
        assert!(self.is_hit(), "not a hit: {}", self.head);
        self
    }

    /// As [`Answer::expect`] with 200 and not answered from the cache.
    #[track_caller]
    pub fn expect_miss(&self, body: &str) -> &Self {
        self.expect(200, body);
        assert!(!self.is_hit(), "a hit: {}", self.head);
        self
    }
}

/// A buffered reader that can be asked for heads and bodies.
pub struct Wire<R> {
    inner: R,
    buffer: Vec<u8>,
}

impl<R: Read> Wire<R> {
    /// Over any byte stream.
    pub fn new(inner: R) -> Self {
        Wire { inner, buffer: Vec::new() }
    }

    /// The stream below.
    pub fn inner(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Bytes read and not yet asked for.
    pub fn rest(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads more; false at the end of the stream (a reset is an end too).
    pub fn fill(&mut self) -> std::io::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.inner.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(n) => {
                    self.buffer.extend_from_slice(&chunk[..n]);
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Err(error);
                }
                Err(_) => return Ok(false),
            }
        }
    }

    /// As [`Wire::fill`]; silence until the deadline is a failed test, not an end.
    fn more(&mut self) -> bool {
        self.fill().expect("more bytes or an end before the deadline")
    }

    /// The next head without its empty line; `None` at the end of the stream.
    pub fn head(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = head_end(&self.buffer) {
                let head = self.buffer[..end].to_vec();
                self.buffer.drain(..end + 4);
                return Ok(Some(head));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// The next body. A timeout counts as cut.
    pub fn body(&mut self, framing: Framing) -> (Vec<u8>, Ended) {
        match framing {
            Framing::Length(length) => self.exactly(length),
            Framing::UntilClose => {
                while self.more() {}
                (std::mem::take(&mut self.buffer), Ended::Clean)
            }
            Framing::Chunked => self.chunked(),
        }
    }

    /// Reads and forgets until the end of the stream.
    pub fn discard(&mut self) {
        while self.fill().unwrap_or(false) {
            self.buffer.clear();
        }
    }

    /// Exactly `length` bytes if they come.
    pub fn exactly(&mut self, length: usize) -> (Vec<u8>, Ended) {
        while self.buffer.len() < length {
            if !self.more() {
                return (std::mem::take(&mut self.buffer), Ended::Cut);
            }
        }
        (self.buffer.drain(..length).collect(), Ended::Clean)
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Some(line);
            }
            if !self.more() {
                return None;
            }
        }
    }

    fn chunked(&mut self) -> (Vec<u8>, Ended) {
        let mut body = Vec::new();
        loop {
            let Some(line) = self.line() else { return (body, Ended::Cut) };
            let size = line.split(';').next().unwrap_or("").trim_end();
            let Ok(size) = usize::from_str_radix(size, 16) else {
                return (body, Ended::Garbled);
            };
            if size == 0 {
                loop {
                    match self.line() {
                        None => return (body, Ended::Cut),
                        Some(line) if line.is_empty() => return (body, Ended::Clean),
                        Some(_) => {}
                    }
                }
            }
            let (chunk, ended) = self.exactly(size);
            body.extend_from_slice(&chunk);
            if ended != Ended::Clean {
                return (body, ended);
            }
            match self.line() {
                None => return (body, Ended::Cut),
                Some(line) if line.is_empty() => {}
                Some(_) => return (body, Ended::Garbled),
            }
        }
    }
}

/// Where the empty line begins.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n")
}

/// The field lines of a head.
pub fn fields_of(head: &str) -> Vec<(String, String)> {
    head.split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// One field, several lines joined.
pub fn field(fields: &[(String, String)], name: &str) -> Option<String> {
    let values: Vec<&str> = fields
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// The framing that the fields of a message announce.
pub fn framing_of(fields: &[(String, String)]) -> Framing {
    if field(fields, "transfer-encoding").is_some() {
        return Framing::Chunked;
    }
    match field(fields, "content-length").and_then(|length| length.parse().ok()) {
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    }
}
