//! One HTTP/2 connection: hyper's limits set one by one, and the loop that runs it.
//!
//! hyper's defaults are sized for trusted peers; each is set here so that an upgrade of
//! hyper cannot loosen one unseen. Idle means no exchange is open, whatever frames come.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;

use super::http1::watch;
use super::http2_io::{Http2Io, Shared};
use super::options::{Http2Options, Limits};
use super::pulse::{Phase, Pulse, Verdict};
use super::rein::{Rein, Reined};
use super::service::Service;
use super::stats::count;
use super::{BoxError, Handler};

/// Serves one connection to its end.
pub(crate) async fn serve<H: Handler>(
    shared: Arc<Mutex<Shared>>,
    service: Arc<Service<H>>,
    limits: &Limits,
    options: &Http2Options,
) {
    let pulse = Arc::clone(&service.pulse);
    let stats = Arc::clone(&service.stats);
    let next = Arc::new(Mutex::new(None));
    let inline = InlineFirst { next: Arc::clone(&next), pulse: Arc::clone(&pulse) };
    let builder = builder(inline, limits, options);
    let answer = service_fn(move |request| {
        let open = Open::new(&service.pulse);
        *next.lock() = Some(Arc::clone(&open.rein));
        let service = Arc::clone(&service);
        async move {
            let response = service.http2(request).await;
            Ok::<_, std::convert::Infallible>(response.map(|body| Tracked::new(body, open)))
        }
    });
    pulse.enter(Phase::Idle);
    let io = TokioIo::new(Http2Io(Arc::clone(&shared)));
    let mut conn = pin!(builder.serve_connection(io, answer));
    let mut woken = None;
    let mut going = false;
    let aborted = poll_fn(|cx| {
        watch(&pulse, &mut woken, cx);
        let verdict = pulse.verdict();
        if verdict == Verdict::Abort {
            return Poll::Ready(true);
        }
        if !going && (pulse.draining() || verdict != Verdict::Fine) {
            going = true;
            conn.as_mut().graceful_shutdown();
            if verdict != Verdict::Fine {
                pulse.set_verdict(Verdict::Fine);
                pulse.enter(Phase::Linger);
            }
        }
        let ended = match conn.as_mut().poll(cx) {
            Poll::Ready(outcome) => {
                if outcome.is_err() {
                    count(&stats.http2_errors);
                }
                true
            }
            Poll::Pending => false,
        };
        // Before the task sleeps: everything that was gathered, at once.
        let flushed = shared.lock().poll_flush(cx);
        match flushed {
            Poll::Ready(Err(_)) => Poll::Ready(true),
            _ if ended => Poll::Ready(false),
            _ => Poll::Pending,
        }
    })
    .await;
    if !aborted {
        poll_fn(|cx| {
            if pulse.verdict() == Verdict::Abort {
                return Poll::Ready(Ok(()));
            }
            shared.lock().poll_close(cx)
        })
        .await
        .ok();
    }
}

fn builder(
    inline: InlineFirst,
    limits: &Limits,
    options: &Http2Options,
) -> hyper::server::conn::http2::Builder<InlineFirst> {
    let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX >> 1);
    let mut builder = hyper::server::conn::http2::Builder::new(inline);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.streams_max)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(options.local_resets_max)
        .initial_stream_window_size(size(options.stream_window.bytes()))
        .initial_connection_window_size(size(options.connection_window.bytes()))
        .adaptive_window(false)
        .max_frame_size(FRAME_MAX)
        .max_send_buf_size(options.send_buffer.bytes() as usize)
        .max_header_list_size(size(limits.head_max.bytes()))
        .header_table_size(HEADER_TABLE)
        .keep_alive_interval(options.ping_interval)
        .keep_alive_timeout(options.ping_timeout);
    builder
}

/// Polls a stream's future once where it is made. Answers that need no waiting (hits) so
/// cost no task, and are written together with the others of the same read. What is not
/// done at once becomes a task; its first poll there registers the real waker.
#[derive(Clone, Debug)]
struct InlineFirst {
    /// The rein of the exchange whose stream comes next: hyper calls the service and hands
    /// over the stream in one go.
    next: Arc<Mutex<Option<Arc<Rein>>>>,
    pulse: Arc<Pulse>,
}

impl<F> hyper::rt::Executor<F> for InlineFirst
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let mut stream = Box::pin(stream);
        let mut cx = Context::from_waker(Waker::noop());
        let rein = self.next.lock().take();
        if stream.as_mut().poll(&mut cx).is_pending() {
            let rein = rein.unwrap_or_default();
            tokio::spawn(Reined::new(stream, rein, Arc::clone(&self.pulse)));
        }
    }
}

/// One open exchange: from the request's arrival to the end of its answer.
struct Open {
    pulse: Arc<Pulse>,
    /// The answer went out whole.
    finished: bool,
    /// Whether the client is waited for, and since when.
    rein: Arc<Rein>,
}

impl Open {
    fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.exchange_opened();
        Open { pulse: Arc::clone(pulse), finished: false, rein: Arc::default() }
    }

    /// There is something for the client to take, or there is not.
    fn owe(&self, owing: bool) {
        self.rein.wait(owing.then(|| self.pulse.now()));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pulse.exchange_closed(self.finished);
    }
}

pin_project_lite::pin_project! {
    /// An answer's body that keeps its exchange open and knows when the client is waited
    /// for: hyper asks for a piece only when there is a window for it. Pieces are short, so
    /// that a slow client that does take them is not mistaken for one that does not.
    struct Tracked<B> {
        #[pin]
        body: B,
        // The rest of a long piece.
        rest: Bytes,
        open: Open,
    }
}

impl<B: Body> Tracked<B> {
    fn new(body: B, mut open: Open) -> Self {
        open.finished = body.is_end_stream();
        open.owe(!open.finished);
        Tracked { body, rest: Bytes::new(), open }
    }
}

impl<B> Body for Tracked<B>
where
    B: Body<Data = Bytes, Error = BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        this.open.owe(false);
        let mut polled = match this.rest.is_empty() {
            true => this.body.as_mut().poll_frame(cx),
            false => Poll::Ready(Some(Ok(Frame::data(std::mem::take(this.rest))))),
        };
        if let Poll::Ready(frame) = &mut polled {
            if let Some(Ok(frame)) = frame
                && let Some(data) = frame.data_mut()
                && data.len() > PIECE_MAX
            {
                *this.rest = data.split_off(PIECE_MAX);
            }
            // Until hyper asks again or lets go of the body, this piece (the last, too) waits
            // for the client.
            this.open.owe(matches!(frame, Some(Ok(_))));
            let ended = this.rest.is_empty() && this.body.is_end_stream();
            this.open.finished = frame.is_none() || ended;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        if !self.rest.is_empty() {
            let held = self.rest.len() as u64;
            let upper = hint.upper().map(|upper| upper.saturating_add(held));
            hint.set_lower(0);
            if let Some(upper) = upper {
                hint.set_upper(upper);
            }
        }
        hint
    }
}

/// Bytes of one piece of an answer: taken within `write_stall` by any reader that is not
/// slower than about a kilobyte a second.
const PIECE_MAX: usize = 32 << 10;

/// The frame size every peer accepts (RFC 9113 4.2).
const FRAME_MAX: u32 = 16_384;

/// HPACK table of the client's encoder, bytes (RFC 7541 4.2).
const HEADER_TABLE: u32 = 4_096;
