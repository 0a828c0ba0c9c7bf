//! The request guard: a strict reading of the HTTP/1 byte stream before hyper's.
//!
//! hyper accepts requests without Host or with two, Content-Length with
//! Transfer-Encoding, bare LF, and heads of 400 KiB. What two parsers may read in two ways is how
//! requests are smuggled (RFC 9112 11.2), so the guard reads first and lets pass only
//! what has exactly one reading. It does not rewrite: bytes pass unchanged or not at all.
//!
//! It must know where messages begin and end, so it follows Content-Length and chunks
//! too. A head passes only when it is complete; a body passes as it comes. The verdict
//! depends on the bytes alone, never on how the network cut them (a property test).
//!
//! Rejected: parsing in the handler (hyper has lost the evidence by then) and a parser of
//! our own instead of hyper's (a second implementation of what hyper does well). What the
//! guard has read anyway is enough to answer the plainest requests: see `plain`.

mod chunk;
mod field;
mod head;
mod plain;
mod replay;

pub use head::HeadLimits;
pub use plain::Plain;
pub use replay::{Replayed, replay};

use crate::rules::fault::Fault;
use chunk::Chunks;
use head::{Body, Outcome};

/// Where in the stream of messages the guard is.
#[derive(Debug)]
pub struct Guard {
    limits: HeadLimits,
    state: State,
}

#[derive(Debug)]
enum State {
    /// At the start of a head, or of the empty line that may precede it.
    Head,
    /// Inside a body of known length.
    Length(u64),
    /// Inside a chunked body.
    Chunked(Box<Chunks>),
    /// After a request that asked for an upgrade: what follows may not be HTTP.
    Held,
    /// Everything after a refusal is ignored.
    Over,
}

/// What to do with a run of bytes: pass the first `pass`, then `then`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Bytes that hyper may see now.
    pub pass: usize,
    /// Request heads that end among the passed bytes.
    pub heads: u32,
    /// Body bytes (framing included) among the passed ones.
    pub body: usize,
    /// The first passed head asks for an upgrade. Such a head is always passed in a scan
    /// of its own, so whoever reads this knows which request it is about.
    pub upgrade: bool,
    /// What about the rest.
    pub then: Then,
}

/// See `Scan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// There is no rest.
    Done,
    /// The rest is the beginning of a head: scan it again with more bytes after it.
    Partial,
    /// The rest is a head that asks for an upgrade: scan it again, alone, when all before
    /// it has been answered.
    Alone,
    /// The rest waits until the upgrade is answered.
    Hold,
    /// The rest is a head that is refused. Nothing passes any more.
    Refuse(Fault),
    /// The rest breaks the framing of a body. Nothing passes any more.
    Break(Fault),
}

impl Guard {
    /// At the beginning of a connection.
    pub fn new(limits: HeadLimits) -> Self {
        Guard { limits, state: State::Head }
    }

    /// The limits it was made with.
    pub fn limits(&self) -> HeadLimits {
        self.limits
    }

    /// Whether a request body is being received.
    pub fn in_body(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunked(_))
    }

    /// The upgrade was not granted: HTTP/1 goes on.
    pub fn resume(&mut self) {
        if self.held() {
            self.state = State::Head;
        }
    }

    /// Reads on. `bytes` continue where the passed bytes of the last scan ended.
    pub fn scan(&mut self, bytes: &[u8]) -> Scan {
        self.read(bytes).0
    }

    /// The same, and what is asked if `bytes` are one plain request and nothing else.
    pub fn read<'a>(&mut self, bytes: &'a [u8]) -> (Scan, Option<Plain<'a>>) {
        let mut plain = None;
        let mut scan = Scan { pass: 0, heads: 0, body: 0, upgrade: false, then: Then::Done };
        let mut rest = bytes;
        while !rest.is_empty() && scan.then == Then::Done {
            let taken = match &mut self.state {
                State::Head => self.head(rest, &mut scan, &mut plain),
                State::Length(left) => {
                    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= n as u64;
                    if *left == 0 {
                        self.state = State::Head;
                    }
                    scan.body += n;
                    n
                }
                State::Chunked(chunks) => match chunks.take(rest) {
                    Ok((n, ended)) => {
                        if ended {
                            self.state = State::Head;
                        }
                        scan.body += n;
                        n
                    }
                    Err(fault) => {
                        self.state = State::Over;
                        scan.then = Then::Break(fault);
                        0
                    }
                },
                State::Held | State::Over => {
                    scan.then = Then::Hold;
                    0
                }
            };
            scan.pass += taken;
            rest = rest.get(taken..).unwrap_or_default();
        }
        (scan, plain.filter(|_| scan.heads == 1 && scan.body == 0 && scan.pass == bytes.len()))
    }

    fn head<'a>(
        &mut self,
        rest: &'a [u8],
        scan: &mut Scan,
        asked: &mut Option<Plain<'a>>,
    ) -> usize {
        match head::read(rest, &self.limits) {
            Outcome::Complete(head, _) if head.upgrade && scan.pass > 0 => {
                scan.then = Then::Alone;
                0
            }
            Outcome::Complete(head, plain) => {
                *asked = plain;
                scan.heads += 1;
                scan.upgrade |= head.upgrade;
                // An upgrade that brings a body is never granted, so nothing waits.
                self.state = match head.body {
                    Body::None if head.upgrade => State::Held,
                    Body::None => State::Head,
                    Body::Length(n) => State::Length(n),
                    Body::Chunked => State::Chunked(Box::new(Chunks::new(&self.limits))),
                };
                head.len
            }
            Outcome::Partial => {
                scan.then = Then::Partial;
                0
            }
            Outcome::Refuse(fault) => {
                self.state = State::Over;
                scan.then = Then::Refuse(fault);
                0
            }
        }
    }

    /// Whether a head that was partial may be judged now that bytes from `seen` on have
    /// come: its first or last line ends among them, or it is too long. Scanning it again
    /// each time a byte comes would cost the square of its length.
    pub fn may_be_complete(&self, head: &[u8], seen: usize) -> bool {
        // Its first bytes are judged at once, see `head::read`.
        seen < 3
            || head.len() > self.limits.head
            || head::first_line(head, seen).is_some()
            || head::end_of_head(head, seen.saturating_sub(3)).is_some()
    }

    /// Whether the last request asked for an upgrade that is not answered yet.
    pub fn held(&self) -> bool {
        matches!(self.state, State::Held)
    }
}
