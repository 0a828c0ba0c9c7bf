//! Live followers of the exchanges: `brink log`, the dashboard.
//!
//! Nobody follows most of the time, and then an exchange costs one load here (the channel's
//! own count of receivers is behind a lock that all threads would share). With followers
//! each line is made once and broadcast; a follower that is too slow is told
//! how many lines it missed and nobody waits for it.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::broadcast;

use super::exchange::Exchange;
use super::line::{self, DateCache, Format};

/// Lines a slow follower may lag behind before it loses some.
const LAG_MAX: usize = 4096;
/// Followers at a time.
pub const FOLLOWERS_MAX: usize = 16;

/// The broadcast of lines.
#[derive(Debug)]
pub struct Tail {
    lines: broadcast::Sender<Bytes>,
    /// Whether anybody may follow: set by who begins to, taken back by who finds nobody.
    followed: AtomicBool,
}

impl Default for Tail {
    fn default() -> Self {
        Tail { lines: broadcast::Sender::new(LAG_MAX), followed: AtomicBool::new(false) }
    }
}

impl Tail {
    /// Sends the exchange to all followers, if there are any.
    pub fn send(&self, exchange: &Exchange<'_>) {
        if !self.followed.load(Ordering::SeqCst) {
            return;
        }
        if self.lines.receiver_count() == 0 {
            self.followed.store(false, Ordering::SeqCst);
            // Who came in between has either been counted now, or sets the mark after this.
            if self.lines.receiver_count() == 0 {
                return;
            }
            self.followed.store(true, Ordering::SeqCst);
        }
        let mut out = Vec::with_capacity(512);
        line::write(Format::Json, exchange, &mut DateCache::default(), &mut out);
        // No follower left since the check: nothing lost.
        let _ = self.lines.send(out.into());
    }

    /// Starts to follow; `None` when too many do already.
    pub fn follow(&self) -> Option<broadcast::Receiver<Bytes>> {
        let follower =
            (self.lines.receiver_count() < FOLLOWERS_MAX).then(|| self.lines.subscribe())?;
        self.followed.store(true, Ordering::SeqCst);
        Some(follower)
    }
}
