//! HTTP/2 requests for what is stored, answered where they were accepted.
//!
//! The counterpart of `straight`: no task, no future, no body type. The head goes to h2 and
//! the body after it, shared with the cache. Only a client whose window is too small for the
//! answer makes it a task, which ends like any other that the client does not take (`rein`).
//! The handler is told once, with the bytes that h2 may send and whether those are all.

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
use super::rein::Rein;
use super::reined::Reined;
use super::service::Service;
use super::{Handler, Plain, Ready};

/// How much of an answer is sent.
#[derive(Default)]
struct Progress {
    /// The piece of the body that is being sent, how much of it has been, and of those before.
    piece: usize,
    place: Place,
    before: usize,
    finished: bool,
}

impl Progress {
    fn poll_send(
        &mut self,
        (stream, cx): (&mut SendStream<Bytes>, &mut Context<'_>),
        body: &[Bytes],
        now: u64,
    ) -> Poll<()> {
        while let Some(piece) = body.get(self.piece) {
            let ends = body.iter().skip(self.piece + 1).all(Bytes::is_empty);
            match self.place.poll_send((&mut *stream, &mut *cx), (piece, ends), now) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Ready(Some(())) => {}
            }
            self.before += std::mem::take(&mut self.place).sent();
            self.piece += 1;
            self.finished = ends;
            if ends {
                break;
            }
        }
        Poll::Ready(())
    }

    /// No more of it will be sent.
    fn tell<H: Handler>(&self, ready: H::Ready, asked: &Parts, to: &Service<H>) {
        let told = ((self.before + self.place.sent()) as u64, self.finished);
        to.handler.sent(ready, &Plain::of(asked), &to.conn, told);
    }
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
    let mut progress = Progress::default();
    match respond.send_response(head, empty) {
        Ok(_) if empty => progress.finished = true,
        Ok(mut stream) => {
            let mut cx = Context::from_waker(Waker::noop());
            let now = service.pulse.now();
            if progress.poll_send((&mut stream, &mut cx), ready.body(), now).is_pending() {
                return wait(service, asked, (stream, ready), progress);
            }
        }
        Err(_) => respond.send_reset(Reason::INTERNAL_ERROR),
    }
    progress.tell(ready, &asked, service);
    let mut open = Open::new(&service.pulse);
    open.finished = progress.finished;
}

/// The client's window is too small: the rest is sent by a task.
fn wait<H: Handler>(
    service: &Arc<Service<H>>,
    asked: Parts,
    (stream, ready): (SendStream<Bytes>, H::Ready),
    progress: Progress,
) {
    let rein = Arc::<Rein>::default();
    let answer = Answer {
        open: Open::new(&service.pulse),
        service: Arc::clone(service),
        asked,
        ready: Some(ready),
        stream,
        progress,
        rein: Arc::clone(&rein),
    };
    tokio::spawn(Reined::new(Box::pin(answer), rein, Arc::clone(&service.pulse)));
}

/// An answer that waits for its client.
struct Answer<H: Handler> {
    service: Arc<Service<H>>,
    asked: Parts,
    ready: Option<H::Ready>,
    stream: SendStream<Bytes>,
    progress: Progress,
    open: Open,
    rein: Arc<Rein>,
}

impl<H: Handler> Future for Answer<H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(ready) = &this.ready else { return Poll::Ready(()) };
        let now = this.service.pulse.now();
        let polled = this.progress.poll_send((&mut this.stream, cx), ready.body(), now);
        this.rein.wait(this.progress.place.waits());
        this.open.finished = this.progress.finished;
        polled
    }
}

// Nothing in it is pinned.
impl<H: Handler> Unpin for Answer<H> {}

impl<H: Handler> Drop for Answer<H> {
    fn drop(&mut self) {
        if let Some(ready) = self.ready.take() {
            self.progress.tell(ready, &self.asked, &self.service);
        }
    }
}
