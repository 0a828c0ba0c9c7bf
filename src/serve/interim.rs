//! Interim answers of an origin, handed to the client whose request brought them.
//!
//! Followers of a flight and hits get none: they are not part of the response (RFC 9110
//! 15.2), so nothing of them is stored. HTTP/1.0 clients do not know them.

use std::sync::Arc;

use http::{HeaderMap, Request, Version, request};

use crate::front::Connection;
use crate::rules::hop;

/// Arranges that 1xx answers to `request` reach the client, if it can take them.
pub(super) fn pass_on<B>(request: &mut Request<B>, client: &request::Parts, conn: &Connection) {
    if conn.http2 || client.version != Version::HTTP_11 {
        return;
    }
    let interim = Arc::clone(&conn.interim);
    hyper::ext::on_informational(request, move |answer| {
        let listed = hop::listed(answer.headers());
        let mut fields = HeaderMap::new();
        for (name, value) in answer.headers() {
            if !hop::is_hop(name) && !listed.contains(name) {
                fields.append(name.clone(), value.clone());
            }
        }
        interim.send(answer.status(), &fields);
    });
}
