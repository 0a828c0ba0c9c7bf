//! What telemetry promises, as sentences.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access_log::{self, AccessLog, Format, Options, Target};
use super::line::{self, DateCache};
use super::*;
use crate::base::Now;
use crate::rules::asked::Scheme;
use crate::rules::outcome::{Fwd, Outcome, Source};

fn hit() -> Outcome {
    Outcome { hit: true, ttl: Some(60), source: Source::Memory, ..Outcome::default() }
}

fn exchange<'a>(outcome: &'a Outcome, target: &'a str) -> Exchange<'a> {
    Exchange {
        now: Now { mono_ms: 1, wall_ms: 1_795_366_821_042 },
        peer: ([192, 0, 2, 7], 4242).into(),
        site: "example",
        method: "GET",
        scheme: Scheme::Https,
        host: "example.com",
        target,
        http2: true,
        status: 200,
        bytes: 1000,
        complete: true,
        duration: Duration::from_micros(150),
        ttfb: Duration::from_micros(100),
        outcome,
        user_agent: Some(b"curl\x1b[31m\"\n"),
        referer: None,
        request_id: None,
    }
}

fn miss() -> Outcome {
    Outcome { fwd: Some(Fwd::UriMiss), fwd_status: Some(200), ..Outcome::default() }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = crate::base::clock::instant() + Duration::from_secs(20);
    while !holds() {
        assert!(crate::base::clock::instant() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn the_metrics_page_is_the_table() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/config/metrics.md");
    if std::env::var_os("BRINK_WRITE_DOCS").is_some() {
        std::fs::write(page, table::markdown()).unwrap();
    }
    let written = std::fs::read_to_string(page).unwrap_or_default();
    assert!(
        written == table::markdown(),
        "config/metrics.md differs from the table; run this test with BRINK_WRITE_DOCS=1"
    );
}

#[test]
fn every_row_of_the_table_is_exposed_and_nothing_else() {
    let counters = Arc::new(Counters::new());
    counters.exchange(&exchange(&hit(), "/"));
    let text = expose::text(&counters).unwrap();
    let exposed: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_whitespace().next())
        .collect();
    let declared: Vec<&str> =
        table::TABLE.iter().map(|metric| metric.name.trim_end_matches("_total")).collect();
    assert_eq!(exposed, declared);
    assert!(text.ends_with("# EOF\n"));
    let families: std::collections::HashSet<&str> = declared.iter().copied().collect();
    assert_eq!(families.len(), declared.len(), "two families of one name");
    for (_, name) in Count::ALL {
        assert!(table::metric(name).is_some_and(|row| row.labels.is_empty()), "{name}");
    }
    for (_, name) in Event::ALL {
        assert!(table::metric(name).is_some_and(|row| !row.labels.is_empty()), "{name}");
    }
}

#[test]
fn counts_of_all_threads_are_added_up() {
    let counters = Arc::new(Counters::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    counters.exchange(&exchange(&hit(), "/"));
                    counters.exchange(&exchange(&miss(), "/"));
                    counters.add(Count::Collapsed, 2);
                    counters.note(Event::Uncacheable, &["private"], 1);
                }
            });
        }
    });
    let summary = counters.summary();
    assert_eq!((summary.requests, summary.hits, summary.misses), (8000, 4000, 4000));
    assert_eq!(summary.collapsed, 8000);
    assert_eq!((summary.bytes_memory, summary.bytes_origin), (4_000_000, 4_000_000));
    assert!((summary.request_hit_ratio - 0.5).abs() < 1e-9);
    let text = expose::text(&counters).unwrap();
    let row = "brink_requests_total{site=\"example\",protocol=\"h2\",status=\"2xx\",\
               cache=\"hit\"} 4000";
    assert!(text.contains(row), "{text}");
    assert!(text.contains("brink_request_duration_seconds_count{cache=\"hit\"} 4000"), "{text}");
    assert!(text.contains("bucket{le=\"+Inf\",cache=\"hit\"} 4000"), "{text}");
    assert!(text.contains("brink_uncacheable_total{reason=\"private\"} 4000"), "{text}");
}

#[test]
fn sites_beyond_the_bound_are_counted_together() {
    let counters = Counters::new();
    for n in 0..400 {
        let (outcome, site) = (hit(), format!("site{n}"));
        counters.exchange(&Exchange { site: &site, ..exchange(&outcome, "/") });
    }
    let summary = counters.summary();
    assert_eq!(summary.requests, 400);
    assert_eq!(summary.sites.len(), counters::SITES_MAX + 1);
}

#[test]
fn a_json_line_is_one_valid_object_whatever_the_client_sent() {
    let (outcome, mut out) = (hit(), Vec::new());
    let target = "/a\"b\\c?\u{1}\u{9b}é";
    line::write(Format::Json, &exchange(&outcome, target), &mut DateCache::default(), &mut out);
    assert_eq!(out.iter().filter(|byte| **byte < 0x20 || **byte > 0x7e).count(), 1);
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(value["time"], "2026-11-22T17:00:21.042Z");
    assert_eq!(value["peer"], "192.0.2.7");
    assert_eq!(value["cache"], "hit");
    assert_eq!(value["ttl"], 60);
    assert_eq!(value["duration_us"], 150);
    assert_eq!(value["user_agent"], "curl\u{1b}[31m\"\n");
}

#[test]
fn a_combined_line_reads_as_other_servers_write_it() {
    let (outcome, mut out) = (miss(), Vec::new());
    let record = exchange(&outcome, "/x");
    line::write(Format::Combined, &record, &mut DateCache::default(), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "192.0.2.7 - - [22/Nov/2026:17:00:21 +0000] \"GET /x HTTP/2.0\" 200 1000 \"-\" \
         \"curl\\x1b[31m\\\"\\x0a\" miss origin 0.000\n"
    );
}

#[test]
fn dates_are_right_over_leap_years_and_centuries() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(line::rfc3339(seconds), text);
    }
}

#[test]
fn lines_reach_the_file_and_after_a_rotation_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (path, old) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let options = Options {
        target: Target::File(path.clone()),
        flush_every: Duration::from_millis(1),
        ..Options::default()
    };
    let log = AccessLog::start(options).unwrap();
    let lines =
        |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    log.write(&exchange(&hit(), "/1"));
    wait_until("first line written", || lines(&path) == 1);
    std::fs::rename(&path, &old).unwrap();
    log.reopen();
    wait_until("file made anew", || path.exists());
    log.write(&exchange(&hit(), "/2"));
    drop(log);
    assert_eq!((lines(&old), lines(&path)), (1, 1));
}

#[test]
fn a_log_that_cannot_keep_up_drops_and_counts_instead_of_growing() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        target: Target::File(dir.path().join("log")),
        flush_every: Duration::from_secs(3600),
        buffer_max: 0,
        ..access_log::Options::default()
    };
    let log = AccessLog::start(options).unwrap();
    let long = "/".repeat(8000);
    // The writer may take some away meanwhile; the buffer holds 64 KiB, so this is
    // bounded work until one is dropped.
    let deadline: Instant = crate::base::clock::instant() + Duration::from_secs(20);
    while log.dropped() == 0 {
        log.write(&exchange(&hit(), &long));
        assert!(crate::base::clock::instant() < deadline, "never full");
    }
}

#[test]
fn the_heaviest_urls_survive_a_flood_of_others() {
    let top = Top::default();
    let (hit, miss) = (hit(), miss());
    for n in 0..20_000 {
        top.count(&exchange(&miss, &format!("/once/{n}")));
        if n % 10 == 0 {
            top.count(&exchange(&hit, "/popular"));
            top.count(&Exchange { bytes: 50_000, ..exchange(&miss, "/heavy") });
        }
    }
    let first = |by| top.list(by, 1).remove(0);
    assert!(first(By::Requests).url.starts_with("example.com/"));
    assert!(top.list(By::Requests, 2).iter().any(|hitter| hitter.url.ends_with("/popular")));
    let heavy = first(By::MissBytes);
    assert_eq!(heavy.url, "example.com/heavy");
    assert!(heavy.count - heavy.error <= 100_000_000 && heavy.count >= 100_000_000);
}

#[test]
fn a_follower_sees_lines_and_nobody_pays_without_one() {
    let telemetry = Telemetry::quiet();
    telemetry.finished(&exchange(&hit(), "/unseen"));
    let mut follower = telemetry.tail.follow().unwrap();
    telemetry.finished(&exchange(&hit(), "/seen"));
    let line = follower.try_recv().unwrap();
    assert!(String::from_utf8_lossy(&line).contains("/seen"));
    assert!(follower.try_recv().is_err());
    // The next one after the last has left sees as much.
    drop(follower);
    telemetry.finished(&exchange(&hit(), "/unseen"));
    let mut follower = telemetry.tail.follow().unwrap();
    telemetry.finished(&exchange(&hit(), "/again"));
    assert!(String::from_utf8_lossy(&follower.try_recv().unwrap()).contains("/again"));
}

#[test]
fn dashboards_and_alerts_name_only_metrics_that_exist() {
    for file in ["alerts.yml", "grafana.json"] {
        let path = format!("{}/config/monitoring/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let names = text.split(|c| !word(c)).filter(|name| name.starts_with("brink_"));
        for name in names {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let known = table::metric(name).or_else(|| base.and_then(table::metric));
            assert!(known.is_some(), "{file}: {name}");
        }
    }
}
