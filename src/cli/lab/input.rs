//! What all lab verbs share: which trace, sizes in shares of it, the progress bar.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{
    HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike,
};
use parking_lot::Mutex;

use crate::base::clock::instant;
use crate::base::{self, ByteSize};
use crate::lab::report;
use crate::lab::simulate::Weigh;
use crate::lab::trace::{self, NO_TTL, Query, ReadOptions, Summary, Trace};

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
    /// Not names that contain this; may be given several times.
    #[arg(long, value_name = "TEXT")]
    exclude: Vec<String>,
    /// Only these classes, where the trace has a column of that name.
    #[arg(long, value_delimiter = ',')]
    class: Vec<String>,
    /// What of the query tells objects apart: keep (all of it), sort, drop.
    #[arg(long, default_value = "keep", value_parser = query)]
    query: Query,
    /// How long answers are fresh where the log does not say: 1h, or /img/=1d for names that
    /// contain a text; the first that fits counts.
    #[arg(long = "ttl", value_name = "[TEXT=]TIME", value_delimiter = ',', value_parser = ttl)]
    ttls: Vec<(String, u32)>,
    /// Weigh objects as the node does: with bookkeeping and this many bytes of key and head
    /// each.
    #[arg(long, value_name = "BYTES", num_args = 0..=1, default_missing_value = "200")]
    as_node: Option<u64>,
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

fn query(word: &str) -> Result<Query, String> {
    match word {
        "keep" => Ok(Query::Keep),
        "sort" => Ok(Query::Sort),
        "drop" => Ok(Query::Drop),
        _ => Err("expected keep, sort or drop".to_owned()),
    }
}

fn ttl(rule: &str) -> Result<(String, u32), String> {
    let (text, time) = rule.rsplit_once('=').unwrap_or(("", rule));
    let seconds = base::units::parse_duration(time)?.as_secs();
    Ok((text.to_owned(), u32::try_from(seconds).unwrap_or(NO_TTL)))
}

impl Input {
    /// What objects take up.
    pub(super) fn weigh(&self) -> Weigh {
        self.as_node.map_or(Weigh::Body, |head| Weigh::Node { head })
    }

    pub(super) fn read(&self) -> Result<(Trace, Summary), String> {
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |facts| facts.len());
        let bar = progress("reading", self.traces.iter().map(size).sum(), true);
        let options = ReadOptions {
            bad_share_max: self.bad_max,
            requests_max: self.requests_max.unwrap_or(usize::MAX),
            only: self.only.clone(),
            exclude: self.exclude.clone(),
            classes: self.class.clone(),
            query: self.query,
            ttls: self.ttls.clone(),
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
        trace.asked(),
        summary.form,
        trace.objects(),
        report::human(trace.footprint()),
        report::human(trace.bytes()),
        objects * 100.0,
        bytes * 100.0
    );
    if let Some(sample) = trace.sample {
        text += &format!(
            "a sample: {} requests held, {:.3} % of the keys, large ones preferred\n",
            trace.requests.len(),
            sample.rate * 100.0
        );
    }
    if summary.left_out > 0 {
        text += &format!(
            "left out: {} (only GET and HEAD answered 200, 203, 206 or 304 are kept, and what \
             the filters let through)\n",
            summary.left_out
        );
    }
    if summary.sizes_inferred > 0 {
        let share = summary.sizes_inferred as f64 / trace.requests.len().max(1) as f64 * 100.0;
        text += &format!(
            "size taken from the largest whole answer for the same name (304, 206, HEAD, broken \
             off): {} requests, {share:.1} %; names without any whole answer: {}\n",
            summary.sizes_inferred, summary.sizes_unknown
        );
    }
    if summary.bad > 0 {
        let samples = summary.bad_samples.iter().map(|sample| format!("\n  {sample}"));
        text +=
            &format!("unreadable: {}, for example{}\n", summary.bad, samples.collect::<String>());
    }
    text + &variants(trace)
}

/// What telling variants apart costs.
fn variants(trace: &Trace) -> String {
    let Some(variants) = &trace.variants else { return String::new() };
    let requests = trace.requests.iter().map(|request| (request.object, request.size));
    let mut text = format!(
        "{} of {} names vary\nvariant             requests  extra misses  extra bytes\n",
        variants.varying(),
        variants.keys.len()
    );
    for cost in variants.costs(requests) {
        let (misses, bytes) = (cost.extra_misses, report::human(cost.extra_bytes));
        let value: String = cost.value.chars().take(18).collect();
        text += &format!("{value:<18} {:>9}  {misses:>12}  {bytes:>11}\n", cost.requests);
    }
    text
}

/// A bar with rate and time left on a terminal; elsewhere a plain line now and then, so that
/// a long run can be followed in a log.
pub(super) fn progress(what: &'static str, total: u64, bytes: bool) -> ProgressBar {
    let terminal = std::io::stderr().is_terminal();
    let target = match terminal {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::term_like(Box::new(Lines::default())),
    };
    let counts = match bytes {
        true => "{bytes}/{total_bytes} {bytes_per_sec}",
        false => "{human_pos}/{human_len} {rate}",
    };
    let bar = if terminal { "[{wide_bar}] " } else { "" };
    let template = format!("{{prefix}} {bar}{counts} {{eta}} left");
    let style = ProgressStyle::with_template(&template);
    let bar = ProgressBar::with_draw_target(Some(total), target).with_prefix(what);
    match style {
        // Whole requests: by itself the rate has four decimals.
        Ok(style) => bar.with_style(style.with_key("rate", rate).progress_chars("=> ")),
        Err(_) => bar,
    }
}

fn rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let _ = write!(out, "{}/s", HumanCount(state.per_sec() as u64));
}

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What a progress bar draws on where there is no terminal: whole lines, seldom.
#[derive(Debug, Default)]
struct Lines {
    last: Mutex<Option<Instant>>,
}

impl TermLike for Lines {
    fn width(&self) -> u16 {
        120
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut last = self.last.lock();
        let now = instant();
        let first = *last.get_or_insert(now);
        if text.trim().is_empty() || now.duration_since(first) < LINE_EVERY {
            return Ok(());
        }
        *last = Some(now);
        writeln!(io::stderr(), "{}", text.trim_end())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
