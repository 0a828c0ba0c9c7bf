//! An origin's bytes read by the client of our own in pieces of a chosen size, as a connection
//! would: what tests and the fuzz target compare, with other cuts and with hyper's client.
//!
//! No runtime and no waiting: what a connection waits for is the next piece.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, Method, Request, StatusCode};
use tokio::io::{AsyncWrite, DuplexStream};

use super::bare::Bare;
use super::fault::OriginFault;
use super::outgoing::{Hear, Outgoing};
use super::wire::Wire;
use crate::base::clock;

/// What came of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Status of the final head.
    pub status: StatusCode,
    /// Fields of the final head.
    pub headers: HeaderMap,
    /// All of the body.
    pub body: Vec<u8>,
    /// Empty if there were none.
    pub trailers: HeaderMap,
    /// Whether another request may follow on the connection.
    pub keeps: bool,
}

/// Reads `bytes`, in pieces of `piece`, as the answer to a GET or a HEAD; then the origin
/// closes, if that is still of interest.
pub fn replay(bytes: &[u8], piece: usize, head: bool) -> Result<Replayed, OriginFault> {
    let (near, far) = tokio::io::duplex(bytes.len() + REQUEST_ROOM);
    let mut bare = Bare::new(Wire::Pipe(near), clock::instant());
    let mut request = Request::new(Outgoing::empty());
    *request.method_mut() = if head { Method::HEAD } else { Method::GET };
    bare.begin(&request);
    let mut origin = Some(far);
    let mut pieces = bytes.chunks(piece.max(1));
    let answer = with(&mut pieces, &mut origin, |cx| bare.poll_answer(cx, None::<&dyn Hear>))?;
    let (head, ()) = answer.into_parts();
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = with(&mut pieces, &mut origin, |cx| bare.poll_frame(cx)) {
        match frame?.into_data() {
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    let keeps = bare.rest(clock::instant());
    Ok(Replayed { status: head.status, headers: head.headers, body, trailers, keeps })
}

/// Polls until it is ready; whenever it waits, the next piece comes, after the last one the
/// end.
fn with<T>(
    pieces: &mut std::slice::Chunks<'_, u8>,
    origin: &mut Option<DuplexStream>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> T {
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(ready) = poll(&mut cx) {
            return ready;
        }
        match (pieces.next(), origin.as_mut()) {
            // The pipe has room for all of it.
            (Some(piece), Some(far)) => drop(Pin::new(far).poll_write(&mut cx, piece)),
            _ => drop(origin.take()),
        }
    }
}

/// Room in the pipe for the request.
const REQUEST_ROOM: usize = 1 << 10;
