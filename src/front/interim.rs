//! Interim answers (RFC 9110 15.2): an origin's 102 or 103 on its way to the client.
//!
//! hyper's server cannot send them, so they go around it: a handler queues the head here,
//! and the connection's I/O wrapper writes it when hyper asks for a flush, which it does
//! with an empty write buffer, so never in the middle of another answer. If hyper has
//! something to write first, that is the final answer (or the end of the one before), and
//! what is still queued is dropped: an interim answer is a hint and never late. HTTP/1.1
//! only; to HTTP/2 clients none are sent.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use super::pulse::Pulse;

/// Bytes of interim heads that may wait on one connection.
const WAITING_MAX: usize = 16 << 10;

/// Turns that a final answer leaves to its interim ones.
const TURNS_MAX: usize = 4;

/// The queue of one connection.
#[derive(Debug)]
pub struct Interim {
    pulse: Arc<Pulse>,
    waiting: Mutex<Vec<u8>>,
    some: AtomicBool,
}

impl Interim {
    pub(crate) fn new(pulse: Arc<Pulse>) -> Self {
        Interim { pulse, waiting: Mutex::default(), some: AtomicBool::new(false) }
    }

    /// Queues one interim head. The caller has removed what is for one hop only. Ignored:
    /// statuses other than 1xx, 100 (the connection sends its own) and 101, and what does
    /// not fit.
    pub fn send(&self, status: StatusCode, fields: &HeaderMap) {
        if !status.is_informational() || matches!(status.as_u16(), 100 | 101) {
            return;
        }
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(b"HTTP/1.1 ");
        head.extend_from_slice(status.as_str().as_bytes());
        head.push(b' ');
        head.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
        head.extend_from_slice(b"\r\n");
        for (name, value) in fields {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        let mut waiting = self.waiting.lock();
        if waiting.len() + head.len() <= WAITING_MAX {
            waiting.append(&mut head);
            self.some.store(true, Ordering::Release);
            drop(waiting);
            self.pulse.wake();
        }
    }

    /// Lets the connection write what waits, before the final answer goes to it: the work
    /// for an answer may run in the connection's own task, and then both are there at once.
    /// Gives up soon if the client takes nothing.
    pub(crate) async fn written(&self) {
        let mut turns = 0;
        poll_fn(|cx| {
            if turns == TURNS_MAX || !self.some.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            turns += 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// What waits, if anything.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        if !self.some.load(Ordering::Acquire) {
            return None;
        }
        self.some.store(false, Ordering::Release);
        Some(std::mem::take(&mut *self.waiting.lock()))
    }
}
