//! Numbers that the parts keep themselves, lent to `/metrics`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::front::Stats;
use crate::serve::Shared;
use crate::store::policy::Tuning;
use crate::telemetry::Counters;

/// Connections, handshakes and limits of the listeners.
pub(super) fn front(counters: &Counters, stats: Arc<Stats>) {
    let reading = stats.clone();
    counters.observe("brink_connections_total", move |emit| {
        emit(&[], reading.accepted.load(Ordering::Relaxed) as f64);
    });
    let reading = stats.clone();
    counters.observe("brink_connections_open", move |emit| {
        let now = reading.read();
        emit(&[], now.accepted.saturating_sub(now.closed) as f64);
    });
    let reading = stats.clone();
    counters.observe("brink_tls_handshakes_total", move |emit| {
        emit(&[], reading.handshakes.load(Ordering::Relaxed) as f64);
    });
    let reading = stats.clone();
    counters.observe("brink_tls_failures_total", move |emit| {
        emit(&[], reading.handshakes_failed.load(Ordering::Relaxed) as f64);
    });
    counters.observe("brink_limits_total", move |emit| {
        const NOT_LIMITS: [&str; 5] =
            ["accepted", "closed", "handshakes", "handshakes_resumed", "handshakes_failed"];
        for (name, value) in stats.read().each().filter(|(name, _)| !NOT_LIMITS.contains(name)) {
            emit(&[name], value as f64);
        }
    });
}

/// The tiers, and the sample beside them.
pub(super) fn stores(shared: &Arc<Shared>) {
    memory(shared);
    let Some(disk) = shared.disk.clone() else { return };
    let counters = &shared.telemetry.counters;
    let failing = disk.clone();
    counters.observe("brink_disk_errors_total", move |emit| {
        let faults: u64 = failing.stats().iter().map(|one| one.faults).sum();
        emit(&["device"], faults as f64);
    });
    counters.observe("brink_disk_dropped_total", move |emit| {
        let stats = disk.stats();
        let shed = stats.iter().flat_map(|one| &one.counters);
        let shed: u64 = shed.filter(|(name, _)| *name == "writes_shed").map(|(_, n)| n).sum();
        emit(&[], shed as f64);
    });
}

fn memory(shared: &Arc<Shared>) {
    let counters = &shared.telemetry.counters;
    // Weak: the counters outlive nobody, and nobody them.
    let memory = Arc::downgrade(&shared.memory);
    counters.observe("brink_memory_tuning", move |emit| {
        let tuning = memory.upgrade().and_then(|memory| memory.tuning());
        let Some(Tuning { history, probation, frequency_max, .. }) = tuning else { return };
        let words = [history.to_string(), probation.to_string(), frequency_max.to_string()];
        emit(&words.each_ref().map(String::as_str), 1.0);
    });
    let memory = Arc::downgrade(&shared.memory);
    counters.observe("brink_memory_overhead_bytes", move |emit| {
        if let Some(bytes) = memory.upgrade().and_then(|memory| memory.overhead()) {
            emit(&[], bytes as f64);
        }
    });
    let sample = shared.telemetry.sample.clone();
    counters.observe("brink_lab_sample_bytes", move |emit| emit(&[], sample.size().0 as f64));
    let sample = shared.telemetry.sample.clone();
    counters.observe("brink_lab_sample_rate", move |emit| emit(&[], sample.size().1));
}
