//! What all lab verbs share: which trace, sizes in shares of it, the progress bar.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::ByteSize;
use crate::lab::report;
use crate::lab::trace::{self, ReadOptions, Summary, Trace};

#[derive(Debug, Args)]
pub(super) struct Input {
    /// Logs or traces, plain, gz or zst, read as one: Common or Combined Log Format, JSON
    /// lines (Brink, nginx, Caddy), csv (time,id,size), libCacheSim csv and oracleGeneral.
    /// `-` is standard input.
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// Only names (host and target) that contain this.
    #[arg(long)]
    only: Option<String>,
    /// Read at most this many requests.
    #[arg(long)]
    requests_max: Option<usize>,
    /// Share of unreadable lines beyond which a file is refused.
    #[arg(long, default_value_t = 0.01)]
    bad_max: f64,
}

/// A number of bytes, or a share of the footprint.
#[derive(Clone, Copy, Debug)]
pub(super) enum Room {
    Bytes(u64),
    Share(f64),
}

impl std::str::FromStr for Room {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 =
                percent.trim().parse().map_err(|_| format!("{text:?}: no number"))?;
            if percent > 0.0 && percent <= 1000.0 {
                return Ok(Room::Share(percent / 100.0));
            }
            return Err(format!("expected a share above 0 %, got {text:?}"));
        }
        text.parse::<ByteSize>().map(|size| Room::Bytes(size.bytes().max(1)))
    }
}

impl Room {
    pub(super) fn bytes(self, footprint: u64) -> u64 {
        match self {
            Room::Bytes(bytes) => bytes,
            Room::Share(share) => ((footprint as f64 * share) as u64).max(1),
        }
    }
}

impl Input {
    pub(super) fn read(&self) -> Result<(Trace, Summary), String> {
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |facts| facts.len());
        let bar = progress("reading", self.traces.iter().map(size).sum(), true);
        let options = ReadOptions {
            bad_share_max: self.bad_max,
            requests_max: self.requests_max.unwrap_or(usize::MAX),
            only: self.only.clone(),
        };
        let read = trace::read(&self.traces, &options, &mut |bytes| bar.inc(bytes));
        bar.finish_and_clear();
        read.map_err(|error| error.to_string())
    }
}

/// What is known about the trace, for people.
pub(super) fn describe(trace: &Trace, summary: &Summary) -> String {
    let (objects, bytes) = trace.compulsory();
    let mut text = format!(
        "{} requests ({}), {} objects, {} distinct, {} asked for; no cache can save {:.1} % of \
         requests and {:.1} % of bytes\n",
        trace.requests.len(),
        summary.form,
        trace.objects(),
        report::human(trace.footprint()),
        report::human(trace.bytes()),
        objects * 100.0,
        bytes * 100.0
    );
    if summary.left_out > 0 {
        text += &format!("left out (method, status or filter): {}\n", summary.left_out);
    }
    if summary.sizes_inferred > 0 {
        text += &format!(
            "size taken from another answer for the same name: {} requests; names without any \
             whole answer: {}\n",
            summary.sizes_inferred, summary.sizes_unknown
        );
    }
    if summary.bad > 0 {
        text += &format!("unreadable: {}, for example {}\n", summary.bad, summary.bad_samples[0]);
    }
    text
}

/// A bar with rate and time left on a terminal, nothing elsewhere: a log of a bar helps
/// nobody, and the figures follow.
pub(super) fn progress(what: &'static str, total: u64, bytes: bool) -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let counts = match bytes {
        true => "{bytes}/{total_bytes} {bytes_per_sec}",
        false => "{human_pos}/{human_len} {per_sec}",
    };
    let template = format!("{{prefix}} [{{wide_bar}}] {counts} {{eta}} left");
    let style = ProgressStyle::with_template(&template);
    let bar = ProgressBar::with_draw_target(Some(total), target).with_prefix(what);
    match style {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
