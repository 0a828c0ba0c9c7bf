//! The body of a request to an origin.
//!
//! Three shapes, because they differ in what may be tried again: nothing and held bytes
//! can be sent twice, a client's stream cannot. The shared [`Upload`] tells whether the
//! body was taken whole: an origin connection whose request was not sent whole is never
//! used again, and a client body that fails breaks the request off instead of ending it
//! (an ended one would be taken for complete).

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

/// Hears interim (1xx) answers.
pub trait Hear: Send + Sync {
    /// One came, with these fields.
    fn interim(&self, status: StatusCode, fields: &HeaderMap);
}

/// An error of a body that is not ours.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A request body on its way to an origin.
#[derive(Default)]
pub struct Outgoing {
    shape: Shape,
    upload: Option<Arc<Upload>>,
    hear: Option<Arc<dyn Hear>>,
}

#[derive(Default)]
enum Shape {
    #[default]
    Empty,
    Full(Option<Bytes>),
    Stream(UnsyncBoxBody<Bytes, BoxError>),
}

/// How far a body has got.
#[derive(Debug, Default)]
pub struct Upload {
    taken: AtomicU64,
    whole: AtomicBool,
    failed: AtomicBool,
}

impl Upload {
    /// Bytes handed to the connection so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether all of it was.
    pub fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// Whether the client's side of it failed.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

impl Outgoing {
    /// No body.
    pub fn empty() -> Self {
        Outgoing::default()
    }

    /// Bytes in hand.
    pub fn full(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Outgoing::default();
        }
        Outgoing { shape: Shape::Full(Some(bytes)), upload: Some(Arc::default()), hear: None }
    }

    /// A client's body as it arrives; empty if it is known to have ended.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Outgoing::default();
        }
        let body = body.map_err(Into::into).boxed_unsync();
        Outgoing { shape: Shape::Stream(body), upload: Some(Arc::default()), hear: None }
    }

    /// Interim answers to the request are told to `hear`.
    pub fn heard_by(mut self, hear: Arc<dyn Hear>) -> Self {
        self.hear = Some(hear);
        self
    }

    /// Who hears interim answers.
    pub(super) fn hear(&self) -> Option<&Arc<dyn Hear>> {
        self.hear.as_ref()
    }

    /// A second copy, if the body can be sent twice.
    pub(super) fn again(&self) -> Option<Outgoing> {
        let mut copy = match &self.shape {
            Shape::Empty => Outgoing::default(),
            Shape::Full(Some(bytes)) => Outgoing::full(bytes.clone()),
            Shape::Full(None) | Shape::Stream(_) => return None,
        };
        copy.hear = self.hear.clone();
        Some(copy)
    }

    /// Whether there is no body.
    pub(super) fn is_none(&self) -> bool {
        matches!(self.shape, Shape::Empty)
    }

    /// Whether [`Outgoing::again`] has something to give.
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(self.shape, Shape::Empty | Shape::Full(Some(_)))
    }

    /// The progress, unless there is no body.
    pub(super) fn upload(&self) -> Option<Arc<Upload>> {
        self.upload.clone()
    }

    fn poll_shape(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.shape {
            Shape::Empty => Poll::Ready(None),
            Shape::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Shape::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let item = ready!(self.poll_shape(cx));
        if let Some(upload) = &self.upload {
            match &item {
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                    upload.taken.fetch_add(length, Ordering::Relaxed);
                    if self.is_end_stream() {
                        upload.whole.store(true, Ordering::Release);
                    }
                }
                Some(Err(_)) => upload.failed.store(true, Ordering::Release),
                None => upload.whole.store(true, Ordering::Release),
            }
        }
        Poll::Ready(item)
    }

    fn is_end_stream(&self) -> bool {
        match &self.shape {
            Shape::Empty => true,
            Shape::Full(bytes) => bytes.is_none(),
            Shape::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.shape {
            Shape::Empty => SizeHint::with_exact(0),
            Shape::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Shape::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.shape {
            Shape::Empty => "Outgoing::Empty",
            Shape::Full(_) => "Outgoing::Full",
            Shape::Stream(_) => "Outgoing::Stream",
        })
    }
}
