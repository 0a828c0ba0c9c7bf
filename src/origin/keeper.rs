//! One task a thread that looks after the connections nobody uses.
//!
//! It sleeps until a bell rings (a server has closed, or spoken unasked: that connection goes
//! at once) or until the next of them has rested for its time. A task and a timer for each
//! idle connection cost memory, and a wake-up whenever one was used.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::bell;
use super::pool::Shelves;
use crate::base::clock;

/// The task, as far as a thread's shelves know of it.
#[derive(Debug, Default)]
pub struct Keeper {
    task: Option<JoinHandle<()>>,
    /// Whether it will look again by itself.
    pub awake: bool,
}

impl Keeper {
    /// Called when a connection was put on `shelves`.
    pub fn call(&mut self, shelves: &Arc<Mutex<Shelves>>) {
        if self.task.as_ref().is_none_or(JoinHandle::is_finished) {
            let Ok(runtime) = Handle::try_current() else { return };
            self.task = Some(runtime.spawn(keep(Arc::downgrade(shelves))));
            self.awake = true;
        } else if !self.awake {
            self.awake = true;
            bell::call().notify_one();
        }
    }
}

/// Ends with the thread, or with its runtime.
async fn keep(shelves: Weak<Mutex<Shelves>>) {
    let call = bell::call();
    loop {
        let Some(strong) = shelves.upgrade() else { return };
        let now = clock::instant();
        let next = {
            let mut shelves = strong.lock();
            let next = shelves.sweep(now);
            shelves.keeper.awake = next.is_some();
            next
        };
        drop(strong);
        match next {
            // Coarse: those that go soon after go together.
            Some(next) => {
                let wait = next.saturating_duration_since(now).max(PAUSE_MIN);
                let _ = tokio::time::timeout(wait, call.notified()).await;
            }
            None => call.notified().await,
        }
    }
}

/// Time between two looks that no bell has asked for.
const PAUSE_MIN: Duration = Duration::from_millis(10);
