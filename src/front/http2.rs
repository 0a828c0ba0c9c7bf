//! One HTTP/2 connection: hyper's limits set one by one, and the loop that runs it.
//!
//! hyper's defaults are sized for trusted peers; each is set here so that an upgrade of
//! hyper cannot loosen one unseen. Idle means no exchange is open, whatever frames come.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::gate::Lease;
use super::http1::watch;
use super::options::{Http2Options, Limits};
use super::pulse::{Phase, Pulse, Verdict};
use super::service::Service;
use super::wire::Wire;
use super::{BoxError, Handler};

/// Serves one connection to its end.
pub(crate) async fn serve<H: Handler>(
    wire: Wire,
    lease: Lease,
    service: Arc<Service<H>>,
    limits: &Limits,
    options: &Http2Options,
) {
    let pulse = Arc::clone(&service.pulse);
    let ends = End { pulse: Arc::clone(&pulse), _lease: lease };
    let builder = builder(limits, options);
    let answer = service_fn(move |request| {
        let open = Open::new(&service.pulse);
        let service = Arc::clone(&service);
        async move {
            let response = service.http2(request).await;
            Ok::<_, std::convert::Infallible>(response.map(|body| Tracked { body, _open: open }))
        }
    });
    pulse.enter(Phase::Idle);
    let mut conn = pin!(builder.serve_connection(TokioIo::new(wire), answer));
    let mut woken = None;
    let mut going = false;
    poll_fn(|cx| {
        watch(&pulse, &mut woken, cx);
        let verdict = pulse.verdict();
        if verdict == Verdict::Abort {
            return Poll::Ready(());
        }
        if !going && (pulse.draining() || verdict == Verdict::Close) {
            going = true;
            conn.as_mut().graceful_shutdown();
            if verdict == Verdict::Close {
                pulse.set_verdict(Verdict::Fine);
                pulse.enter(Phase::Linger);
            }
        }
        conn.as_mut().poll(cx).map(|_| ())
    })
    .await;
    drop(ends);
}

fn builder(
    limits: &Limits,
    options: &Http2Options,
) -> hyper::server::conn::http2::Builder<TokioExecutor> {
    let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX >> 1);
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
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

/// Marks the pulse as gone and gives the lease back, however serving ends.
struct End {
    pulse: Arc<Pulse>,
    _lease: Lease,
}

impl Drop for End {
    fn drop(&mut self) {
        self.pulse.enter(Phase::Gone);
    }
}

/// One open exchange: from the request's arrival to the end of its answer.
struct Open(Arc<Pulse>);

impl Open {
    fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.exchange_opened();
        Open(Arc::clone(pulse))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.exchange_closed();
    }
}

pin_project_lite::pin_project! {
    /// An answer's body that keeps its exchange open.
    struct Tracked<B> {
        #[pin]
        body: B,
        _open: Open,
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
        self.project().body.poll_frame(cx)
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
