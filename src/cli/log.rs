//! `brink log`: exchanges of a running node as they finish.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::admin_client::{self, Problem, Target, bytes, number, text, with_query};

const EXAMPLES: &str = "\
Examples:
  brink log
  brink log --filter cache=miss
  brink log --filter host=example.com --filter status=404 --json

A filter is FIELD=TEXT with the fields of the JSON log; text fields match when they have
TEXT in them. Ends with Ctrl-C. Exit code: 0 the node ended it, 1 no node answered.";

/// Follow exchanges with their cache verdicts as they finish
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Log {
    /// Keep only lines for which FIELD has TEXT in it; all filters must hold
    #[arg(long, value_name = "FIELD=TEXT")]
    filter: Vec<String>,
    #[command(flatten)]
    target: Target,
}

impl Log {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let filter = self.filter.join(",");
        admin_client::run(&self.target, async |client| {
            let target = with_query("/v1/log", &[("filter", &filter)]);
            let as_json = self.target.json;
            client
                .follow(&target, |line| {
                    let shown = if as_json { line.to_owned() } else { plain(line) };
                    // A closed pipe (head) ends it quietly.
                    writeln!(std::io::stdout(), "{shown}").is_ok()
                })
                .await?;
            Ok::<(), Problem>(())
        })
    }
}

fn plain(line: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(line) else { return line.to_owned() };
    if let Some(missed) = value.get("missed") {
        return format!("... {missed} lines missed");
    }
    let detail = [text(&value, "/fwd"), text(&value, "/detail")].join(" ");
    format!(
        "{} {:<11} {:<6} {} {:>9} {:>8} us  {} {}://{}{} {}",
        text(&value, "/time"),
        text(&value, "/cache"),
        text(&value, "/source"),
        number(&value, "/status"),
        bytes(number(&value, "/bytes")),
        number(&value, "/duration_us"),
        text(&value, "/method"),
        text(&value, "/scheme"),
        text(&value, "/host"),
        text(&value, "/target"),
        detail.trim()
    )
}
