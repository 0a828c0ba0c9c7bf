//! The sweep: one task a thread that looks at every connection each tick.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use parking_lot::Mutex;

use super::options::Deadlines;
use super::pulse::{Phase, Pulse, Verdict};
use super::stats::Stats;
use crate::base::clock;

/// All connections of one thread.
#[derive(Debug)]
pub(crate) struct Wheel {
    now: Arc<AtomicU64>,
    start: Instant,
    limits: Deadlines,
    stats: Arc<Stats>,
    pulses: Mutex<Vec<Arc<Pulse>>>,
    draining: AtomicBool,
}

impl Wheel {
    pub(crate) fn new(limits: Deadlines, stats: Arc<Stats>) -> Arc<Wheel> {
        Arc::new(Wheel {
            now: Arc::new(AtomicU64::new(1)),
            start: clock::instant(),
            limits,
            stats,
            pulses: Mutex::new(Vec::new()),
            draining: AtomicBool::new(false),
        })
    }

    /// A pulse for a new connection; the sweep forgets it when its phase is `Gone`.
    pub(crate) fn register(&self) -> Arc<Pulse> {
        let draining = self.draining.load(Relaxed);
        let pulse = Arc::new(Pulse::new(Arc::clone(&self.now), draining));
        self.pulses.lock().push(Arc::clone(&pulse));
        pulse
    }

    /// Tells every connection, now and later, to end after what it does.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Relaxed);
        for pulse in self.pulses.lock().iter() {
            pulse.drain();
        }
    }

    /// Ends every connection at once.
    pub(crate) fn abort(&self) {
        for pulse in self.pulses.lock().iter() {
            pulse.set_verdict(Verdict::Abort);
            pulse.wake();
        }
    }

    /// Looks at every connection once.
    pub(crate) fn sweep(&self) {
        self.now.store(1 + self.start.elapsed().as_millis() as u64, Relaxed);
        self.pulses.lock().retain(|pulse| {
            if pulse.phase() == Phase::Gone {
                return false;
            }
            pulse.rein_in(&self.limits, &self.stats);
            // A verdict that was not acted on yet stands.
            if pulse.verdict() == Verdict::Fine {
                let verdict = pulse.judge(&self.limits, &self.stats);
                if verdict != Verdict::Fine {
                    pulse.set_verdict(verdict);
                    pulse.wake();
                }
            }
            true
        });
    }

    /// Sweeps every tick until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.limits.tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sweep();
        }
    }
}
