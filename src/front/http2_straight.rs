//! HTTP/2 requests for what is stored, answered where they were accepted.
//!
//! The counterpart of `straight`: no task, no future, no body type, no exchange beyond this
//! struct. The head goes to h2 and the body after it, shared with the cache. Only a client
//! whose window is too small for the answer makes it a task, which ends like any other that
//! the client does not take (`rein`). The handler is told once, with the bytes that h2 may
//! send and whether those are all.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::Response;
use http::request::Parts;

use super::http2_exchange::{Open, Place, date_it};
use super::rein::{Rein, Reined};
use super::service::Service;
use super::{Handler, Plain, Ready};

/// An answer on its way.
struct Answer<H: Handler> {
    service: Arc<Service<H>>,
    asked: Parts,
    ready: Option<H::Ready>,
    stream: Option<SendStream<Bytes>>,
    open: Open,
    /// The piece of the body that is being sent, how much of it has been, and of those before.
    piece: usize,
    place: Place,
    before: usize,
    rein: Arc<Rein>,
}

/// Answers a request with what the handler had at hand.
pub(super) fn answer<H: Handler>(
    service: &Arc<Service<H>>,
    asked: Parts,
    (mut head, ready): (Response<()>, H::Ready),
    mut respond: SendResponse<Bytes>,
) {
    date_it(head.headers_mut());
    let empty = ready.body().iter().all(Bytes::is_empty);
    let sent = respond.send_response(head, empty);
    if sent.is_err() {
        respond.send_reset(Reason::INTERNAL_ERROR);
    }
    let mut open = Open::new(&service.pulse);
    open.finished = empty && sent.is_ok();
    let mut answer = Answer {
        service: Arc::clone(service),
        asked,
        ready: Some(ready),
        stream: sent.ok().filter(|_| !empty),
        open,
        piece: 0,
        place: Place::default(),
        before: 0,
        rein: Arc::default(),
    };
    let mut cx = Context::from_waker(Waker::noop());
    if answer.poll_send(&mut cx).is_pending() {
        let (rein, pulse) = (Arc::clone(&answer.rein), Arc::clone(&service.pulse));
        tokio::spawn(Reined::new(Box::pin(answer), rein, pulse));
    }
}

impl<H: Handler> Answer<H> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(stream), Some(ready)) = (&mut self.stream, &self.ready) else {
            return Poll::Ready(());
        };
        let now = self.service.pulse.now();
        let body = ready.body();
        while let Some(piece) = body.get(self.piece) {
            let ends = body.iter().skip(self.piece + 1).all(Bytes::is_empty);
            let sent = self.place.poll_send((&mut *stream, cx), (piece, ends), now);
            self.rein.wait(self.place.waits());
            match sent {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Ready(Some(())) => {}
            }
            self.before += std::mem::take(&mut self.place).sent();
            self.piece += 1;
            self.open.finished = ends;
            if ends {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<H: Handler> Future for Answer<H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().poll_send(cx)
    }
}

// Nothing in it is pinned.
impl<H: Handler> Unpin for Answer<H> {}

impl<H: Handler> Drop for Answer<H> {
    fn drop(&mut self) {
        if let Some(ready) = self.ready.take() {
            let told = ((self.before + self.place.sent()) as u64, self.open.finished);
            let asked = Plain::of(&self.asked);
            self.service.handler.sent(ready, &asked, &self.service.conn, told);
        }
    }
}
