//! The declared table of metrics. `/metrics`, `config/metrics.md` and the code that counts
//! are all made from it; a metric that is not here cannot be shown.

/// What a metric is in Prometheus' terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

impl Kind {
    /// The word in the exposition and the documentation.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Full name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Label names in order.
    pub labels: &'static [&'static str],
    /// One sentence with the unit.
    pub help: &'static str,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

/// Every metric, in the order of `/metrics`.
pub const TABLE: &[Metric] = &[
    counter(
        "brink_requests_total",
        &["site", "protocol", "status", "cache"],
        "Finished exchanges by site, protocol (h1, h2), status class and what the cache did.",
    ),
    counter(
        "brink_response_bytes_total",
        &["site", "source"],
        "Body bytes handed to clients by where they came from (memory, disk, origin, node).",
    ),
    counter(
        "brink_responses_aborted_total",
        &[],
        "Responses whose body did not reach its end (client left, origin broke).",
    ),
    gauge(
        "brink_request_hit_ratio",
        &[],
        "Share of cacheable exchanges answered without waiting for the origin, since start.",
    ),
    gauge(
        "brink_byte_hit_ratio",
        &[],
        "Share of body bytes that came from memory or disk, since start.",
    ),
    histogram(
        "brink_request_duration_seconds",
        &["cache"],
        "Request head to end of the body, by what the cache did.",
    ),
    histogram(
        "brink_ttfb_seconds",
        &["cache"],
        "Request head to response head, by what the cache did.",
    ),
    counter("brink_connections_total", &[], "Client connections accepted."),
    counter("brink_tls_handshakes_total", &[], "TLS handshakes completed."),
    counter("brink_tls_failures_total", &[], "TLS handshakes that failed or ran out of time."),
    gauge("brink_connections_open", &[], "Client connections open now."),
    counter(
        "brink_limits_total",
        &["limit"],
        "Times a limit or deadline refused or cut something, by the limit's name.",
    ),
    counter("brink_faults_total", &["fault"], "Answers made by the node itself, by fault."),
    counter("brink_flights_total", &[], "Fetches for the cache (one leader each)."),
    counter(
        "brink_collapsed_requests_total",
        &[],
        "Requests that waited on somebody else's fetch instead of asking the origin.",
    ),
    counter(
        "brink_uncacheable_total",
        &["reason"],
        "Answers of the origin that were not stored, by reason.",
    ),
    counter("brink_stored_total", &[], "Answers stored."),
    counter(
        "brink_piece_runs_total",
        &[],
        "Stretches of objects in pieces that were asked for at an origin.",
    ),
    counter("brink_pieces_stored_total", &[], "Pieces of large objects stored."),
    counter(
        "brink_origin_requests_total",
        &["origin", "code"],
        "Requests sent to an origin by status code, or `error` when none came.",
    ),
    counter(
        "brink_origin_server_requests_total",
        &["origin", "server"],
        "Requests sent to a server of an origin, further tries included.",
    ),
    counter(
        "brink_origin_failures_total",
        &["origin", "server"],
        "Exchanges that failed by a server's fault: no connection, no answer, a broken one.",
    ),
    counter(
        "brink_origin_ejections_total",
        &["origin", "server", "cause"],
        "Times a server was taken out for what requests taught (failures, errors, slow).",
    ),
    counter(
        "brink_origin_bytes_total",
        &["origin", "server"],
        "Body bytes received from a server of an origin.",
    ),
    counter("brink_origin_retries_total", &["origin"], "Second and further tries."),
    gauge("brink_origin_failing", &["origin"], "1 while an origin as a whole fails."),
    gauge("brink_origin_up", &["origin", "server"], "1 while a server is used, 0 while not."),
    gauge("brink_cache_objects", &["tier"], "Stored objects by tier."),
    gauge("brink_cache_bytes", &["tier"], "Bytes used by tier, everything counted."),
    gauge("brink_cache_bytes_max", &["tier"], "Configured size by tier in bytes."),
    counter(
        "brink_memory_evictions_total",
        &[],
        "Keys that memory gave up for want of room, or did not let in.",
    ),
    gauge(
        "brink_memory_tuning",
        &["history", "probation", "frequency_max"],
        "1 for the settings the memory tier's policy has chosen: history outlives eviction, per \
         cent of the room for newcomers, hits that count at most.",
    ),
    gauge("brink_memory_overhead_bytes", &[], "Bookkeeping of the memory tier's policy in bytes."),
    gauge("brink_lab_sample_bytes", &[], "Memory of the lab's sample of requests."),
    gauge("brink_lab_sample_rate", &[], "Share of the keys in that sample, 0 when switched off."),
    counter("brink_disk_errors_total", &["what"], "Failed disk operations (each one a miss)."),
    counter("brink_disk_dropped_total", &[], "Objects not written because the queue was full."),
    gauge("brink_disk_up", &["directory"], "1 while a disk directory is in service, else 0."),
    gauge("brink_disk_bytes", &["directory"], "Bytes of segment files in a disk directory."),
    gauge("brink_disk_bytes_max", &["directory"], "Configured size of a disk directory in bytes."),
    gauge("brink_disk_index_bytes", &["directory"], "Memory of a disk directory's index in bytes."),
    gauge("brink_disk_queued_bytes", &["directory"], "Bytes that wait to be written."),
    counter(
        "brink_disk_events_total",
        &["directory", "event"],
        "What happened in a disk directory: hits, reads, writes, shed and declined ones, flaws.",
    ),
    gauge("brink_purge_seq", &[], "Sequence number of the newest purge."),
    gauge("brink_purge_pending", &[], "Purges whose objects have not all been swept yet."),
    gauge("brink_purge_sweep_left", &["tier"], "Keys a running sweep has not looked at yet."),
    counter("brink_purges_total", &["kind"], "Purges applied, by kind."),
    counter("brink_purge_freed_objects_total", &[], "Objects freed by sweeps."),
    counter("brink_purge_freed_bytes_total", &[], "Bytes freed by sweeps."),
    counter("brink_access_log_dropped_total", &[], "Access log lines dropped, buffers full."),
    counter("brink_admin_requests_total", &["code"], "Requests to the admin listener by status."),
    gauge("brink_process_resident_bytes", &[], "Resident memory of the process in bytes."),
    gauge("brink_process_open_fds", &[], "File descriptors open."),
    gauge("brink_process_start_time_seconds", &[], "Start of the process, Unix time."),
    gauge("brink_build_info", &["version"], "Always 1; the version is the label."),
];

/// The row called `name`.
pub fn metric(name: &str) -> Option<&'static Metric> {
    TABLE.iter().find(|metric| metric.name == name)
}

/// The table as Markdown: the whole of `config/metrics.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Metrics\n\nServed at `/metrics` of the admin listener. This page is made from \
         `src/telemetry/table.rs`;\na test fails when the two differ.\n\n\
         | name | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in TABLE {
        let labels =
            metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(" ");
        let (name, kind) = (metric.name, metric.kind.word());
        out.push_str(&format!("| `{name}` | {kind} | {labels} | {} |\n", metric.help));
    }
    out
}
