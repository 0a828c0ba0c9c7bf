//! `brink lab advise`: what other sizes would do for a running node.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::cli::admin_client::{self, Problem, Target};

const EXAMPLES: &str = "\
Examples:
  brink lab advise
  brink lab advise --json | jq '.choices[] | {what, byte_hit_ratio, origin_mbit_s}'

The node keeps a sample of hashed keys of its last day ([lab] in the configuration) and
reckons with it. Exit code: 0 done, 1 no node answered or nothing was sampled yet.";

/// Ask a running node how much cache pays: what its sizes save now, and what others would
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Advise {
    #[command(flatten)]
    target: Target,
}

impl Advise {
    pub(super) fn run(self) -> ExitCode {
        let as_json = self.target.json;
        admin_client::run(&self.target, async move |client| {
            let answer = client.get("/v1/lab/curve", &[]).await?;
            if as_json {
                admin_client::print_json(&answer);
                return Ok(());
            }
            let lines = answer.get("advice").and_then(Value::as_array);
            for line in lines.into_iter().flatten().filter_map(Value::as_str) {
                println!("{line}");
            }
            Ok::<(), Problem>(())
        })
    }
}
