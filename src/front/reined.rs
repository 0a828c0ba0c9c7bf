//! An HTTP/2 stream's future that ends when its rein is pulled, and the list of those of one
//! connection that are not over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::pulse::Pulse;
use super::rein::Rein;

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
        if this.rein.is_over() {
            return Poll::Ready(());
        }
        let polled = this.stream.as_mut().poll(cx);
        if polled.is_pending() {
            this.rein.watch(cx.waker());
        }
        polled
    }
}

impl<F> Drop for Reined<F> {
    fn drop(&mut self) {
        self.pulse.reins.lock().retain(|rein| !Arc::ptr_eq(rein, &self.rein));
    }
}
