//! The body of every answer, and the meter that ends each exchange.
//!
//! One enum instead of boxed trait objects: a hit costs no allocation for its body, and the
//! bytes are shared with the cache. The meter rides on the body because only the body knows
//! when an exchange is over: it counts what was handed to the connection and writes the
//! access record when it is dropped, whether that is the end or an abort.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::log::Meter;
use super::pieces::PieceBody;
use crate::origin::OriginBody;
use crate::rules::entry::Entry;
use crate::rules::fault::Fault;
use crate::rules::trailer;
use crate::store::spool::Reader;

/// Error type hyper and `front` accept.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub struct Body {
    kind: Kind,
    meter: Option<Box<Meter>>,
}

enum Kind {
    Empty,
    Once(Option<Bytes>),
    /// The rest of a stored body from piece `next` on.
    Stored(Stored),
    /// A body on its way in, cut to `first..=last`.
    Spool(SpoolBody),
    Relay(OriginBody),
    /// Of an object in pieces.
    Pieces(Box<PieceBody>),
    /// Parts of a multipart answer, made up front: each a shared slice or a short header.
    Parts {
        parts: std::vec::IntoIter<Bytes>,
        left: u64,
    },
}

struct Stored {
    entry: Arc<Entry>,
    next: usize,
    /// Bytes to skip in the next piece and bytes to send in all.
    skip: u64,
    left: u64,
}

struct SpoolBody {
    reader: Reader,
    /// Bytes still to be dropped before the first that is sent.
    skip: u64,
    /// Bytes still to be sent; `None` if the end is not known.
    left: Option<u64>,
}

/// A body that ended before all of it was there. The stream is then reset or hyper closes
/// the connection, so the client sees the cut.
#[derive(Debug, thiserror::Error)]
#[error("body cut short: {}", .0.reason())]
pub struct Cut(pub Fault);

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Body { kind: Kind::Empty, meter: None }
    }

    /// One buffer.
    pub fn once(data: Bytes) -> Self {
        Body { kind: Kind::Once(Some(data)), meter: None }
    }

    /// The bytes `first..first + len` of a stored body (offsets within what is stored).
    pub fn stored(entry: &Arc<Entry>, first: u64, len: u64) -> Self {
        if let [whole] = entry.body.as_slice() {
            let end = (first.saturating_add(len)).min(whole.len() as u64) as usize;
            let start = (first as usize).min(end);
            return Body::once(whole.slice(start..end));
        }
        let stored = Stored { entry: entry.clone(), next: 0, skip: first, left: len };
        Body { kind: Kind::Stored(stored), meter: None }
    }

    /// A body on its way in: drops `skip` bytes, then sends `left` (all if `None`).
    pub fn spool(reader: Reader, skip: u64, left: Option<u64>) -> Self {
        Body { kind: Kind::Spool(SpoolBody { reader, skip, left }), meter: None }
    }

    /// The origin's own body, not shared.
    pub fn relay(body: OriginBody) -> Self {
        Body { kind: Kind::Relay(body), meter: None }
    }

    /// What is wanted of an object in pieces.
    pub(super) fn pieces(body: PieceBody) -> Self {
        Body { kind: Kind::Pieces(Box::new(body)), meter: None }
    }

    /// Several buffers in order.
    pub fn parts(parts: Vec<Bytes>) -> Self {
        let left = parts.iter().map(|part| part.len() as u64).sum();
        Body { kind: Kind::Parts { parts: parts.into_iter(), left }, meter: None }
    }

    /// Attaches the meter that ends the exchange.
    pub fn metered(mut self, meter: Box<Meter>) -> Self {
        self.meter = Some(meter);
        self
    }
}

/// The frame, without trailers that may not travel (see [`trailer::sweep`]).
pub(super) fn swept(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        trailer::sweep(trailers);
    }
    frame
}

impl Drop for Body {
    /// hyper does not poll a body again whose end it can see.
    fn drop(&mut self) {
        let at_end = self.is_end_stream();
        if let Some(meter) = self.meter.as_mut().filter(|_| at_end) {
            meter.ended();
        }
    }
}

impl Stored {
    fn next(&mut self) -> Option<Bytes> {
        while self.left > 0 {
            let piece = self.entry.body.get(self.next)?;
            self.next += 1;
            let len = piece.len() as u64;
            if self.skip >= len {
                self.skip -= len;
                continue;
            }
            let start = self.skip as usize;
            let end = (self.skip + self.left).min(len) as usize;
            self.skip = 0;
            self.left -= (end - start) as u64;
            return Some(piece.slice(start..end));
        }
        None
    }
}

impl SpoolBody {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            if self.left == Some(0) {
                return Poll::Ready(None);
            }
            let mut data = match self.reader.poll_next(cx) {
                Poll::Ready(Some(Ok(data))) => data,
                Poll::Ready(None) if self.left.is_some_and(|left| left > 0) => {
                    return Poll::Ready(Some(Err(Fault::BadGateway(
                        "body shorter than announced",
                    ))));
                }
                other => return other,
            };
            let dropped = self.skip.min(data.len() as u64);
            self.skip -= dropped;
            let _ = data.split_to(dropped as usize);
            if let Some(left) = &mut self.left {
                data.truncate((*left).min(data.len() as u64) as usize);
                *left -= data.len() as u64;
            }
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(data)));
            }
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let polled = match &mut this.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Once(data) => Poll::Ready(data.take().map(|data| Ok(Frame::data(data)))),
            Kind::Stored(stored) => Poll::Ready(stored.next().map(|data| Ok(Frame::data(data)))),
            Kind::Parts { parts, left } => Poll::Ready(parts.next().map(|part| {
                *left -= part.len() as u64;
                Ok(Frame::data(part))
            })),
            Kind::Spool(spool) => spool.poll_next(cx).map(|next| {
                next.map(|data| data.map(Frame::data).map_err(|fault| Cut(fault).into()))
            }),
            Kind::Pieces(body) => body.poll_next(cx).map(|next| {
                next.map(|data| data.map(Frame::data).map_err(|fault| Cut(fault).into()))
            }),
            Kind::Relay(body) => Pin::new(body).poll_frame(cx).map(|next| {
                next.map(|frame| frame.map(swept).map_err(|it| Cut(it.fault()).into()))
            }),
        };
        if let Some(meter) = &mut this.meter {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => {
                    meter.sent(frame.data_ref().map_or(0, |data| data.len() as u64));
                }
                Poll::Ready(Some(Err(_))) => meter.cut(),
                Poll::Ready(None) => meter.ended(),
                Poll::Pending => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Once(data) => data.is_none(),
            Kind::Stored(stored) => stored.left == 0,
            Kind::Parts { left, .. } => *left == 0,
            Kind::Spool(spool) => spool.left == Some(0),
            Kind::Pieces(body) => body.left() == 0,
            Kind::Relay(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Once(data) => SizeHint::with_exact(data.as_ref().map_or(0, |d| d.len() as u64)),
            Kind::Stored(stored) => SizeHint::with_exact(stored.left),
            Kind::Parts { left, .. } => SizeHint::with_exact(*left),
            Kind::Spool(spool) => spool.left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Pieces(body) => SizeHint::with_exact(body.left()),
            Kind::Relay(body) => body.size_hint(),
        }
    }
}
