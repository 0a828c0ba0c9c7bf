//! One HTTP/2 connection: h2's limits set one by one, and the loop that runs it.
//!
//! h2 is driven directly: everything that is ready is accepted, what is stored is answered on
//! the spot (`http2_straight`), the rest becomes exchanges of their own (`http2_exchange`), and
//! what all of them wrote leaves at once, before the task sleeps. hyper made a future, a task's
//! worth of state and a body of each request.
//!
//! h2's defaults are sized for trusted peers; each is set here so that an upgrade of h2
//! cannot loosen one unseen. Idle means no exchange is open, whatever frames come.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, Handshake, SendResponse};
use h2::{Reason, RecvStream};
use http::{Method, Request};
use parking_lot::Mutex;

use super::http1::watch;
use super::http2_block::Blocks;
use super::http2_exchange::Open;
use super::http2_io::{Http2Io, Shared};
use super::http2_ping::KeepAlive;
use super::hub::Hub;
use super::options::{Http2Options, Limits};
use super::pulse::{Phase, Verdict};
use super::service::Service;
use super::stats::count;
use super::upload::{Upload, Watch};
use super::{Handler, http2_exchange, http2_straight};

/// Serves one connection to its end.
pub(crate) async fn serve<H: Handler>(
    shared: Arc<Mutex<Shared>>,
    service: Arc<Service<H>>,
    limits: &Limits,
    options: &Http2Options,
) {
    let pulse = Arc::clone(&service.pulse);
    pulse.enter(Phase::Idle);
    let hub = Hub::new();
    let handshake = builder(limits, options).handshake(Http2Io(Arc::clone(&shared)));
    let mut conn = Driver {
        waker: Waker::from(Arc::clone(&hub)),
        hub,
        blocks: shared.lock().blocks(),
        shared: Arc::clone(&shared),
        service,
        options: options.clone(),
        state: State::Greeting(handshake),
        going: false,
    };
    let mut woken = None;
    let aborted = poll_fn(|cx| {
        watch(&pulse, &mut woken, cx);
        let verdict = pulse.verdict();
        if verdict == Verdict::Abort {
            return Poll::Ready(true);
        }
        if !conn.going && (pulse.draining() || verdict != Verdict::Fine) {
            conn.go();
            if verdict != Verdict::Fine {
                pulse.set_verdict(Verdict::Fine);
                pulse.enter(Phase::Linger);
            }
        }
        let ended = match conn.poll(cx) {
            Poll::Ready(outcome) => {
                if outcome.is_err() {
                    count(&conn.service.stats.http2_errors);
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

/// What a connection is made of.
struct Driver<H: Handler> {
    state: State,
    shared: Arc<Mutex<Shared>>,
    blocks: Arc<Mutex<Blocks>>,
    service: Arc<Service<H>>,
    options: Http2Options,
    hub: Arc<Hub>,
    /// Wakes through the hub.
    waker: Waker,
    /// It ends after what is open.
    going: bool,
}

enum State {
    Greeting(Handshake<Http2Io, Bytes>),
    Open(Connection<Http2Io, Bytes>, Option<KeepAlive>),
}

impl<H: Handler> Driver<H> {
    /// Says that no more requests are taken: GOAWAY, and a second one when it has been heard.
    fn go(&mut self) {
        self.going = true;
        if let State::Open(conn, _) = &mut self.state {
            conn.graceful_shutdown();
        }
    }

    /// Everything that can be done now; `Ready` when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        self.shared.lock().rouse();
        self.hub.enter(cx);
        let polled = self.poll_inside(cx);
        self.hub.leave();
        polled
    }

    fn poll_inside(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let mut inside = Context::from_waker(&self.waker);
        if let State::Greeting(handshake) = &mut self.state {
            let mut conn = ready!(Pin::new(handshake).poll(&mut inside))?;
            if self.going {
                conn.graceful_shutdown();
            }
            let pings = conn.ping_pong().map(|pings| KeepAlive::new(pings, &self.options));
            self.state = State::Open(conn, pings);
        }
        let State::Open(conn, pings) = &mut self.state else { return Poll::Pending };
        let silent = self.shared.lock().silent();
        if let Some(alive) = pings
            && alive.poll(cx, silent).is_ready()
        {
            *pings = None;
            count(&self.service.stats.http2_errors);
            conn.abrupt_shutdown(Reason::NO_ERROR);
        }
        loop {
            self.hub.look();
            match ready!(conn.poll_accept(&mut inside)) {
                Some(accepted) => begin(&self.service, &self.blocks, accepted?),
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// One request: answered now, or an exchange of its own.
fn begin<H: Handler>(
    service: &Arc<Service<H>>,
    blocks: &Arc<Mutex<Blocks>>,
    (request, respond): (Request<RecvStream>, SendResponse<Bytes>),
) {
    let (parts, stream) = request.into_parts();
    let id = respond.stream_id().as_u32();
    let odd = blocks.lock().odd(id);
    if let Some(odd) = odd {
        return http2_exchange::refuse(service, &parts.method, odd.reason(), respond);
    }
    if parts.method == Method::GET
        && stream.is_end_stream()
        && let Some(ready) = service.ready_http2(&parts)
    {
        drop(stream);
        return http2_straight::answer(service, parts, ready, respond);
    }
    let open = Open::new(&service.pulse);
    let upload = Upload::http2(stream, &parts.headers, Watch::new(blocks, id));
    http2_exchange::start(service, Request::from_parts(parts, upload), respond, open);
}

fn builder(limits: &Limits, options: &Http2Options) -> Builder {
    let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX >> 1);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(options.streams_max)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(options.local_resets_max))
        .max_concurrent_reset_streams(RESET_REMEMBERED)
        .reset_stream_duration(RESET_REMEMBERED_FOR)
        .initial_window_size(size(options.stream_window.bytes()))
        .initial_connection_window_size(size(options.connection_window.bytes()))
        .max_frame_size(FRAME_MAX)
        .max_send_buffer_size(options.send_buffer.bytes() as usize)
        .max_header_list_size(size(limits.head_max.bytes()))
        .header_table_size(HEADER_TABLE);
    builder
}

/// Streams that this side has reset and whose late frames are still known as theirs, and for
/// how long.
const RESET_REMEMBERED: usize = 50;
const RESET_REMEMBERED_FOR: Duration = Duration::from_secs(1);

/// The frame size every peer accepts (RFC 9113 4.2).
const FRAME_MAX: u32 = 16_384;

/// HPACK table of the client's encoder, bytes (RFC 7541 4.2).
const HEADER_TABLE: u32 = 4_096;
