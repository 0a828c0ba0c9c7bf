//! Asks a silent HTTP/2 client whether it is still there (RFC 9113 6.7).
//!
//! Silent means: nothing at all was read from it for `ping_interval`. One timer a connection;
//! it is set anew only when it fires, so that reading costs it nothing.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Sleep, sleep};

use super::options::Http2Options;

/// The keep-alive of one connection.
pub(super) struct KeepAlive {
    pings: PingPong,
    timer: Pin<Box<Sleep>>,
    interval: Duration,
    timeout: Duration,
    asked: bool,
}

impl KeepAlive {
    pub(super) fn new(pings: PingPong, options: &Http2Options) -> Self {
        let (interval, timeout) = (options.ping_interval, options.ping_timeout);
        KeepAlive { pings, timer: Box::pin(sleep(interval)), interval, timeout, asked: false }
    }

    /// `silent` is the time since something was read. `Ready`: the client is gone.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, silent: Duration) -> Poll<()> {
        loop {
            if self.asked && self.pings.poll_pong(cx).is_ready() {
                self.asked = false;
                self.timer.set(sleep(self.interval));
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.asked {
                return Poll::Ready(());
            }
            let left = self.interval.saturating_sub(silent);
            if left > TOLERANCE {
                self.timer.set(sleep(left));
            } else {
                // Fails only if one is under way or the connection is ending.
                self.asked = self.pings.send_ping(Ping::opaque()).is_ok();
                self.timer.set(sleep(self.timeout));
            }
        }
    }
}

/// Coarse time is late by a tick; a timer is not set anew for that.
const TOLERANCE: Duration = Duration::from_millis(1);
