//! What a fetch is told to do, and what comes back to the client that waits for it.

use std::sync::Arc;

use http::{HeaderValue, request, response};
use tokio::sync::oneshot;

use super::flights::{Lead, Progress};
use super::routing::{Place, Routing};
use crate::base::Now;
use crate::front::Connection;
use crate::origin::OriginBody;
use crate::rules::asked::Asked;
use crate::rules::entry::Entry;
use crate::rules::forward::Purpose;
use crate::rules::key::Key;
use crate::rules::settle::Uncacheable;
use crate::store::spool::Reader;
use crate::store::window;

/// Everything a fetch needs, owned.
#[derive(Clone)]
pub(super) struct Order {
    pub routing: Arc<Routing>,
    pub place: Place,
    pub key: Key,
    pub asked: Asked,
    /// The client's request head, normalised.
    pub parts: Arc<request::Parts>,
    pub conn: Arc<Connection>,
    /// Why the origin is asked.
    pub errand: Errand,
}

/// Why the origin is asked.
#[derive(Clone)]
pub(super) enum Errand {
    /// Nothing usable is stored: the whole representation.
    Fill,
    /// Nothing usable is stored and a range is wanted: just that.
    FillRange {
        /// What is asked for.
        range: HeaderValue,
        /// And on which condition.
        if_range: Option<HeaderValue>,
    },
    /// Is this still good?
    Revalidate(Arc<Entry>),
    /// The missing rest of a stored part.
    Complete(Arc<Entry>),
}

/// What the client that leads gets.
pub(super) enum Landing {
    /// The same as the followers; with a reader if a body streams.
    Known(Progress, Option<Reader>),
    /// A large object, with a reader of the run that has just begun.
    Pieces { manifest: Arc<Entry>, status: u16, hold: window::Reader },
    /// An answer that is for this client alone.
    Relay(Box<Relayed>),
}

/// An answer of the origin that is not stored.
pub(super) struct Relayed {
    pub head: response::Parts,
    pub body: OriginBody,
    pub requested_at: Now,
    pub received_at: Now,
    pub why: Uncacheable,
    /// The cookie that keeps the client with its server.
    pub stick: Option<String>,
}

/// The client that waits for the fetch, if there is one.
pub(super) type Client = Option<oneshot::Sender<Landing>>;

/// Tells the followers, and the client that leads.
pub(super) fn tell(lead: &Lead, progress: Progress, reader: Option<Reader>, client: Client) {
    lead.publish(progress.clone());
    if let Some(client) = client {
        // A client that has left is no reason to stop.
        let _ = client.send(Landing::Known(progress, reader));
    }
}

impl Errand {
    /// The stored entry it is about.
    pub fn stored(&self) -> Option<&Arc<Entry>> {
        match self {
            Errand::Fill | Errand::FillRange { .. } => None,
            Errand::Revalidate(entry) | Errand::Complete(entry) => Some(entry),
        }
    }

    /// Whether it is about this very entry.
    pub fn is_about(&self, entry: &Arc<Entry>) -> bool {
        self.stored().is_some_and(|stored| Arc::ptr_eq(stored, entry))
    }

    pub fn purpose(&self) -> Purpose<'_> {
        match self {
            Errand::Fill => Purpose::Fill,
            Errand::FillRange { range, if_range } => {
                Purpose::FillRange { range, if_range: if_range.as_ref() }
            }
            Errand::Revalidate(entry) => Purpose::Revalidate(entry),
            Errand::Complete(entry) => Purpose::Complete(entry),
        }
    }
}
