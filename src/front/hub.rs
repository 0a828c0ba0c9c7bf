//! Wakes of a task that already runs cost nothing.
//!
//! h2 wakes its connection's task with every frame that is queued, also when that very task
//! queues it and is about to write it: each batch of answers would run the task once more for
//! nothing. The connection is polled with a waker that remembers being woken while it is
//! polled; only what comes after its last look is passed on.

use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::AcqRel;
use std::task::{Context, Wake, Waker};

use parking_lot::Mutex;

/// The task is being polled.
const RUNNING: u8 = 1;
/// It was woken meanwhile.
const WOKEN: u8 = 2;

/// Between the parts of a connection that wake its task and the task.
#[derive(Debug)]
pub(super) struct Hub {
    state: AtomicU8,
    task: Mutex<Waker>,
}

impl Hub {
    pub(super) fn new() -> Arc<Hub> {
        let task = Mutex::new(Waker::noop().clone());
        Arc::new(Hub { state: AtomicU8::new(0), task })
    }

    /// The task begins to run.
    pub(super) fn enter(&self, cx: &Context<'_>) {
        let mut task = self.task.lock();
        if !task.will_wake(cx.waker()) {
            task.clone_from(cx.waker());
        }
        drop(task);
        self.look();
    }

    /// The task looks at everything from here on: what it was woken for so far is seen.
    pub(super) fn look(&self) {
        self.state.swap(RUNNING, AcqRel);
    }

    /// The task has looked: what came since then wakes it again.
    pub(super) fn leave(&self) {
        if self.state.swap(0, AcqRel) & WOKEN != 0 {
            self.task.lock().wake_by_ref();
        }
    }
}

impl Wake for Hub {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(WOKEN, AcqRel) & RUNNING == 0 {
            let task = self.task.lock().clone();
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_a_wake_after_the_last_look_is_passed_on() {
        let (count, hub) = (Arc::<Count>::default(), Hub::new());
        let task = Waker::from(Arc::clone(&count));
        let waker = Waker::from(Arc::clone(&hub));
        let wakes = || count.0.load(Ordering::Relaxed);
        hub.enter(&Context::from_waker(&task));
        waker.wake_by_ref();
        hub.look();
        hub.leave();
        assert_eq!(wakes(), 0, "seen by the look after it");
        hub.enter(&Context::from_waker(&task));
        waker.wake_by_ref();
        hub.leave();
        assert_eq!(wakes(), 1, "not looked at");
        waker.wake_by_ref();
        assert_eq!(wakes(), 2, "asleep");
    }
}
