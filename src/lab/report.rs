//! Tables for people, csv for spreadsheets.

use std::fmt::Write;

use super::curve::Point;
use super::simulate::Outcome;
use crate::base::ByteSize;

/// Side by side, one row a setup, with a bar for the hit ratio.
pub fn table(outcomes: &[Outcome]) -> String {
    let two = outcomes.iter().any(|outcome| outcome.disk.is_some());
    let expires = outcomes.iter().any(|outcome| outcome.total.revalidations > 0);
    let mut out = String::new();
    let _ = write!(out, "{:<12} {:>9}", "policy", "memory");
    if two {
        let _ = write!(out, " {:>9}", "disk");
    }
    let _ = write!(out, " {:>8} {:>8}", "miss", "bytes");
    if two {
        let _ = write!(out, " {:>8} {:>8} {:>9} {:>5}", "in mem", "on disk", "written", "amp.");
    }
    if expires {
        let _ = write!(out, " {:>8}", "revalid.");
    }
    let _ = write!(out, " {:>9} {:>9}", "origin", "evicted");
    if two {
        let _ = write!(out, " {:>9}", "from disk");
    }
    let _ = writeln!(out, " {:>8}", "Mreq/s");
    for outcome in outcomes {
        row(&mut out, outcome, two, expires);
    }
    out
}

fn row(out: &mut String, outcome: &Outcome, two: bool, expires: bool) {
    let total = &outcome.total;
    let requests = total.requests.max(1) as f64;
    let percent = |count: u64| count as f64 / requests * 100.0;
    let _ = write!(out, "{:<12} {:>9}", outcome.policy, human(outcome.memory));
    if two {
        let _ = write!(out, " {:>9}", outcome.disk.map_or("-".to_owned(), human));
    }
    let (miss, bytes) = (total.miss_ratio() * 100.0, total.byte_miss_ratio() * 100.0);
    let _ = write!(out, " {miss:>7.2}% {bytes:>7.2}%");
    if two {
        let (memory, disk) = (percent(total.memory_hits), percent(total.disk_hits));
        let amplified = outcome.disk_written as f64 / outcome.disk_admitted.max(1) as f64;
        let written = human(outcome.disk_written);
        let _ = write!(out, " {memory:>7.2}% {disk:>7.2}% {written:>9} {amplified:>5.2}");
    }
    if expires {
        let _ = write!(out, " {:>7.2}%", percent(total.revalidations));
    }
    let bar = "#".repeat(((100.0 - miss) / 5.0).round().clamp(0.0, 20.0) as usize);
    let (origin, speed) = (human(total.missed_bytes()), outcome.speed / 1e6);
    let evicted = outcome.memory_evictions;
    let _ = write!(out, " {origin:>9} {evicted:>9}");
    if two {
        let _ = write!(out, " {:>9}", outcome.disk_evictions);
    }
    let _ = writeln!(out, " {speed:>8.2} {bar}");
}

/// Hit ratio by request for every hour, one column a setup.
pub fn hours(outcomes: &[Outcome]) -> String {
    let mut out = String::from("hour  requests");
    for outcome in outcomes {
        let _ = write!(out, " {:>12}", outcome.policy);
    }
    out.push('\n');
    let count = outcomes.iter().map(|outcome| outcome.hours.len()).max().unwrap_or(0);
    for hour in 0..count {
        let requests =
            outcomes.first().and_then(|outcome| outcome.hours.get(hour)).map_or(0, |t| t.requests);
        let _ = write!(out, "{hour:>4} {requests:>9}");
        for outcome in outcomes {
            match outcome.hours.get(hour) {
                Some(tally) if tally.requests > 0 => {
                    let hit = (1.0 - tally.miss_ratio()) * 100.0;
                    let _ = write!(out, " {hit:>11.2}%");
                }
                _ => {
                    let _ = write!(out, " {:>12}", "-");
                }
            }
        }
        out.push('\n');
    }
    out
}

/// The curves as a table.
pub fn curve_table(curves: &[(String, Vec<Point>)]) -> String {
    let mut out = String::from("policy       cache size   miss by request    miss by byte\n");
    for (name, points) in curves {
        for point in points {
            let _ = writeln!(
                out,
                "{name:<12} {:>10} {:>9.2}% {:<7} {:>8.2}% {:<7}",
                human(point.size),
                point.objects * 100.0,
                error(point.objects_error),
                point.bytes * 100.0,
                error(point.bytes_error),
            );
        }
    }
    out
}

fn error(half: f64) -> String {
    if half > 0.0 { format!("+-{:.2}", half * 100.0) } else { String::new() }
}

/// The curves as csv: sizes in bytes, ratios from 0 to 1.
pub fn curve_csv(curves: &[(String, Vec<Point>)]) -> String {
    let mut out = String::from("policy,size,miss_objects,miss_bytes,objects_error,bytes_error\n");
    for (name, points) in curves {
        for p in points {
            let _ = writeln!(
                out,
                "{name},{},{:.6},{:.6},{:.6},{:.6}",
                p.size, p.objects, p.bytes, p.objects_error, p.bytes_error
            );
        }
    }
    out
}

/// A size in binary units, with one decimal at most.
pub fn human(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}
