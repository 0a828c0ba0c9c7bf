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

use memchr::{memchr_iter, memmem};

use super::chunks::Chunks;
use super::framing::{Expect, Framing, HEAD_BYTES_MAX, INTERIM_MAX};
use super::head::{Next, check_start, parse};

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
        let next = parse(head, |_, _| Ok(()))?.next(self.expect)?;
        self.framing = next.framing();
        self.phase = match next {
            Next::Interim => {
                self.interim += 1;
                if self.interim > INTERIM_MAX {
                    return Err("too many interim answers");
                }
                Phase::Head
            }
            Next::Tunnel => Phase::Tunnel,
            Next::Nothing | Next::Length(0) => Phase::Idle,
            Next::Length(length) => Phase::Length(length),
            Next::Chunked => Phase::Chunked(Chunks::default()),
            Next::Close => Phase::UntilClose,
        };
        Ok(())
    }
}
