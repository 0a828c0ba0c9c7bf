//! What a replay found, for people and as JSON.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::lab::report::human;

/// What reached the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Requests.
    pub requests: u64,
    /// Whole bodies sent, the pieces of one object counted once.
    pub bodies: u64,
    /// Body bytes sent.
    pub bytes: u64,
    /// Answers 304.
    pub confirmed: u64,
    /// Requests for what is not in the trace.
    pub unknown: u64,
}

/// What the node did with a request, by its `Cache-Status` (RFC 9211).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Hit,
    Revalidated,
    Collapsed,
    Miss,
    Unsaid,
    Failed,
}

impl Outcome {
    pub(super) const ALL: [(Outcome, &'static str); 6] = [
        (Outcome::Hit, "hit"),
        (Outcome::Revalidated, "revalidated"),
        (Outcome::Collapsed, "collapsed"),
        (Outcome::Miss, "miss"),
        (Outcome::Unsaid, "no status"),
        (Outcome::Failed, "failed"),
    ];

    /// The last member of the list is the cache next to the client.
    pub(super) fn of(status: Option<&str>) -> Outcome {
        let Some(member) = status.and_then(|status| status.rsplit(',').next()) else {
            return Outcome::Unsaid;
        };
        let mut words = member.split(';').skip(1).map(str::trim);
        if words.clone().any(|word| word == "hit") {
            return Outcome::Hit;
        }
        if words.clone().any(|word| word == "collapsed") {
            return Outcome::Collapsed;
        }
        match words.any(|word| word == "fwd-status=304") {
            true => Outcome::Revalidated,
            false => Outcome::Miss,
        }
    }
}

/// All answers of one outcome.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The outcome.
    pub outcome: &'static str,
    /// Answers.
    pub requests: u64,
    /// Body bytes.
    pub bytes: u64,
    /// Median latency to the last byte in microseconds.
    pub p50_us: u64,
    /// 90th percentile.
    pub p90_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// 99.9th percentile.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// What a replay found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Requests made.
    pub requests: u64,
    /// Body bytes received.
    pub bytes: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// Requests that got no whole answer, and answers other than 200.
    pub errors: u64,
    /// The first few of them.
    pub error_samples: Vec<String>,
    /// Share of requests the node called hits.
    pub hit_ratio_by_status: f64,
    /// Share of bytes in them.
    pub byte_hit_ratio_by_status: f64,
    /// Share of requests that needed no fetch of their own by what the node says: hits, and
    /// those that waited for the fetch of another client (collapsed). A simulator, which
    /// knows no time between request and answer, calls both hits.
    pub spared_ratio_by_status: f64,
    /// Share of bytes in them.
    pub byte_spared_ratio_by_status: f64,
    /// Share of requests for which the origin sent no body.
    pub hit_ratio_by_origin: f64,
    /// Share of bytes that the origin did not send.
    pub byte_hit_ratio_by_origin: f64,
    /// What reached the origin.
    pub origin: Seen,
    /// By outcome.
    pub outcomes: Vec<Line>,
}

const HOUR_US: u64 = 3_600_000_000;

/// Counts of one outcome while the replay runs.
pub(super) struct Count {
    pub(super) requests: u64,
    pub(super) bytes: u64,
    pub(super) latency: Histogram<u64>,
}

impl Count {
    pub(super) fn new() -> Self {
        // Microseconds up to an hour, to three digits, which the library allows.
        let latency = Histogram::new_with_max(HOUR_US, 3).expect("an hour and three digits");
        Count { requests: 0, bytes: 0, latency }
    }
}

impl Report {
    pub(super) fn new(counts: &[Count], seconds: f64, origin: Seen) -> Report {
        let line = |((_, outcome), count): (&(Outcome, &'static str), &Count)| Line {
            outcome,
            requests: count.requests,
            bytes: count.bytes,
            p50_us: count.latency.value_at_quantile(0.5),
            p90_us: count.latency.value_at_quantile(0.9),
            p99_us: count.latency.value_at_quantile(0.99),
            p999_us: count.latency.value_at_quantile(0.999),
            max_us: count.latency.max(),
        };
        let outcomes: Vec<Line> = Outcome::ALL.iter().zip(counts).map(line).collect();
        let requests: u64 = outcomes.iter().map(|line| line.requests).sum();
        let bytes: u64 = outcomes.iter().map(|line| line.bytes).sum();
        let sum = |name: &str| {
            let lines = outcomes.iter().filter(|line| line.outcome == name);
            lines.fold((0, 0), |(count, bytes), line| (count + line.requests, bytes + line.bytes))
        };
        let ((hit, hit_bytes), (waited, waited_bytes)) = (sum("hit"), sum("collapsed"));
        let share = |part: u64, all: u64| part as f64 / all.max(1) as f64;
        Report {
            requests,
            bytes,
            seconds,
            errors: 0,
            error_samples: Vec::new(),
            hit_ratio_by_status: share(hit, requests),
            byte_hit_ratio_by_status: share(hit_bytes, bytes),
            spared_ratio_by_status: share(hit + waited, requests),
            byte_spared_ratio_by_status: share(hit_bytes + waited_bytes, bytes),
            hit_ratio_by_origin: 1.0 - share(origin.bodies, requests),
            byte_hit_ratio_by_origin: 1.0 - share(origin.bytes, bytes),
            origin,
            outcomes: outcomes.into_iter().filter(|line| line.requests > 0).collect(),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = format!(
            "{} requests, {} in {:.1} s ({:.0}/s), {} errors\n",
            self.requests,
            human(self.bytes),
            self.seconds,
            self.requests as f64 / self.seconds.max(1e-9),
            self.errors
        );
        for sample in &self.error_samples {
            let _ = writeln!(out, "  {sample}");
        }
        out += "                     of requests  of bytes\n";
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        for (name, requests, bytes) in [
            ("hits by Cache-Status", self.hit_ratio_by_status, self.byte_hit_ratio_by_status),
            ("hits or collapsed", self.spared_ratio_by_status, self.byte_spared_ratio_by_status),
            ("not by the origin", self.hit_ratio_by_origin, self.byte_hit_ratio_by_origin),
        ] {
            let _ = writeln!(out, "{name:<21} {:>10} {:>9}", percent(requests), percent(bytes));
        }
        let Seen { requests, bodies, bytes, confirmed, unknown } = self.origin;
        let _ = writeln!(
            out,
            "origin: {requests} requests, {bodies} bodies, {}, {confirmed} confirmed (304), \
             {unknown} unknown",
            human(bytes)
        );
        out +=
            "outcome       requests      bytes      p50      p90      p99    p99.9      max  us\n";
        for line in &self.outcomes {
            let _ = writeln!(
                out,
                "{:<12} {:>9} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8}",
                line.outcome,
                line.requests,
                human(line.bytes),
                line.p50_us,
                line.p90_us,
                line.p99_us,
                line.p999_us,
                line.max_us
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    #[test]
    fn the_member_next_to_the_client_says_what_was_done() {
        for (status, outcome) in [
            (None, Outcome::Unsaid),
            (Some("brink; hit; ttl=30"), Outcome::Hit),
            (Some("shield; hit, brink; fwd=uri-miss; fwd-status=200; stored"), Outcome::Miss),
            (Some("brink; fwd=uri-miss; collapsed"), Outcome::Collapsed),
            (Some("brink; fwd=stale; fwd-status=304"), Outcome::Revalidated),
        ] {
            assert_eq!(Outcome::of(status), outcome, "{status:?}");
        }
    }
}
