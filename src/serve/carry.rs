//! Work that a client waits for, carried by that client as long as it waits.
//!
//! A fetch must not end because the client that started it has left: others follow it, and
//! the cache wants it. A task of its own for every fetch was the simple way, and a tenth of
//! the work of a miss: it is allocated, scheduled, and wakes the client's task, which wakes
//! it for the body. Here the client's own task polls it, a short answer is whole before the
//! client's begins, and only what is left when the client has what it waited for, or is
//! gone, becomes a task.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Resolves to what the work sends, or `None` if it ends without a word.
pub(super) struct Carry<T> {
    work: Option<Work>,
    word: oneshot::Receiver<T>,
}

impl<T> Carry<T> {
    /// `work` holds the sender of `word`.
    pub(super) fn new(
        work: impl Future<Output = ()> + Send + 'static,
        word: oneshot::Receiver<T>,
    ) -> Self {
        Carry { work: Some(Box::pin(work)), word }
    }
}

impl<T> Future for Carry<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        if let Some(work) = &mut this.work
            && work.as_mut().poll(cx).is_ready()
        {
            this.work = None;
        }
        Pin::new(&mut this.word).poll(cx).map(Result::ok)
    }
}

impl<T> Drop for Carry<T> {
    /// Hands on what is left. Without a runtime the node is ending, and so does the work.
    fn drop(&mut self) {
        if let Some(work) = self.work.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_word_comes_before_the_work_is_done_and_the_rest_goes_on() {
        let (word, heard) = oneshot::channel();
        let (go, wait) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let work = async move {
            let _ = word.send(7);
            let _ = wait.await;
            let _ = done.send(());
        };
        assert_eq!(Carry::new(work, heard).await, Some(7));
        go.send(()).unwrap();
        finished.await.unwrap();
    }

    #[tokio::test]
    async fn who_leaves_early_does_not_take_the_work_along() {
        let (word, heard) = oneshot::channel::<()>();
        let (go, wait) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let mut carry = Box::pin(Carry::new(
            async move {
                let _ = wait.await;
                let _ = done.send(word.is_closed());
            },
            heard,
        ));
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        assert!(carry.as_mut().poll(cx).is_pending());
        drop(carry);
        go.send(()).unwrap();
        assert!(finished.await.unwrap(), "nobody hears it any more");
    }

    #[tokio::test]
    async fn work_that_ends_without_a_word_is_none() {
        let (word, heard) = oneshot::channel::<()>();
        assert_eq!(Carry::new(async move { drop(word) }, heard).await, None);
    }
}
