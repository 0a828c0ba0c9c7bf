//! `brink warm`: has a running node fetch URLs before clients ask for them.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::admin_client::{self, Problem, Target, bytes, number, text};
use crate::admin::{Listed, listed};

const EXAMPLES: &str = "\
Examples:
  brink warm https://example.com/ https://example.com/style.css
  brink warm --sitemap https://example.com/sitemap.xml
  brink warm --file urls.txt --concurrency 16
  curl -s https://example.com/sitemap.xml | brink warm --file -

A file has one URL a line, or is a sitemap. Ctrl-C cancels the job. Exit code: 0 all URLs
were fetched, 1 some were not or no node answered, 2 wrong usage.";

/// Fill the cache with URLs, with a progress bar
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Warm {
    /// Whole URLs with scheme
    #[arg(required_unless_present_any = ["file", "sitemap"])]
    urls: Vec<String>,
    /// URL of a sitemap (or of an index of them), which the node fetches through itself
    #[arg(long, value_name = "URL")]
    sitemap: Option<String>,
    /// More URLs from a file, one a line, or from a sitemap; - is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Fetches at a time
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    #[command(flatten)]
    target: Target,
}

/// Between two looks at the job.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Warm {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let Warm { mut urls, sitemap, file, concurrency, target } = self;
        if let Some(file) = file {
            let read = read(&file).map_err(|error| error.to_string());
            match read.and_then(|bytes| listed(&bytes)) {
                Ok(Listed { urls: more, sitemaps }) if sitemaps.is_empty() => urls.extend(more),
                Ok(_) => return super::fail("an index of sitemaps: give its URL with --sitemap"),
                Err(why) => return super::fail(format!("{}: {why}", file.display())),
            }
        }
        let mut failed = 0;
        let code = admin_client::run(&target, async |client| {
            let call = json!({"urls": urls, "sitemap": sitemap, "concurrency": concurrency});
            let mut job = client.call(Method::POST, "/v1/warm", Some(&call)).await?;
            let path = format!("/v1/warm/{}", number(&job, "/id"));
            let bar = bar(&job, target.json);
            while matches!(text(&job, "/state"), "reading" | "running") {
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    _ = tokio::signal::ctrl_c() => {
                        client.call(Method::DELETE, &path, None).await?;
                    }
                }
                job = client.get(&path, &[]).await?;
                bar.set_length(number(&job, "/total"));
                bar.set_position(number(&job, "/counts/done"));
            }
            bar.finish_and_clear();
            failed = number(&job, "/counts/failed");
            if target.json {
                admin_client::print_json(&job)
            } else {
                print(&job)
            }
            Ok::<(), Problem>(())
        });
        if failed > 0 { ExitCode::FAILURE } else { code }
    }
}

fn bar(job: &Value, hidden: bool) -> ProgressBar {
    let total = number(job, "/total");
    let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::new(total) };
    match ProgressStyle::with_template("{bar:40} {pos} of {len}, {per_sec}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn print(job: &Value) {
    println!(
        "{}: {} of {} fetched, {} were hits already, {}, {} failed",
        text(job, "/state"),
        number(job, "/counts/done"),
        number(job, "/total"),
        number(job, "/counts/hits"),
        bytes(number(job, "/counts/bytes")),
        number(job, "/counts/failed")
    );
    let problems = job.pointer("/counts/problems").and_then(Value::as_array);
    for problem in problems.into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("  {problem}");
    }
}

fn read(file: &PathBuf) -> std::io::Result<Vec<u8>> {
    if file.as_os_str() != "-" {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}
