//! `brink ls`: what a running node has stored.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::admin_client::{self, Problem, Target, bytes, number, text};

const EXAMPLES: &str = "\
Examples:
  brink ls                          everything, 100 at first
  brink ls --host example.com
  brink ls --prefix example.com/blog/ --limit 1000
  brink ls --tag product-17 --json

Exit code: 0 done, 1 no node answered, 2 wrong usage.";

/// List stored objects by tag, prefix, host or URL
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Ls {
    /// Only objects with this tag
    #[arg(long, group = "filter")]
    tag: Option<String>,
    /// Only objects below this prefix
    #[arg(long, group = "filter")]
    prefix: Option<String>,
    /// Only objects of this host
    #[arg(long, group = "filter")]
    host: Option<String>,
    /// Only the variants of this URL
    #[arg(long, group = "filter")]
    url: Option<String>,
    /// How many
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    target: Target,
}

/// Objects asked for at a time.
const PAGE: usize = 500;

impl Ls {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        admin_client::run(&self.target, async |client| {
            let mut left = self.limit;
            let mut after = String::new();
            loop {
                let limit = left.min(PAGE).to_string();
                let given = |value: &'_ Option<String>| value.clone().unwrap_or_default();
                let (tag, prefix) = (given(&self.tag), given(&self.prefix));
                let (host, url) = (given(&self.host), given(&self.url));
                let query = [
                    ("tag", tag.as_str()),
                    ("prefix", prefix.as_str()),
                    ("host", host.as_str()),
                    ("url", url.as_str()),
                    ("limit", limit.as_str()),
                    ("after", after.as_str()),
                ];
                let page = client.get("/v1/objects", &query).await?;
                let objects = page.get("objects").and_then(Value::as_array);
                for object in objects.into_iter().flatten() {
                    if self.target.json { println!("{object}") } else { print(object) }
                }
                left = left.saturating_sub(objects.map_or(0, Vec::len));
                match text(&page, "/next") {
                    next if left > 0 && !next.is_empty() => after = next.to_owned(),
                    _ => return Ok::<(), Problem>(()),
                }
            }
        })
    }
}

fn print(object: &Value) {
    let ttl = object.get("ttl_s").and_then(Value::as_i64).unwrap_or(0);
    println!(
        "{:>10} {:>8} {} {}",
        bytes(number(object, "/bytes")),
        format!("{ttl}s"),
        number(object, "/status"),
        text(object, "/url")
    );
}
