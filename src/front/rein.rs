//! HTTP/2 streams whose answer the client does not take: each is let go by itself.
//!
//! A client may leave the window of one stream shut while others flow (CVE-2019-9511), so
//! looking at the connection is not enough. Each exchange writes down since when it waits
//! for the client; the sweep looks at those that are not over and drops what was waited
//! with, which resets the stream. Nothing of it is registered for an answer that goes out
//! at once.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::Waker;

use parking_lot::Mutex;

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

    /// Whether it was let go.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Remembers who is to be woken when it is let go.
    pub(super) fn watch(&self, waker: &Waker) {
        let mut known = self.waker.lock();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
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
