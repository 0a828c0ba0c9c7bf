//! The question to the origin: the order as a request, sent by the site's group of servers.

use http::{HeaderValue, Request, header};

use super::Shared;
use super::interim;
use super::order::Order;
use crate::origin::{Answer, Outgoing};
use crate::rules::fault::Fault;
use crate::rules::forward;

/// Sends the request. Also returns the `Range` that went with it.
pub(super) async fn ask(
    shared: &Shared,
    order: &Order,
) -> (Option<HeaderValue>, Result<Answer, Fault>) {
    let forwarded = forward::forward(
        &order.parts,
        &order.asked,
        &order.place.site,
        order.errand.purpose(),
        &order.routing.hop(order.conn.peer),
    );
    let range = forwarded.headers.get(header::RANGE).cloned();
    let Some(group) = order.routing.origin(&order.place.site.origin) else {
        return (range, Err(Fault::BadGateway("the site's origin is not configured")));
    };
    let conn = &order.conn;
    let body = interim::pass_on(Outgoing::empty(), &order.parts, conn);
    let request = Request::from_parts(forwarded, body);
    let context = order.routing.send_context(&order.key, conn.peer, conn.local);
    let answer = group.send(request, &context).await;
    shared.asked(&order.place.site.origin, &answer);
    (range, answer.map_err(|fault| fault.fault()))
}
