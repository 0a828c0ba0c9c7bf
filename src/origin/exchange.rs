//! One exchange with a server, over a connection of its pool or a fresh one.
//!
//! It repeats itself only for the connection-reuse race: an idle connection that the server
//! closed just when it was used. Trying another server is the fleet's decision.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;

use super::body::OriginBody;
use super::fault::OriginFault;
use super::framing::Framing;
use super::lease::{Lease, Link};
use super::outgoing::{Hear, Outgoing};
use super::server::{Failed, Server};
use super::{Answer, SendContext, request};
use crate::base::clock;

/// What came of one exchange, and the request if it may be sent once more.
type Tried = Result<(Answer, Option<Request<Outgoing>>), Failed>;

/// A failed exchange that may be repeated on a fresh connection at once.
enum Ended {
    Raced(Lease, Request<Outgoing>),
    Tried(Box<Tried>),
}

impl Ended {
    fn tried(tried: Tried) -> Ended {
        Ended::Tried(Box::new(tried))
    }
}

impl Server {
    /// One try. `keep` asks for the request back where it is safe to send it again;
    /// `patience` bounds the wait for the first byte.
    pub async fn exchange(
        self: &Arc<Self>,
        request: Request<Outgoing>,
        cx: &SendContext,
        keep: bool,
        patience: Duration,
    ) -> Tried {
        let place = match self.enter().await {
            Ok(place) => place,
            Err(fault) => return Err(Failed { fault, again: Some(request) }),
        };
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let bare = request::is_bare(&request);
        let mut lease = Lease::new(place, request.body().upload());
        let mut request = request;
        let mut fresh = false;
        loop {
            let idle = match fresh {
                true => None,
                false => self.idle(bare, !request::can_go_again(&request)),
            };
            let reused = idle.is_some();
            let link = match idle {
                Some(link) => Ok(link),
                None => Box::pin(self.open(cx)).await,
            };
            let link = match link {
                Ok(link @ Link::Bare(_)) if !bare => Box::pin(self.with_hyper(link)).await,
                link => link,
            };
            let link = match link {
                Ok(link) => link,
                Err(fault) => return Err(self.lost(fault, Some(request))),
            };
            let ended = match link {
                Link::Bare(_) => self.plainly(lease, link, request, (reused, patience)).await,
                _ => {
                    let how = (reused, keep, patience);
                    Box::pin(self.by_hyper(lease, link, request, how)).await
                }
            };
            match ended {
                Ended::Raced(back, again) => (lease, request) = (back, again),
                Ended::Tried(tried) => return *tried,
            }
            fresh = true;
        }
    }

    /// Speaks with the socket itself.
    async fn plainly(
        self: &Arc<Self>,
        mut lease: Lease,
        link: Link,
        mut request: Request<Outgoing>,
        (reused, patience): (bool, Duration),
    ) -> Ended {
        if let Err(fault) = self.address(&mut request, false) {
            return Ended::tried(Err(Failed { fault, again: None }));
        }
        lease.attach(link, request::expect(&request));
        self.keep_warm();
        if let Some(link) = lease.bare() {
            link.begin(&request);
        }
        let hear = request.body().hear().cloned();
        let began = clock::instant();
        match self.ask(&mut lease, hear, patience).await {
            Ok(head) => {
                let slow = self.note_latency(began.elapsed());
                if reused {
                    self.counters.reused.fetch_add(1, Ordering::Relaxed);
                }
                self.note_answer(head.status().as_u16(), slow);
                let between = self.common.options.timeouts.between_bytes;
                let response = head.map(|()| OriginBody::bare(lease, between));
                let answer =
                    Answer { response, server: self.name.clone(), stick: None, early: false };
                Ended::tried(Ok((answer, Some(request))))
            }
            Err(fault) => {
                let silent = !lease.bare().is_some_and(|one| one.has_begun());
                if reused && silent && matches!(fault, OriginFault::Broken(_)) {
                    return Ended::Raced(lease, request);
                }
                Ended::tried(Err(self.lost(fault, Some(request))))
            }
        }
    }

    /// Sends the request and waits for the head of its answer: `first_byte` for a byte of it,
    /// and if that is there for the whole as long as is allowed.
    async fn ask(
        &self,
        lease: &mut Lease,
        hear: Option<Arc<dyn Hear>>,
        first_byte: Duration,
    ) -> Result<Response<()>, OriginFault> {
        let Some(link) = lease.bare() else {
            return Err(OriginFault::Connect("the connection is not a plain one"));
        };
        let whole = self.common.options.timeouts.head;
        let mut late = pin!(tokio::time::sleep(first_byte));
        let mut rest = whole.checked_sub(first_byte).filter(|rest| !rest.is_zero());
        poll_fn(|cx| {
            if let Poll::Ready(answer) = link.poll_answer(cx, hear.as_deref()) {
                return Poll::Ready(answer);
            }
            while late.as_mut().poll(cx).is_ready() {
                match rest.take() {
                    Some(rest) if link.has_begun() => late.set(tokio::time::sleep(rest)),
                    _ if link.has_begun() => return Poll::Ready(Err(OriginFault::HeadTimeout)),
                    _ => return Poll::Ready(Err(OriginFault::FirstByteTimeout)),
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Hands the request to hyper.
    async fn by_hyper(
        self: &Arc<Self>,
        mut lease: Lease,
        link: Link,
        mut request: Request<Outgoing>,
        (reused, keep, patience): (bool, bool, Duration),
    ) -> Ended {
        let again = if keep || reused { request::again(&request) } else { None };
        let h2 = matches!(link, Link::Shared(_));
        if let Err(fault) = self.address(&mut request, h2) {
            return Ended::tried(Err(Failed { fault, again: None }));
        }
        request::tell_hyper(&mut request);
        let upload = request.body().upload();
        lease.attach(link, request::expect(&request));
        self.keep_warm();
        let began = clock::instant();
        let line = lease.line();
        let timeouts = &self.common.options.timeouts;
        let wait = request::Wait { line: line.as_deref(), upload: upload.as_deref() };
        match wait.head(lease.send(request), patience, timeouts.head).await {
            Ok(response) => {
                let slow = self.note_latency(began.elapsed());
                if reused {
                    self.counters.reused.fetch_add(1, Ordering::Relaxed);
                }
                let answer = self.answer(response, lease, h2, slow);
                Ended::tried(answer.map(|answer| (answer, again)))
            }
            Err(request::Unsent { fault, back }) => {
                if matches!(fault, OriginFault::Broken(_) | OriginFault::Odd(_)) {
                    lease.spoil();
                }
                let silent = !line.is_some_and(|line| line.has_begun());
                let raced = matches!(fault, OriginFault::Broken(_)) && silent;
                // What was never written may go out again whatever its method.
                match back.map(|back| *back).or(again) {
                    Some(back) if reused && raced => Ended::Raced(lease, back),
                    safe => Ended::tried(Err(self.lost(fault, safe))),
                }
            }
        }
    }

    /// Judges the status and hands out the body.
    fn answer(
        &self,
        response: Response<Incoming>,
        mut lease: Lease,
        h2: bool,
        slow: bool,
    ) -> Result<Answer, Failed> {
        if h2 && let Err(reason) = request::check_h2(&response) {
            lease.spoil();
            return Err(self.lost(OriginFault::Odd(reason), None));
        }
        self.note_answer(response.status().as_u16(), slow);
        let framing = match lease.line() {
            Some(line) => line.framing(),
            None if http_body::Body::is_end_stream(response.body()) => Framing::None,
            None => Framing::Stream,
        };
        if framing == Framing::Tunnel {
            lease.detach();
        }
        let early = lease.is_early();
        let between = self.common.options.timeouts.between_bytes;
        let response = response.map(|body| OriginBody::wire(body, framing, lease, between));
        Ok(Answer { response, server: self.name.clone(), stick: None, early })
    }
}
