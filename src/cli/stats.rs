//! `brink stats`: what a running node has done, on one screen.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::admin_client::{self, Problem, Target, bytes, number, percent, short, text};

const EXAMPLES: &str = "\
Examples:
  brink stats
  brink stats --json | jq .request_hit_ratio

Exit code: 0 done, 1 no node answered.";

/// Requests, hit ratios, latencies, tiers and sites of a running node since it started
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Stats {
    #[command(flatten)]
    target: Target,
}

impl Stats {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let as_json = self.target.json;
        admin_client::run(&self.target, async move |client| {
            let answer = client.get("/v1/stats", &[]).await?;
            if as_json {
                admin_client::print_json(&answer)
            } else {
                print(&answer)
            }
            Ok::<(), Problem>(())
        })
    }
}

fn print(stats: &Value) {
    let count = |name: &str| short(number(stats, name) as f64);
    let size = |name: &str| bytes(number(stats, name));
    println!("requests    {} ({} connections)", count("/requests"), count("/connections"));
    println!(
        "hit ratio   {} of requests, {} of bytes",
        percent(stats, "/request_hit_ratio"),
        percent(stats, "/byte_hit_ratio")
    );
    println!(
        "outcomes    {} hit, {} stale, {} revalidated, {} miss, {} pass, {} refused, {} failed",
        count("/hits"),
        count("/stale"),
        count("/revalidated"),
        count("/misses"),
        count("/passes"),
        count("/refused"),
        count("/failed")
    );
    println!(
        "bytes       {} to clients: {} from memory, {} from disk, {} from the origin",
        size("/bytes"),
        size("/bytes_memory"),
        size("/bytes_disk"),
        size("/bytes_origin")
    );
    println!(
        "origin      {} requests, {}; {} requests waited on another's fetch",
        count("/origin_requests"),
        size("/origin_bytes"),
        count("/collapsed")
    );
    println!(
        "latency     hits {} us median, {} us p99; others {} us median, {} us p99",
        number(stats, "/latency/hit_p50_us"),
        number(stats, "/latency/hit_p99_us"),
        number(stats, "/latency/miss_p50_us"),
        number(stats, "/latency/miss_p99_us")
    );
    for (tier, fill) in stats.get("tiers").and_then(Value::as_object).into_iter().flatten() {
        let (used, max) = (number(fill, "/bytes"), number(fill, "/bytes_max"));
        let share = if max == 0 {
            String::new()
        } else {
            format!(" of {} ({:.0} %)", bytes(max), used as f64 * 100.0 / max as f64)
        };
        println!("{tier:<11} {} objects, {}{share}", number(fill, "/objects"), bytes(used));
    }
    print_purges(stats);
    for site in stats.get("sites").and_then(Value::as_array).into_iter().flatten() {
        let name = match text(site, "/site") {
            "" => "(no site)",
            name => name,
        };
        println!(
            "site {name}: {} requests, {} hits, {} to clients, {} saved at the origin",
            short(number(site, "/requests") as f64),
            percent(site, "/request_hit_ratio"),
            bytes(number(site, "/bytes")),
            bytes(number(site, "/bytes_saved"))
        );
    }
}

/// Where the ledger stands, and sweeps that run.
fn print_purges(stats: &Value) {
    println!(
        "purges      {} so far, {} not swept yet",
        number(stats, "/purge/seq"),
        number(stats, "/purge/pending")
    );
    let sweeps = stats.pointer("/purge/sweeps").and_then(Value::as_object);
    for (tier, sweep) in sweeps.into_iter().flatten() {
        if sweep.get("running").and_then(Value::as_bool).unwrap_or(false) {
            let (examined, total) = (number(sweep, "/examined"), number(sweep, "/total"));
            println!("sweep       {tier}: {examined} of {total} keys looked at");
        }
    }
}
