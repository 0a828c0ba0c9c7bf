//! The body of a client's request, whichever protocol brings it.
//!
//! One type for the handler: hyper's body for HTTP/1, h2's stream for HTTP/2. A stream that the
//! client resets is a body that failed, whatever its code says: taken for an end it would be
//! forwarded as if it were whole.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;

use super::BoxError;
use super::http1_read::BrokenBody;
use super::http2_block::{Blocks, Oddity};
use crate::rules::fault::Fault;

/// A request body as it comes in.
#[derive(Debug)]
pub struct Upload(Kind);

#[derive(Debug)]
enum Kind {
    Http1(Incoming),
    Http2 {
        stream: RecvStream,
        /// Bytes that are still to come, if the client has said so; h2 holds it to that.
        left: Option<u64>,
        /// Only trailers may follow.
        drained: bool,
        watch: Watch,
    },
}

impl Upload {
    /// The rest of a stream whose head had `fields`.
    pub(super) fn http2(stream: RecvStream, fields: &HeaderMap, watch: Watch) -> Self {
        let left = if stream.is_end_stream() { Some(0) } else { announced(fields) };
        Upload(Kind::Http2 { stream, left, drained: false, watch })
    }
}

/// Knows what is odd about a stream's trailers.
#[derive(Debug)]
pub(super) struct Watch(Arc<Mutex<Blocks>>, u32);

impl Watch {
    pub(super) fn new(blocks: &Arc<Mutex<Blocks>>, stream: u32) -> Self {
        Watch(Arc::clone(blocks), stream)
    }

    fn odd(&self) -> Option<Oddity> {
        self.0.lock().odd(self.1)
    }
}

impl From<Incoming> for Upload {
    fn from(body: Incoming) -> Self {
        Upload(Kind::Http1(body))
    }
}

/// The one `Content-Length`; more than one is the handler's to refuse.
fn announced(fields: &HeaderMap) -> Option<u64> {
    let mut lines = fields.get_all(CONTENT_LENGTH).into_iter();
    let (line, more) = (lines.next()?, lines.next());
    if more.is_some() {
        return None;
    }
    line.to_str().ok()?.parse().ok()
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let (stream, left, drained, watch) = match &mut self.0 {
            Kind::Http1(body) => return Pin::new(body).poll_frame(cx).map_err(BoxError::from),
            Kind::Http2 { stream, left, drained, watch } => (stream, left, drained, watch),
        };
        if !*drained {
            match ready!(stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails only when there is nothing to release any more.
                    let _ = stream.flow_control().release_capacity(data.len());
                    *left = left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => *drained = true,
            }
        }
        let trailers = ready!(stream.poll_trailers(cx))?;
        if let Some(odd) = watch.odd() {
            let broken = BrokenBody(Fault::BadRequest(odd.reason()));
            return Poll::Ready(Some(Err(broken.into())));
        }
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Http1(body) => body.is_end_stream(),
            Kind::Http2 { stream, .. } => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Http1(body) => body.size_hint(),
            Kind::Http2 { left, .. } => left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
