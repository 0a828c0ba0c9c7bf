//! Between the protocols and the handler: refusals, panics, drain, upgrades.
//!
//! A handler that panics costs its own exchange an answer of 500 and nothing else. The
//! synthetic request of the guard is recognised here, so that a refusal is answered in
//! the order of the requests before it.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode, Version, request};
use http_body::Body;
use hyper::body::Incoming;
use parking_lot::Mutex;

use super::pulse::{Pulse, Upgrade};
use super::stats::{Stats, count};
use super::upload::Upload;
use super::{Answering, Connection, Handler, Plain};
use crate::rules::fault::Fault;

/// The method of the request the guard makes up; it never lets a client send it.
pub(crate) const REFUSED: &str = "BRINK-REFUSED";

/// Everything an exchange needs besides the request.
pub(crate) struct Service<H: Handler> {
    pub(crate) handler: H,
    pub(crate) conn: Arc<Connection>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) stats: Arc<Stats>,
    /// The answer to the request that hyper is given next (`later`).
    pub(crate) answered: Mutex<Option<Response<H::Body>>>,
}

impl<H: Handler> Service<H> {
    /// One HTTP/1 exchange.
    pub(crate) async fn http1(self: Arc<Self>, request: Request<Incoming>) -> Response<H::Body> {
        let old = request.version() == Version::HTTP_10;
        let mut request = request.map(Upload::from);
        let mut response = if request.method().as_str() == REFUSED {
            let fault = self.pulse.fault().unwrap_or(Fault::Internal);
            count(&self.stats.refused);
            let mut response = self.handler.refuse(fault, Arc::clone(&self.conn));
            close_after(&mut response);
            response
        } else if let Some(response) = self.answered.lock().take() {
            response
        } else {
            let upgrade = self.pulse.upgrade();
            let granted = upgrade == Upgrade::Asked && asks_for_websocket(&request);
            if upgrade != Upgrade::None && !granted {
                // RFC 9110 7.8: an upgrade may be ignored; h2c and its like always are.
                request.headers_mut().remove(UPGRADE);
                request.headers_mut().remove("http2-settings");
            }
            let response = self.guarded(self.handler.handle(request, self.conn.clone())).await;
            self.conn.interim.written().await;
            if upgrade != Upgrade::None {
                let granted = granted && response.status() == StatusCode::SWITCHING_PROTOCOLS;
                self.pulse.set_upgrade(if granted { Upgrade::Tunnel } else { Upgrade::None });
            }
            response
        };
        if self.pulse.draining() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            close_after(&mut response);
        }
        self.pulse.set_ends_by_close(old && response.size_hint().exact().is_none());
        response
    }

    /// The answer to a plain request, if the handler has it at hand. One that panics here is
    /// asked again the long way.
    pub(crate) fn ready(&self, asked: &Plain<'_>, head: &mut Vec<u8>) -> Option<H::Ready> {
        self.at_hand(|| self.handler.ready(asked, &self.conn, head))
    }

    /// The same for a request of HTTP/2.
    pub(crate) fn ready_http2(&self, asked: &request::Parts) -> Option<(Response<()>, H::Ready)> {
        self.at_hand(|| self.handler.ready_http2(asked, &self.conn))
    }

    fn at_hand<T>(&self, ready: impl FnOnce() -> Option<T>) -> Option<T> {
        catch_unwind(AssertUnwindSafe(ready)).unwrap_or_else(|_| {
            count(&self.stats.panics);
            tracing::error!(conn = self.conn.id, "a handler panicked over a plain request");
            None
        })
    }

    /// The answer to a plain request, if the handler gives it without hyper.
    pub(crate) fn plain(&self, head: request::Parts) -> Option<Answering<H::Body>> {
        let begun = AssertUnwindSafe(|| self.handler.plain(head, &self.conn));
        catch_unwind(begun).unwrap_or_else(|_| {
            count(&self.stats.panics);
            tracing::error!(conn = self.conn.id, "a handler panicked over a plain request");
            None
        })
    }

    /// One HTTP/2 exchange.
    pub(crate) async fn http2(self: Arc<Self>, request: Request<Upload>) -> Response<H::Body> {
        self.guarded(self.handler.handle(request, Arc::clone(&self.conn))).await
    }

    async fn guarded(
        &self,
        exchange: impl Future<Output = Response<H::Body>>,
    ) -> Response<H::Body> {
        let mut exchange = pin!(exchange);
        let outcome =
            poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| exchange.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Some),
                Err(_) => Poll::Ready(None),
            });
        outcome.await.unwrap_or_else(|| self.panicked())
    }

    /// The answer of a handler that panicked.
    pub(crate) fn panicked(&self) -> Response<H::Body> {
        count(&self.stats.panics);
        tracing::error!(conn = self.conn.id, "a handler panicked; answered 500");
        let mut response = self.handler.refuse(Fault::Internal, Arc::clone(&self.conn));
        if !self.conn.http2 {
            close_after(&mut response);
        }
        response
    }
}

fn close_after<B>(response: &mut Response<B>) {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

fn asks_for_websocket<B>(request: &Request<B>) -> bool {
    let mut asked = request.headers().get_all(UPGRADE).iter();
    asked.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && asked.next().is_none()
}
