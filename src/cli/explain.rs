//! `brink explain`: why a URL is or is not a hit.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::admin_client::{self, Problem, Target, bytes, number, text};

const EXAMPLES: &str = "\
Examples:
  brink explain https://example.com/style.css
  brink explain https://example.com/ -H 'Accept-Encoding: br' -H 'Cookie: a=b'

Asks the node, never the origin. Exit code: 0 answered (whatever the verdict), 1 no node
answered, 2 wrong usage.";

/// Why a URL is or is not a hit: site, rule, key, variants, freshness, and what would help
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Explain {
    /// Whole URL with scheme
    url: String,
    /// A request field, as a client would send it
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    #[command(flatten)]
    target: Target,
}

impl Explain {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let Explain { url, headers, target } = self;
        admin_client::run(&target, async |client| {
            let mut query = vec![("url", url.as_str())];
            query.extend(headers.iter().map(|header| ("header", header.as_str())));
            let answer = client.get("/v1/explain", &query).await?;
            if target.json {
                admin_client::print_json(&answer)
            } else {
                print(&answer)
            }
            Ok::<(), Problem>(())
        })
    }
}

fn print(answer: &Value) {
    let line = |name: &str, value: String| {
        if !value.is_empty() {
            println!("{name:<12} {value}");
        }
    };
    let at = |pointer: &str| text(answer, pointer).to_owned();
    let fwd = match text(answer, "/now/fwd") {
        "" => String::new(),
        fwd => format!(" (fwd={fwd})"),
    };
    line("now", format!("{}{fwd}: {}", at("/now/verdict"), at("/now/why")));
    let rule = match text(answer, "/rule") {
        "" => "no rule, the site's own policy".to_owned(),
        rule => format!("rule {rule:?}"),
    };
    line("site", format!("{}, {rule}, origin {}", at("/site"), at("/origin")));
    line("key", at("/key/text"));
    line("", at("/key/query_rule"));
    line("freshness", at("/freshness/sum"));
    let list = |pointer| answer.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let tiers: Vec<&str> = list("/tiers").filter_map(Value::as_str).collect();
    line("tiers", tiers.join(", "));
    if let Some(hits) = answer.get("hits").and_then(Value::as_u64) {
        line("hits", format!("{hits} since it came into memory"));
    }
    if let Some(at_s) = answer.pointer("/last_eviction/at_s").and_then(Value::as_u64) {
        let hits = number(answer, "/last_eviction/hits");
        line("evicted", format!("{} after {hits} hits", crate::telemetry::line::rfc3339(at_s)));
    }
    for (name, told) in list("/variants").map(variant) {
        line(name, told);
    }
    if answer.get("last_purge").is_some_and(|purge| !purge.is_null()) {
        let soft = answer.pointer("/last_purge/soft").and_then(Value::as_bool).unwrap_or(false);
        line(
            "last purge",
            format!(
                "number {}, {}{} {:?}",
                number(answer, "/last_purge/seq"),
                if soft { "soft, " } else { "" },
                at("/last_purge/kind"),
                at("/last_purge/what")
            ),
        );
    }
    if let Some(pieces) = answer.get("pieces").filter(|pieces| !pieces.is_null()) {
        let held = |tier| number(pieces, tier);
        let (total, memory, disk) = (held("/total"), held("/memory"), held("/disk"));
        line("pieces", format!("{total} of 1 MiB: {memory} in memory, {disk} on disk"));
    }
    line("not stored", at("/last_not_stored/reason"));
    for advice in list("/advice").filter_map(Value::as_str) {
        line("advice", advice.to_owned());
    }
}

/// One stored variant: what to call it, and what is known of it.
fn variant(variant: &Value) -> (&'static str, String) {
    let object = variant.get("object").unwrap_or(&Value::Null);
    let selected = variant.get("selected").and_then(Value::as_bool).unwrap_or(false);
    let ttl = object.get("ttl_s").and_then(Value::as_i64).unwrap_or(0);
    let vary = object.get("vary").and_then(Value::as_array).into_iter().flatten();
    let vary: Vec<String> =
        vary.map(|pair| format!("{}: {}", text(pair, "/0"), text(pair, "/1"))).collect();
    let told = format!(
        "{}, {}, status {}, ttl {ttl} s, tags {} {}",
        text(object, "/tier"),
        bytes(number(object, "/bytes")),
        number(object, "/status"),
        object.get("tags").unwrap_or(&Value::Null),
        vary.join("; ")
    );
    (if selected { "variant *" } else { "variant" }, told)
}
