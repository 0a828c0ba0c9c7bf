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
use super::service::Service;
use super::{BoxError, Handler};

/// Serves one connection to its end.
pub(crate) async fn serve<H: Handler>(
    shared: Arc<Mutex<Shared>>,
    service: Arc<Service<H>>,
    limits: &Limits,
    options: &Http2Options,
) {
    let pulse = Arc::clone(&service.pulse);
    let builder = builder(limits, options);
    let answer = service_fn(move |request| {
        let open = Open::new(&service.pulse);
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
        let ended = conn.as_mut().poll(cx).is_ready();
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
    limits: &Limits,
    options: &Http2Options,
) -> hyper::server::conn::http2::Builder<InlineFirst> {
    let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX >> 1);
    let mut builder = hyper::server::conn::http2::Builder::new(InlineFirst);
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
#[derive(Clone, Copy, Debug)]
struct InlineFirst;

impl<F> hyper::rt::Executor<F> for InlineFirst
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let mut stream = Box::pin(stream);
        let mut cx = Context::from_waker(Waker::noop());
        if stream.as_mut().poll(&mut cx).is_pending() {
            tokio::spawn(stream);
        }
    }
}

/// One open exchange: from the request's arrival to the end of its answer.
struct Open {
    pulse: Arc<Pulse>,
    /// The answer went out whole.
    finished: bool,
    /// hyper holds a piece of the answer that the client has no window for.
    owing: bool,
}

impl Open {
    fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.exchange_opened();
        Open { pulse: Arc::clone(pulse), finished: false, owing: false }
    }

    fn owe(&mut self, owing: bool) {
        if self.owing != owing {
            self.owing = owing;
            self.pulse.owe(owing);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.owe(false);
        self.pulse.exchange_closed(self.finished);
    }
}

pin_project_lite::pin_project! {
    /// An answer's body that keeps its exchange open and knows when hyper holds a piece of
    /// it that the client has no window for.
    struct Tracked<B> {
        #[pin]
        body: B,
        open: Open,
    }
}

impl<B: Body> Tracked<B> {
    fn new(body: B, mut open: Open) -> Self {
        open.finished = body.is_end_stream();
        Tracked { body, open }
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
        let polled = this.body.as_mut().poll_frame(cx);
        if let Poll::Ready(frame) = &polled {
            // hyper asks for one piece ahead: until it asks again or lets go of the body,
            // this one (the last, too) waits for the client.
            this.open.owe(matches!(frame, Some(Ok(_))));
            this.open.finished = frame.is_none() || this.body.is_end_stream();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The frame size every peer accepts (RFC 9113 4.2).
const FRAME_MAX: u32 = 16_384;

/// HPACK table of the client's encoder, bytes (RFC 7541 4.2).
const HEADER_TABLE: u32 = 4_096;
