//! What rings when something comes on a connection that nobody uses.
//!
//! An idle connection has no task that waits for it: its bell is what the reactor wakes. It
//! notes that it was rung, so that only this connection has to be looked at, and calls the
//! keeper of the thread's connections (`keeper`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use tokio::sync::Notify;

/// The bell of one connection.
#[derive(Debug)]
pub struct Bell {
    rung: AtomicBool,
    keeper: Arc<Notify>,
}

thread_local! {
    static CALL: Arc<Notify> = Arc::default();
}

impl Bell {
    /// A bell that calls this thread's keeper.
    pub fn of_this_thread() -> Arc<Bell> {
        Arc::new(Bell { rung: AtomicBool::new(false), keeper: call() })
    }

    /// Silences it; the waker rings it. A connection that came over from another thread gets
    /// another bell.
    pub fn arm(self: &mut Arc<Self>) -> Waker {
        let here = CALL.try_with(|call| Arc::ptr_eq(call, &self.keeper)).unwrap_or(true);
        if !here {
            *self = Self::of_this_thread();
        }
        self.rung.store(false, Ordering::Release);
        Waker::from(self.clone())
    }

    /// Whether it was rung since it was armed.
    pub fn has_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.keeper.notify_one();
    }
}

/// What the keeper of this thread waits for.
pub fn call() -> Arc<Notify> {
    CALL.try_with(Arc::clone).unwrap_or_default()
}
