//! An object in pieces on the straight way: the body of its answer, if nobody needs to be
//! waited for before the head may go out.
//!
//! The same body as by way of hyper: it finds piece after piece, in memory, on its way in or on
//! disk, asks the origin for one that has gone meanwhile, and breaks off when the object has
//! changed. Here it only must have a beginning: every piece seems to be there, so that the
//! answer is a hit, and what is missing after all is found out while it is sent.

use std::sync::Arc;

use arc_swap::Guard;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri, request};

use super::Shared;
use super::order::{Errand, Order};
use super::pieces::{self, PieceBody};
use super::routing::{Place, Routing};
use crate::front::{Connection, Plain};
use crate::rules::asked::Asked;
use crate::rules::entry::Entry;
use crate::rules::key::Key;
use crate::rules::normalise::normalise;
use crate::rules::outcome::Source;

/// What has been found out about the request.
pub(super) struct Seen<'a> {
    pub routing: &'a Guard<Arc<Routing>>,
    pub place: &'a Place,
    pub asked: &'a Asked,
    pub key: &'a Key,
}

/// The body of a whole answer from `manifest`, and where its first byte comes from.
pub(super) fn open(
    shared: &Arc<Shared>,
    plain: &Plain<'_>,
    conn: &Arc<Connection>,
    seen: Seen<'_>,
    manifest: &Arc<Entry>,
) -> Option<(PieceBody, Source)> {
    let Seen { routing, place, asked, key } = seen;
    let order = Order {
        routing: Arc::clone(routing),
        place: place.clone(),
        key: key.clone(),
        asked: asked.clone(),
        parts: Arc::new(parts(plain, asked, place)?),
        conn: conn.clone(),
        errand: Errand::Fill,
    };
    pieces::at_hand(shared, order, manifest)
}

/// The head of the request as it would have come by way of hyper.
fn parts(plain: &Plain<'_>, asked: &Asked, place: &Place) -> Option<request::Parts> {
    let mut fields = HeaderMap::new();
    for (name, value) in plain.lines() {
        let name = HeaderName::from_bytes(name).ok()?;
        fields.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    normalise(&mut fields, place.policy());
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::GET;
    parts.uri = Uri::from(asked.target.clone());
    parts.headers = fields;
    Some(parts)
}
