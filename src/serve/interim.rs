//! Interim answers of an origin, handed to the client whose request brought them.
//!
//! Followers of a flight and hits get none: they are not part of the response (RFC 9110
//! 15.2), so nothing of them is stored. HTTP/1.0 clients do not know them.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, Version, request};

use crate::front::Connection;
use crate::origin::{Hear, Outgoing};
use crate::rules::hop;

/// `body` with the wish that interim answers reach the client, if it can take them.
pub(super) fn pass_on(body: Outgoing, client: &request::Parts, conn: &Arc<Connection>) -> Outgoing {
    if conn.http2 || client.version != Version::HTTP_11 {
        return body;
    }
    body.heard_by(conn.clone())
}

impl Hear for Connection {
    fn interim(&self, status: StatusCode, answer: &HeaderMap) {
        let listed = hop::listed(answer);
        let mut fields = HeaderMap::new();
        for (name, value) in answer {
            if !hop::is_hop(name) && !listed.contains(name) {
                fields.append(name.clone(), value.clone());
            }
        }
        self.interim.send(status, &fields);
    }
}
