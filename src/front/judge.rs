//! Which deadline of a connection has passed: asked by the sweep, once a tick.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::options::Deadlines;
use super::pulse::{Phase, Pulse, Verdict};
use super::stats::{Stats, count};

impl Pulse {
    /// Which deadline has passed, if any.
    pub(super) fn judge(&self, limits: &Deadlines, stats: &Stats) -> Verdict {
        if self.unread_too_long(limits) {
            count(&stats.write_timeouts);
            return Verdict::Abort;
        }
        let waited = self.since(&self.since);
        let partial = self.partial.load(Relaxed) != 0 && self.since(&self.partial) > limits.head;
        match self.phase() {
            Phase::Idle | Phase::Busy if partial => {
                count(&stats.head_timeouts);
                Verdict::Close
            }
            Phase::Busy if self.upload_too_slow(limits) => {
                count(&stats.body_timeouts);
                Verdict::Close
            }
            Phase::Handshake if waited > limits.handshake => Verdict::Abort,
            Phase::Idle => {
                let allowed = if self.draining() { limits.drain_idle } else { limits.idle };
                if waited <= allowed {
                    return Verdict::Fine;
                }
                count(&stats.idle_timeouts);
                Verdict::Close
            }
            Phase::Head if waited > limits.head => {
                count(&stats.head_timeouts);
                Verdict::AnswerTimeout
            }
            Phase::Body => {
                let total = waited + Duration::from_millis(self.body_waited.load(Relaxed));
                let slow = total > limits.body_grace
                    && self.body_bytes.load(Relaxed) < limits.body_rate_min * total.as_secs();
                if !slow && waited <= limits.body_idle {
                    return Verdict::Fine;
                }
                count(&stats.body_timeouts);
                Verdict::FailBody
            }
            Phase::Linger if waited > limits.linger => Verdict::Abort,
            Phase::Tunnel if waited > limits.tunnel_idle => Verdict::Abort,
            Phase::Handshake
            | Phase::Head
            | Phase::Busy
            | Phase::Linger
            | Phase::Tunnel
            | Phase::Gone => Verdict::Fine,
        }
    }

    /// Lets go of HTTP/2 streams whose windows are shut for too long.
    pub(super) fn rein_in(&self, limits: &Deadlines, stats: &Stats) {
        let allowed = u64::try_from(limits.write_stall.as_millis()).unwrap_or(u64::MAX);
        let deadline = self.now().saturating_sub(allowed);
        let reins = self.reins.lock();
        for _ in reins.iter().filter(|rein| rein.pull(deadline)) {
            count(&stats.http2_stalls);
        }
    }

    /// The client does not take its answer: the socket is full.
    fn unread_too_long(&self, limits: &Deadlines) -> bool {
        if self.write_since.load(Relaxed) == 0 {
            return false;
        }
        let blocked = self.since(&self.write_since);
        let total = blocked + Duration::from_millis(self.write_waited.load(Relaxed));
        let floor = limits.write_rate_min.saturating_mul(total.as_secs());
        blocked > limits.write_stall
            || (total > limits.write_stall && self.written.load(Relaxed) < floor)
    }

    /// The client does not send the HTTP/2 request bodies it has begun.
    fn upload_too_slow(&self, limits: &Deadlines) -> bool {
        if self.upload_begun.load(Relaxed) == 0 {
            return false;
        }
        let total = self.since(&self.upload_begun);
        let floor = limits.body_rate_min.saturating_mul(total.as_secs());
        self.since(&self.upload_moved) > limits.body_idle
            || (total > limits.body_grace && self.body_bytes.load(Relaxed) < floor)
    }

    fn since(&self, start: &AtomicU64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(start.load(Relaxed)))
    }
}
