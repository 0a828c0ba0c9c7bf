//! The right to one exchange with a server: a place in its queue and a connection.
//!
//! Whatever happens to the task that holds it, dropping a lease gives the place back and
//! closes the connection; only `finish` returns the connection to the pool.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::bare::Bare;
use super::fault::OriginFault;
use super::framing::Expect;
use super::guard::Line;
use super::link::{Shared, Solo};
use super::outgoing::{Outgoing, Upload};
use super::pool;
use super::server::Server;
use crate::base::clock;

/// A place among the requests in flight to a server.
#[derive(Debug)]
pub struct Place(pub(super) Arc<Server>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Ordering::Relaxed);
        self.0.places.add_permits(1);
    }
}

/// A connection in use.
#[derive(Debug)]
pub enum Link {
    /// HTTP/1 without hyper.
    Bare(Box<Bare>),
    /// HTTP/1.
    Solo(Solo),
    /// HTTP/2.
    Shared(Shared),
}

impl Link {
    fn leave(&self) {
        match self {
            Link::Bare(_) => {}
            Link::Solo(one) => one.line.leave(),
            Link::Shared(one) => one.line.leave(),
        }
    }
}

/// A place and the connection that answers.
#[derive(Debug)]
pub struct Lease {
    place: Place,
    link: Option<Link>,
    upload: Option<Arc<Upload>>,
}

impl Lease {
    /// A place without a connection yet.
    pub fn new(place: Place, upload: Option<Arc<Upload>>) -> Self {
        Lease { place, link: None, upload }
    }

    /// Counts body bytes that have arrived.
    pub fn received(&self, bytes: usize) {
        self.place.0.counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Begins an exchange on `link`; the one before, if any, is closed.
    pub fn attach(&mut self, link: Link, expect: Expect) {
        self.drop_link();
        match &link {
            Link::Bare(_) => {}
            Link::Solo(one) => one.line.begin(expect),
            Link::Shared(one) => one.line.enter(),
        }
        self.link = Some(link);
    }

    /// Sends the request; resolves when the head of the answer is there.
    pub async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        match self.link.as_mut() {
            Some(Link::Solo(one)) => one.sender.try_send_request(request).await,
            Some(Link::Shared(one)) => one.sender.try_send_request(request).await,
            Some(Link::Bare(_)) | None => std::future::pending().await,
        }
    }

    /// The connection, if the exchange goes without hyper.
    pub fn bare(&mut self) -> Option<&mut Bare> {
        match &mut self.link {
            Some(Link::Bare(one)) => Some(one),
            _ => None,
        }
    }

    /// The same, to look at.
    pub fn as_bare(&self) -> Option<&Bare> {
        match &self.link {
            Some(Link::Bare(one)) => Some(one),
            _ => None,
        }
    }

    /// The guard's line, if hyper speaks HTTP/1 here.
    pub fn line(&self) -> Option<Arc<Line>> {
        match self.link.as_ref()? {
            Link::Solo(one) => Some(one.line.clone()),
            Link::Bare(_) | Link::Shared(_) => None,
        }
    }

    /// Whether some of the request is still to be sent.
    pub fn is_early(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| !upload.is_whole())
    }

    /// The answer ended properly. The connection is kept if it can carry another request
    /// and the request was sent whole.
    pub fn finish(mut self, reusable: bool) {
        let Some(link) = self.link.take() else { return };
        link.leave();
        let spoiled = match &link {
            Link::Solo(one) => one.line.is_spoiled(),
            Link::Bare(_) | Link::Shared(_) => false,
        };
        if reusable && !self.is_early() && !spoiled {
            pool::put(&self.place.0, link, clock::instant());
        }
    }

    /// The answer was odd: the connection carries no further exchange. An HTTP/1 one closes
    /// with this lease; streams of an HTTP/2 one that are under way may finish.
    pub fn spoil(&self) {
        match &self.link {
            Some(Link::Solo(one)) => one.line.spoil(),
            Some(Link::Shared(one)) => one.line.spoil(),
            // It closes with this lease, too.
            Some(Link::Bare(_)) | None => {}
        }
    }

    /// The body broke: the server hears of it, the connection is closed.
    pub fn fail(self, fault: OriginFault) {
        if fault.is_odd() {
            self.spoil();
        }
        self.place.0.note_fault(fault);
    }

    fn drop_link(&mut self) {
        if let Some(link) = self.link.take() {
            link.leave();
        }
    }

    /// The connection changed its protocol and belongs to the upgrade now.
    pub fn detach(&mut self) {
        if let Some(link) = self.link.take() {
            link.leave();
            if let Link::Solo(one) = link {
                one.detach();
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.drop_link();
    }
}
