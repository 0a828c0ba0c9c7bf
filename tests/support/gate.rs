//! A gate that one thread opens and others wait at: the barrier of the scenarios.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::DEADLINE;

/// Closed when made; open for ever once opened.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open; panics at the deadline.
    pub fn pass(&self) {
        let open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, _) = self
            .0
            .1
            .wait_timeout_while(open, DEADLINE, |open| !*open)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(*open, "a gate stayed closed");
    }
}
