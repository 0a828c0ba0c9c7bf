//! An HTTP/1 connection without hyper: requests that have no body, and their answers.
//!
//! The task that wants the answer writes the head, reads and parses what comes, and takes
//! the body from the socket: no second task, no channel, no wake-up between the two. The
//! rules are those of the guard under hyper, by the same code (`head`, `chunks`); what hyper
//! decided besides (who may use the connection again, trailers, the end of a body) is
//! decided here. Requests with a body and upgrades are hyper's (`link`), because there both
//! directions move at once.
//!
//! Nothing handed out keeps the read buffer from being used again: heads and short pieces
//! are copied out of it, long pieces take their buffer along. An idle connection has none.
//!
//! ```text
//! Idle --begin--> Head --1xx--> Head
//!                  '--final--> Length, Chunked, UntilClose, Trailers --> Done --rest--> Idle
//! ```

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body::SizeHint;
use memchr::{memchr_iter, memmem};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::bell::Bell;
use super::buffers;
use super::chunks::Chunks;
use super::fault::OriginFault;
use super::framing::{Expect, Framing, HEAD_BYTES_MAX, INTERIM_MAX};
use super::head::{self, Head, Next};
use super::outgoing::{Hear, Outgoing};
use super::request;
use super::wire::Wire;

/// A connection in one pair of hands; dropping it closes the socket at once.
#[derive(Debug)]
pub struct Bare {
    wire: Wire,
    /// The request's head, and how much of it went out.
    request: Vec<u8>,
    sent: usize,
    flushed: bool,
    /// Bytes received and not used yet.
    pub(super) buffer: BytesMut,
    /// How many of them were searched for the end of a head.
    searched: usize,
    pub(super) phase: Phase,
    expect: Expect,
    interim: u32,
    /// A byte of the current answer has arrived.
    begun: bool,
    /// Whether another exchange may follow, by all that is known.
    pub(super) keeps: bool,
    pub(super) framing: Framing,
    /// Rung when something comes while nobody has asked.
    bell: Arc<Bell>,
    /// When it was opened.
    pub born: Instant,
    /// When its last exchange ended.
    pub rested: Instant,
}

#[derive(Debug)]
pub(super) enum Phase {
    Idle,
    Head,
    /// So many bytes of the body are to come.
    Length(u64),
    /// So many bytes of data are at the start of the buffer.
    Chunked(Box<Chunks>, usize),
    UntilClose,
    Trailers(Box<HeaderMap>),
    Done,
}

impl Bare {
    /// A fresh connection.
    pub fn new(wire: Wire, now: Instant) -> Self {
        Bare {
            wire,
            request: Vec::new(),
            sent: 0,
            flushed: true,
            buffer: BytesMut::new(),
            searched: 0,
            phase: Phase::Idle,
            expect: Expect::default(),
            interim: 0,
            begun: false,
            keeps: true,
            framing: Framing::None,
            bell: Bell::of_this_thread(),
            born: now,
            rested: now,
        }
    }

    /// The stream, for hyper. Nothing was read from it beyond the last answer.
    pub fn into_wire(self) -> Wire {
        self.wire
    }

    /// Takes the request to be sent next.
    pub fn begin(&mut self, request: &Request<Outgoing>) {
        self.request.clear();
        request::write_head(request, &mut self.request);
        self.sent = 0;
        self.flushed = false;
        self.buffer = buffers::take();
        self.searched = 0;
        self.phase = Phase::Head;
        self.expect = request::expect(request);
        self.interim = 0;
        self.begun = false;
    }

    /// Whether a byte of the current answer has arrived.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Framing of the newest answer.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether all of the answer was taken.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Done | Phase::Idle)
    }

    /// What is known of the length of the rest.
    pub fn size_hint(&self) -> SizeHint {
        match self.phase {
            Phase::Length(left) => SizeHint::with_exact(left),
            Phase::Done | Phase::Idle | Phase::Trailers(_) => SizeHint::with_exact(0),
            Phase::Head | Phase::Chunked(..) | Phase::UntilClose => SizeHint::default(),
        }
    }

    /// Sends the request and waits for the final head; interim ones are for `hear`.
    pub fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        hear: Option<&dyn Hear>,
    ) -> Poll<Result<Response<()>, OriginFault>> {
        loop {
            let sent = self.poll_send(cx)?.is_ready();
            while let Some(head) = self.take_head().map_err(OriginFault::Odd)? {
                if let Some(answer) = self.settle(head, hear).map_err(OriginFault::Odd)? {
                    // Who answers before he was asked to the end is asked nothing more.
                    self.keeps &= sent;
                    return Poll::Ready(Ok(answer));
                }
            }
            match ready!(self.poll_more(cx)) {
                Ok(0) => return Poll::Ready(Err(OriginFault::Broken(CLOSED))),
                Ok(_) if self.sent == 0 => {
                    return Poll::Ready(Err(OriginFault::Odd("an answer before its request")));
                }
                Ok(_) => self.begun = true,
                Err(error) => return Poll::Ready(Err(broken(&error))),
            }
        }
    }

    /// Ends an exchange: whether another one may follow. Gives its memory back.
    pub fn rest(&mut self, now: Instant) -> bool {
        let keeps = self.keeps && self.is_over() && self.flushed;
        self.phase = Phase::Idle;
        self.rested = now;
        buffers::put(std::mem::take(&mut self.buffer));
        if self.request.capacity() > REQUEST_KEPT {
            self.request = Vec::new();
        }
        keeps
    }

    /// Whether nobody has said anything since the connection rests, neither an answer nor
    /// good-bye. From now on the bell rings when that happens.
    pub fn is_quiet(&mut self) -> bool {
        let waker = self.bell.arm();
        let mut byte = [0u8; 1];
        let mut cx = Context::from_waker(&waker);
        pin!(self.wire.read(&mut byte)).poll(&mut cx).is_pending()
    }

    /// Whether the bell has rung.
    pub fn is_called(&self) -> bool {
        self.bell.has_rung()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), OriginFault>> {
        while let Some(rest) = self.request.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.wire).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(OriginFault::Broken(RESET))),
                Ok(n) => self.sent += n,
                Err(error) => return Poll::Ready(Err(broken(&error))),
            }
        }
        if !self.flushed {
            let flushed = ready!(Pin::new(&mut self.wire).poll_flush(cx));
            flushed.map_err(|error| broken(&error))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads on; zero is the end of the connection.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let wanted = match self.phase {
            Phase::Length(left) => left.min(buffers::LARGEST as u64) as usize,
            Phase::Chunked(..) | Phase::UntilClose => buffers::LARGEST,
            _ => buffers::FIRST,
        };
        if self.buffer.capacity() - self.buffer.len() < wanted.min(READ_MIN) {
            self.buffer.reserve(wanted.max(buffers::FIRST));
        }
        pin!(self.wire.read_buf(&mut self.buffer)).poll(cx)
    }

    /// A whole head, out of the buffer.
    fn take_head(&mut self) -> Result<Option<Bytes>, &'static str> {
        head::check_start(&self.buffer)?;
        let from = self.searched.saturating_sub(3);
        let fresh = self.buffer.get(from..).unwrap_or_default();
        if let Some(end) = memmem::find(fresh, b"\r\n\r\n") {
            let end = from + end + 4;
            let head = Bytes::copy_from_slice(self.buffer.get(..end).unwrap_or_default());
            self.buffer.advance(end);
            self.searched = 0;
            return Ok(Some(head));
        }
        if self.buffer.len() >= HEAD_BYTES_MAX {
            return Err("the head of the answer is too large");
        }
        let mut newlines = memchr_iter(b'\n', fresh);
        if newlines.any(|at| from + at == 0 || self.buffer.get(from + at - 1) != Some(&b'\r')) {
            return Err("bare LF in the head of the answer");
        }
        self.searched = self.buffer.len();
        Ok(None)
    }

    /// Takes a head in: the answer, unless it is an interim one.
    fn settle(
        &mut self,
        head: Bytes,
        hear: Option<&dyn Hear>,
    ) -> Result<Option<Response<()>>, &'static str> {
        let (head, fields) = read(&head)?;
        let next = head.next(self.expect)?;
        let status = StatusCode::from_u16(head.status).map_err(|_| "a broken status line")?;
        self.framing = next.framing();
        self.keeps &= head.persists();
        self.phase = match next {
            Next::Interim => {
                self.interim += 1;
                if self.interim > INTERIM_MAX {
                    return Err("too many interim answers");
                }
                if let Some(hear) = hear {
                    hear.interim(status, &fields);
                }
                return Ok(None);
            }
            Next::Tunnel => return Err("101 although no upgrade was asked for"),
            Next::Nothing => Phase::Done,
            Next::Length(length) => Phase::Length(length),
            Next::Chunked => Phase::Chunked(Box::default(), 0),
            Next::Close => Phase::UntilClose,
        };
        if matches!(self.phase, Phase::Done | Phase::Length(0)) {
            self.finish();
        }
        self.advance()?;
        let mut answer = Response::new(());
        *answer.status_mut() = status;
        *answer.version_mut() = if head.minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        *answer.headers_mut() = fields;
        Ok(Some(answer))
    }
}

/// The framing and the fields, which share the memory of `head`.
fn read(head: &Bytes) -> Result<(Head, HeaderMap), &'static str> {
    let lines = memchr_iter(b'\n', head).count().min(FIELDS_ROOM);
    let mut fields = HeaderMap::with_capacity(lines);
    let head = head::parse(head, |name, value| {
        let name = HeaderName::from_bytes(name).map_err(|_| "an invalid field name")?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value));
        let value = value.map_err(|_| "a control character in a field value")?;
        fields.try_append(name, value).map_err(|_| "too many fields in the answer")?;
        Ok(())
    })?;
    Ok((head, fields))
}

fn broken(error: &io::Error) -> OriginFault {
    tracing::debug!(%error, "origin exchange");
    OriginFault::Broken(match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => RESET,
        _ => CLOSED,
    })
}

const CLOSED: &str = "the origin closed the connection without an answer";
const RESET: &str = "the origin reset the connection";
/// With less room than this more is made before a read.
const READ_MIN: usize = 2 << 10;
/// Room for a request's head that a resting connection may keep.
const REQUEST_KEPT: usize = 2 << 10;
/// Fields for which room is made at once.
const FIELDS_ROOM: usize = 32;
