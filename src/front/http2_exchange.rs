//! One HTTP/2 exchange that is not answered at once: from the request to the last byte.
//!
//! It is polled once where its request was accepted; only what has to wait becomes a task. The
//! answer's bytes are given to h2 only as far as the client's windows let them go, so what a
//! stream holds is known, and one that the client does not take is let go by itself (`rein`).

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use http_body::{Body, Frame};

use super::pulse::Pulse;
use super::rein::Rein;
use super::reined::Reined;
use super::service::Service;
use super::stats::count;
use super::upload::Upload;
use super::{BoxError, Handler};
use crate::base::Clock;
use crate::rules::date;
use crate::rules::fault::Fault;

/// One open exchange: from the request's arrival to the end of its answer.
pub(super) struct Open {
    pulse: Arc<Pulse>,
    /// The answer went out whole.
    pub(super) finished: bool,
}

impl Open {
    pub(super) fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.exchange_opened();
        Open { pulse: Arc::clone(pulse), finished: false }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pulse.exchange_closed(self.finished);
    }
}

/// Polls once; what is not done then becomes a task, whose first poll registers its waker.
pub(super) fn start<H: Handler>(
    service: &Arc<Service<H>>,
    request: Request<Upload>,
    respond: SendResponse<Bytes>,
    open: Open,
) {
    let rein = Arc::<Rein>::default();
    let exchange = run(Arc::clone(service), request, respond, open, Arc::clone(&rein));
    hurry(service, exchange, rein);
}

/// Answers a request that the handler does not get to see. What is left of its body h2 resets.
pub(super) fn refuse<H: Handler>(
    service: &Arc<Service<H>>,
    method: &Method,
    reason: &'static str,
    respond: SendResponse<Bytes>,
) {
    count(&service.stats.refused);
    let open = Open::new(&service.pulse);
    let response = service.handler.refuse(Fault::BadRequest(reason), Arc::clone(&service.conn));
    let rein = Arc::<Rein>::default();
    let head_only = *method == Method::HEAD;
    hurry(service, answer(response, head_only, respond, open, Arc::clone(&rein)), rein);
}

fn hurry<H: Handler>(
    service: &Arc<Service<H>>,
    exchange: impl Future<Output = ()> + Send + 'static,
    rein: Arc<Rein>,
) {
    let mut exchange = Box::pin(exchange);
    let mut cx = Context::from_waker(Waker::noop());
    if exchange.as_mut().poll(&mut cx).is_pending() {
        tokio::spawn(Reined::new(exchange, rein, Arc::clone(&service.pulse)));
    }
}

async fn run<H: Handler>(
    service: Arc<Service<H>>,
    request: Request<Upload>,
    mut respond: SendResponse<Bytes>,
    open: Open,
    rein: Arc<Rein>,
) {
    let head_only = request.method() == Method::HEAD;
    let response = {
        let mut answering = pin!(service.http2(request));
        poll_fn(|cx| match answering.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            // A client that takes its request back is not worked for.
            Poll::Pending => respond.poll_reset(cx).map(|_| None),
        })
        .await
    };
    if let Some(response) = response {
        answer(response, head_only, respond, open, rein).await;
    }
}

async fn answer<B>(
    response: Response<B>,
    head_only: bool,
    mut respond: SendResponse<Bytes>,
    mut open: Open,
    rein: Arc<Rein>,
) where
    B: Body<Data = Bytes, Error = BoxError>,
{
    let (head, body) = response.into_parts();
    let ended = body.is_end_stream();
    let mut head = Response::from_parts(head, ());
    dress(head.headers_mut());
    if !ended && let Some(length) = body.size_hint().exact() {
        let fields = head.headers_mut();
        fields.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    // Whatever the handler made of it: content is never sent to a HEAD (RFC 9110 9.3.2).
    let ended = ended || head_only;
    let Ok(stream) = respond.send_response(head, ended) else {
        respond.send_reset(Reason::INTERNAL_ERROR);
        return;
    };
    open.finished = ended || pour(body, stream, &open.pulse, &rein).await.is_some();
}

/// Sends a body; `None` if it broke off or the client does not want it any more.
async fn pour<B>(body: B, mut stream: SendStream<Bytes>, pulse: &Pulse, rein: &Rein) -> Option<()>
where
    B: Body<Data = Bytes, Error = BoxError>,
{
    let mut body = pin!(body);
    loop {
        let frame = poll_fn(|cx| poll_next(body.as_mut(), &mut stream, cx)).await?;
        let Some(frame) = frame else {
            return stream.send_data(Bytes::new(), true).ok();
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                let trailers = frame.into_trailers().ok()?;
                return stream.send_trailers(trailers).ok();
            }
        };
        let ends = body.is_end_stream();
        let mut place = Place::default();
        poll_fn(|cx| {
            let sent = place.poll_send((&mut stream, cx), (&data, ends), pulse.now());
            rein.wait(place.waits());
            sent
        })
        .await?;
        if ends {
            return Some(());
        }
    }
}

type Next = Option<Frame<Bytes>>;

/// The next frame of `body`, unless the client has reset the stream.
fn poll_next<B>(
    body: Pin<&mut B>,
    stream: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
) -> Poll<Option<Next>>
where
    B: Body<Data = Bytes, Error = BoxError>,
{
    match body.poll_frame(cx) {
        Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Some(frame))),
        Poll::Ready(None) => Poll::Ready(Some(None)),
        Poll::Ready(Some(Err(error))) => {
            tracing::debug!(%error, "an answer broke off");
            stream.send_reset(Reason::INTERNAL_ERROR);
            Poll::Ready(None)
        }
        Poll::Pending => stream.poll_reset(cx).map(|_| None),
    }
}

/// How much of some bytes has been sent, and since when the client is waited for.
///
/// The wait ends only when a whole piece has gone: a client that opens its window byte by byte
/// is as good as one that does not, and pieces are so short that any honest one takes them in
/// time.
#[derive(Debug, Default)]
pub(super) struct Place {
    at: usize,
    piece_end: usize,
    since: u64,
}

impl Place {
    /// Sends what is left of `data`, and after it the end of the stream if it `ends` there, as
    /// far as the client lets it go; `now` is coarse time. `None`: the stream is no more.
    pub(super) fn poll_send(
        &mut self,
        (stream, cx): (&mut SendStream<Bytes>, &mut Context<'_>),
        (data, ends): (&Bytes, bool),
        now: u64,
    ) -> Poll<Option<()>> {
        if data.is_empty() && ends {
            return Poll::Ready(stream.send_data(Bytes::new(), true).ok());
        }
        while self.at < data.len() {
            if self.at >= self.piece_end {
                (self.piece_end, self.since) = ((self.at + PIECE_MAX).min(data.len()), 0);
            }
            let left = data.len() - self.at;
            stream.reserve_capacity(left.min(CLAIM_MAX));
            let room = match stream.capacity() {
                0 => match stream.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(room))) => room,
                    Poll::Ready(_) => return Poll::Ready(None),
                    Poll::Pending => {
                        if self.since == 0 {
                            self.since = now;
                        }
                        return Poll::Pending;
                    }
                },
                room => room,
            };
            let end = self.at + left.min(room);
            let last = ends && end == data.len();
            if stream.send_data(data.slice(self.at..end), last).is_err() {
                return Poll::Ready(None);
            }
            self.at = end;
        }
        self.since = 0;
        Poll::Ready(Some(()))
    }

    /// Bytes sent.
    pub(super) fn sent(&self) -> usize {
        self.at
    }

    /// Since when the client is waited for, if it is.
    pub(super) fn waits(&self) -> Option<u64> {
        (self.since != 0).then_some(self.since)
    }
}

/// What every answer says or does not say in HTTP/2, whatever the handler made it of: no field
/// of a connection (RFC 9113 8.2.2), and a `Date` (RFC 9110 6.6.1).
fn dress(fields: &mut HeaderMap) {
    if let Some(options) = fields.remove(header::CONNECTION) {
        for name in options.as_bytes().split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) {
                fields.remove(name);
            }
        }
    }
    for name in [header::TRANSFER_ENCODING, header::UPGRADE, header::TE] {
        fields.remove(name);
    }
    for name in ["keep-alive", "proxy-connection"] {
        fields.remove(name);
    }
    date_it(fields);
}

/// Adds a `Date` where there is none.
pub(super) fn date_it(fields: &mut HeaderMap) {
    if !fields.contains_key(header::DATE) {
        let now = date::format(Clock::real().now().wall_secs());
        if let Ok(now) = HeaderValue::try_from(now) {
            fields.insert(header::DATE, now);
        }
    }
}

/// Bytes of one piece of an answer: taken within `write_stall` by any reader that is not
/// slower than about a kilobyte a second.
const PIECE_MAX: usize = 32 << 10;

/// Bytes of the connection's window that one stream lays claim to at a time.
const CLAIM_MAX: usize = 64 << 10;
