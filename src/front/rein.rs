//! HTTP/2 streams whose answer the client does not take: each is let go by itself.
//!
//! A client may leave the window of one stream shut while others flow (CVE-2019-9511), so
//! looking at the connection is not enough. Each exchange writes down since when it waits
//! for the client; the sweep looks at those that are not over and drops what was waited
//! with, which resets the stream. Nothing of it is registered for an answer that goes out
//! at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::pulse::Pulse;

/// One exchange, as far as it waits for its client.
#[derive(Debug, Default)]
pub(crate) struct Rein {
    /// Since when it waits for the client, in the pulse's milliseconds; 0: it does not.
    since: AtomicU64,
    over: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Rein {
    /// The client is to take something now (`Some(now)`), or nothing is there for it.
    pub(crate) fn wait(&self, since: Option<u64>) {
        self.since.store(since.unwrap_or(0), Relaxed);
    }

    /// Lets the exchange go if it has waited since before `deadline`. `true` the first time.
    pub(crate) fn pull(&self, deadline: u64) -> bool {
        let since = self.since.load(Relaxed);
        if since == 0 || since >= deadline || self.over.swap(true, Relaxed) {
            return false;
        }
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
        true
    }
}

/// A stream's future until it ends or is let go.
pub(crate) struct Reined<F> {
    stream: Pin<Box<F>>,
    rein: Arc<Rein>,
    pulse: Arc<Pulse>,
}

impl<F> Reined<F> {
    pub(crate) fn new(stream: Pin<Box<F>>, rein: Arc<Rein>, pulse: Arc<Pulse>) -> Self {
        pulse.reins.lock().push(Arc::clone(&rein));
        Reined { stream, rein, pulse }
    }
}

impl<F: Future<Output = ()>> Future for Reined<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.rein.over.load(Relaxed) {
            return Poll::Ready(());
        }
        let polled = this.stream.as_mut().poll(cx);
        if polled.is_pending() {
            let mut waker = this.rein.waker.lock();
            if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        polled
    }
}

impl<F> Drop for Reined<F> {
    fn drop(&mut self) {
        self.pulse.reins.lock().retain(|rein| !Arc::ptr_eq(rein, &self.rein));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wait_for_the_client_that_is_too_long_is_cut_and_only_once() {
        let rein = Rein::default();
        assert!(!rein.pull(100), "waits for nobody");
        rein.wait(Some(50));
        assert!(!rein.pull(50));
        rein.wait(None);
        assert!(!rein.pull(100));
        rein.wait(Some(50));
        assert!(rein.pull(51));
        assert!(!rein.pull(51));
    }
}
