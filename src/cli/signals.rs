//! What the outside tells a running node, as one stream.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A wish of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// TERM or INT: drain and stop.
    Stop,
    /// HUP: read the configuration again.
    Reload,
    /// USR1: open the log files again.
    ReopenLogs,
}

/// The signals listened for.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user: Signal,
}

impl Signals {
    /// Starts listening; needs a tokio runtime. `None` if the system refuses.
    pub fn new() -> Option<Self> {
        Some(Signals {
            terminate: signal(SignalKind::terminate()).ok()?,
            interrupt: signal(SignalKind::interrupt()).ok()?,
            hang_up: signal(SignalKind::hangup()).ok()?,
            user: signal(SignalKind::user_defined1()).ok()?,
        })
    }

    /// The next wish.
    pub async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::Reload,
            _ = self.user.recv() => Told::ReopenLogs,
        }
    }
}
