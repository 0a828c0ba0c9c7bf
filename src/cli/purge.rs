//! `brink purge`: makes a running node forget.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::admin_client::{self, Problem, Target, bytes, number, text};

const EXAMPLES: &str = "\
Examples:
  brink purge url https://example.com/style.css
  brink purge tag product-17 category-3
  brink purge prefix example.com/blog/ --by-segment
  brink purge host example.com --soft
  brink purge pattern '\\.(png|gif)$' --dry-run
  brink purge all

In effect on every tier and for fetches under way before the verb returns, and after a
crash. Exit code: 0 done, 1 the node did not do it, 2 wrong usage or refused as wrong.";

/// Make the node forget: by URL, tag, prefix, host, pattern, or everything
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Purge {
    #[command(subcommand)]
    what: What,
    /// Mark stale instead of dropping: stale answers may be served while they refresh
    #[arg(long, global = true)]
    soft: bool,
    /// Only say what would be purged
    #[arg(long, global = true)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All variants of URLs
    Url {
        /// Whole URLs with scheme
        #[arg(required = true)]
        urls: Vec<String>,
    },
    /// Everything with a tag (surrogate key), exactly
    Tag {
        /// Tags
        #[arg(required = true)]
        tags: Vec<String>,
    },
    /// Everything below a prefix; without a scheme for both
    Prefix {
        /// Prefixes such as https://example.com/blog/ or example.com/blog/
        #[arg(required = true)]
        prefixes: Vec<String>,
        /// `/a` then matches `/a/b` and `/a?q`, but not `/ab`
        #[arg(long)]
        by_segment: bool,
    },
    /// Everything of a host
    Host {
        /// Hosts, with a port if only that one is meant
        #[arg(required = true)]
        hosts: Vec<String>,
    },
    /// Every URL a regular expression finds something in
    Pattern {
        /// The expression
        pattern: String,
        /// It is a pattern of * and ? that must match the whole URL
        #[arg(long)]
        glob: bool,
    },
    /// Everything
    All,
}

impl Purge {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let Purge { what, soft, dry_run, target } = self;
        let mut call = body(what);
        if let Value::Object(fields) = &mut call {
            fields.insert("soft".to_owned(), soft.into());
            fields.insert("dry_run".to_owned(), dry_run.into());
        }
        let as_json = target.json;
        admin_client::run(&target, async move |client| {
            let answer = client.call(Method::POST, "/v1/purge", Some(&call)).await?;
            if as_json {
                admin_client::print_json(&answer);
            } else {
                print(&answer);
            }
            Ok::<(), Problem>(())
        })
    }
}

fn body(what: What) -> Value {
    match what {
        What::Url { urls } => json!({ "urls": urls }),
        What::Tag { tags } => json!({ "tags": tags }),
        What::Prefix { prefixes, by_segment } => json!({
            "prefixes": prefixes,
            "prefix_by": if by_segment { "segment" } else { "literal" },
        }),
        What::Host { hosts } => json!({ "hosts": hosts }),
        What::Pattern { pattern, glob } => json!({
            "pattern": pattern,
            "pattern_syntax": if glob { "glob" } else { "regex" },
        }),
        What::All => json!({ "everything": true }),
    }
}

fn print(answer: &Value) {
    let flag = |name: &str| answer.get(name).and_then(Value::as_bool).unwrap_or(false);
    let (matched, freed) = (number(answer, "/matched"), bytes(number(answer, "/freed_bytes")));
    let objects = if matched == 1 { "object" } else { "objects" };
    if flag("dry_run") {
        println!("would purge {matched} {objects} ({freed}); nothing was changed");
        return;
    }
    let ms = |name: &str| answer.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let verb = if flag("soft") { "marked stale" } else { "purged" };
    println!(
        "{verb} {matched} {objects} ({freed} freed), in effect after {:.1} ms, \
         number {} in the ledger{}",
        ms("effective_ms"),
        number(answer, "/seq"),
        text(answer, "/note"),
    );
    if !flag("swept") {
        println!("the sweep is still counting and freeing: brink stats, or GET /v1/purges");
    }
}
