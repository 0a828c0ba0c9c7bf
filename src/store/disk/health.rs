//! Whether a directory takes part, and what takes it out.
//!
//! A fault of the device is a miss and is counted; `faults_max` of them within a minute
//! take the directory out, because a dying disk answers slowly before it stops answering.
//! A full disk is not a fault of this kind: writes are shed until there is room again. A
//! directory that is out is put back by hand ([`super::Disk::put_back`]), never by itself:
//! a flapping device is worse than a missing one.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Where a directory stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its index is being rebuilt.
    Joining,
    /// In service.
    Ready,
    /// Taken out after faults.
    Out,
}

impl State {
    /// The word in readiness, the admin API and the log.
    pub fn word(self) -> &'static str {
        match self {
            State::Joining => "joining",
            State::Ready => "ready",
            State::Out => "out",
        }
    }
}

const WINDOW_MS: u64 = 60_000;

/// The state of one directory.
pub struct Health {
    inner: Mutex<Inner>,
    faults: AtomicU64,
    faults_max: u32,
}

struct Inner {
    state: State,
    window_start_ms: u64,
    in_window: u32,
    last: Option<String>,
}

impl Health {
    /// A directory that is joining.
    pub fn new(faults_max: u32) -> Self {
        Health {
            inner: Mutex::new(Inner {
                state: State::Joining,
                window_start_ms: 0,
                in_window: 0,
                last: None,
            }),
            faults: AtomicU64::new(0),
            faults_max: faults_max.max(1),
        }
    }

    /// The state.
    pub fn state(&self) -> State {
        self.inner.lock().state
    }

    /// Changes the state; leaving [`State::Out`] forgets the faults.
    pub fn set(&self, state: State) {
        let mut inner = self.inner.lock();
        if inner.state == State::Out {
            inner.in_window = 0;
            inner.last = None;
        }
        inner.state = state;
    }

    /// The directory has joined: in service, unless it has been taken out meanwhile.
    pub fn joined(&self) {
        let mut inner = self.inner.lock();
        if inner.state == State::Joining {
            inner.state = State::Ready;
        }
    }

    /// Counts a fault at monotonic `now_ms`. Answers true when this one takes the
    /// directory out.
    pub fn fault(&self, now_ms: u64, error: &io::Error) -> bool {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let mut inner = self.inner.lock();
        inner.last = Some(error.to_string());
        if is_full(error) || inner.state == State::Out {
            return false;
        }
        if now_ms.saturating_sub(inner.window_start_ms) > WINDOW_MS {
            inner.window_start_ms = now_ms;
            inner.in_window = 0;
        }
        inner.in_window += 1;
        let out = inner.in_window >= self.faults_max;
        if out {
            inner.state = State::Out;
        }
        out
    }

    /// Takes the directory out at once. Answers false if it was out.
    pub fn take_out(&self, why: String) -> bool {
        let mut inner = self.inner.lock();
        inner.last = Some(why);
        let was = std::mem::replace(&mut inner.state, State::Out);
        was != State::Out
    }

    /// Faults since the start.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// The last fault, for the log and readiness.
    pub fn last_fault(&self) -> Option<String> {
        self.inner.lock().last.clone()
    }
}

/// Whether the device has no room (or no permission to use more).
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_taken_out_while_it_joins_stays_out() {
        let health = Health::new(2);
        assert!(health.take_out("by hand".to_owned()));
        health.joined();
        assert_eq!(health.state(), State::Out);
        let health = Health::new(2);
        let broken = io::Error::other("broken");
        assert!(!health.fault(1, &broken) && health.fault(2, &broken));
        health.joined();
        assert_eq!((health.state(), health.last_fault()), (State::Out, Some("broken".to_owned())));
        health.set(State::Joining);
        health.joined();
        assert_eq!(health.state(), State::Ready);
    }
}
