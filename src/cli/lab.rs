//! `brink lab`: how much cache, and what would it save?

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use indicatif::ProgressBar;

use crate::lab::curve::{self, Point, Sampling};
use crate::lab::simulate::{self, Outcome, Setup, Weigh};
use crate::lab::trace::{Summary, Trace};
use crate::lab::{figure, generate, policies, report};
use crate::store::policy::admission::AdmitPolicy;

mod advise;
mod input;
mod replay;

use input::{Input, Room, describe, progress};

const EXAMPLES: &str = "\
Examples:
  brink lab simulate access.log --memory 1%,10% --policy auto,lru,s3-fifo,belady
  brink lab simulate access.log.gz --memory 1GiB --disk 20GiB,100GiB
  brink lab curve access.log --html curve.html
  brink lab generate --out trace.csv.zst
  brink lab replay access.log --target http://127.0.0.1:8080 --origin-listen 127.0.0.1:3000
  brink lab advise                                 what a running node should have";

/// Replay logs and traces: hit ratios of policies side by side, and how much cache pays.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Lab {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Simulate(Simulate),
    Curve(Curve),
    Generate(Generate),
    Advise(advise::Advise),
    Replay(replay::Replay),
}

/// Run a trace through policies and tiers, and print what each would have saved.
#[derive(Debug, Args)]
struct Simulate {
    #[command(flatten)]
    input: Input,
    /// Sizes of the memory tier: 512MiB, or a share of all distinct bytes: 1%.
    #[arg(long, value_delimiter = ',', default_value = "1%,10%")]
    memory: Vec<Room>,
    /// Sizes of a disk tier behind it.
    #[arg(long, value_delimiter = ',')]
    disk: Vec<Room>,
    /// Policies of the memory tier: auto, before-disk, tinylfu, lru, fifo, sieve, s3-fifo,
    /// 2q, gdsf, belady (offline). Default: all, or before-disk and lru with a disk tier.
    #[arg(long, value_delimiter = ',')]
    policy: Vec<String>,
    /// What is written to disk: evicted (what memory gives up and was asked for again), all.
    #[arg(long, default_value = "evicted")]
    admission: String,
    /// Share of the requests at the start that is not counted, 0 to 0.9.
    #[arg(long, default_value_t = 0.0)]
    warmup: f64,
    /// Ignore the lifetimes in the trace.
    #[arg(long)]
    no_ttl: bool,
    /// Print the hit ratio of every hour too.
    #[arg(long)]
    hourly: bool,
    /// Print one JSON document instead of tables.
    #[arg(long)]
    json: bool,
}

/// The miss ratio over all cache sizes, from a sample of the keys.
#[derive(Debug, Args)]
struct Curve {
    #[command(flatten)]
    input: Input,
    /// Share of the keys in the sample.
    #[arg(long, default_value_t = 0.1)]
    rate: f64,
    /// Keys in the sample at most.
    #[arg(long)]
    keys: Option<usize>,
    /// Further policies, simulated in full at each size (lru is sampled).
    #[arg(long, value_delimiter = ',', default_value = "auto")]
    policy: Vec<String>,
    /// Number of sizes.
    #[arg(long, default_value_t = 13, value_parser = clap::value_parser!(u16).range(2..=200))]
    points: u16,
    /// The size of the cache today, for the advice and a mark in the figure.
    #[arg(long)]
    now: Option<Room>,
    /// Write a page with the figure.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the points as csv.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
}

/// Write a seeded, CDN-like trace to try things with.
#[derive(Debug, Args)]
struct Generate {
    /// Where to: .csv or .csv.zst.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Number of requests.
    #[arg(long, default_value_t = 1_000_000)]
    requests: usize,
    /// Popular objects at any one time.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    objects: u32,
    /// Exponent of the popularity law, 0 to 2.
    #[arg(long, default_value_t = 0.8)]
    zipf: f64,
    /// Share of requests for objects that are asked for once, 0 to 1.
    #[arg(long, default_value_t = 0.15)]
    one_hit: f64,
    /// Hours the trace spans.
    #[arg(long, default_value_t = 24.0)]
    hours: f64,
    /// Drift: share of the popular objects replaced by new ones an hour, 0 to 1.
    #[arg(long, default_value_t = 0.02)]
    churn: f64,
    /// Median size of objects in bytes.
    #[arg(long, default_value_t = 24_000.0)]
    median: f64,
    /// Share of objects from the heavy tail above 1 MB, 0 to 1.
    #[arg(long, default_value_t = 0.02)]
    tail: f64,
    /// Share of requests that belong to scans, 0 to 0.5.
    #[arg(long, default_value_t = 0.03)]
    scans: f64,
    /// The same seed gives the same trace.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Lab {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let done = match self.verb {
            Verb::Simulate(verb) => verb.run(),
            Verb::Curve(verb) => verb.run(),
            Verb::Generate(verb) => verb.run(),
            Verb::Replay(verb) => verb.run(),
            Verb::Advise(verb) => return verb.run(),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => super::fail(message),
        }
    }
}

impl Simulate {
    fn run(&self) -> Result<(), String> {
        let admit = match self.admission.as_str() {
            "evicted" => AdmitPolicy::Evicted,
            "all" => AdmitPolicy::All,
            other => return Err(format!("--admission: expected evicted or all, got {other:?}")),
        };
        let names: Vec<&str> = match (self.policy.is_empty(), self.disk.is_empty()) {
            (true, true) => policies::NAMES.to_vec(),
            (true, false) => vec!["before-disk", "lru"],
            (false, _) => self.policy.iter().map(String::as_str).collect(),
        };
        let (trace, summary) = self.input.read()?;
        let footprint = trace.footprint();
        let disks: Vec<Option<u64>> = match self.disk.is_empty() {
            true => vec![None],
            false => self.disk.iter().map(|room| Some(room.bytes(footprint))).collect(),
        };
        let cells = self.memory.len() * disks.len() * names.len();
        let bar = progress("simulating", (trace.requests.len() * cells) as u64, false);
        let mut outcomes: Vec<Outcome> = Vec::new();
        let rooms = || self.memory.iter().flat_map(|m| disks.iter().map(move |disk| (*m, *disk)));
        for (memory, disk) in rooms() {
            for name in &names {
                let setup = Setup {
                    policy: (*name).to_owned(),
                    memory: memory.bytes(footprint),
                    disk,
                    admit,
                    warmup: self.warmup.clamp(0.0, 0.9),
                    ttl: !self.no_ttl,
                    weigh: self.input.weigh(),
                };
                let outcome = simulate::simulate(&trace, &setup, &|done| bar.inc(done));
                let known = policies::NAMES.join(", ");
                let unknown = || format!("--policy: no {name:?}; there are {known}");
                outcomes.push(outcome.ok_or_else(unknown)?);
            }
        }
        bar.finish_and_clear();
        self.print(&trace, &summary, &outcomes)
    }

    fn print(&self, trace: &Trace, summary: &Summary, all: &[Outcome]) -> Result<(), String> {
        let bounds: Vec<(u64, (f64, f64))> = {
            let sizes: std::collections::BTreeSet<u64> =
                all.iter().map(|outcome| outcome.disk.unwrap_or(0) + outcome.memory).collect();
            sizes.into_iter().map(|size| (size, policies::bound(trace, size))).collect()
        };
        if self.json {
            let (objects, bytes) = trace.compulsory();
            return json(&serde_json::json!({
                "trace": {
                    "requests": trace.requests.len(), "objects": trace.objects(),
                    "footprint": trace.footprint(), "bytes": trace.bytes(),
                    "compulsory_objects": objects, "compulsory_bytes": bytes, "read": summary,
                },
                "bounds": bounds.iter().map(|(size, (objects, bytes))| serde_json::json!(
                    {"size": size, "miss_objects": objects, "miss_bytes": bytes}
                )).collect::<Vec<_>>(),
                "outcomes": all,
            }));
        }
        let mut text = describe(trace, summary) + "\n" + &report::table(all);
        for (size, (objects, bytes)) in bounds {
            text += &format!(
                "no cache of {} misses less than {:.2} % of requests or {:.2} % of bytes\n",
                report::human(size),
                objects * 100.0,
                bytes * 100.0
            );
        }
        if self.hourly {
            text += &format!("\nhit ratio by hour\n{}", report::hours(all));
        }
        print(&text)
    }
}

impl Curve {
    fn run(&self) -> Result<(), String> {
        if !(self.rate > 0.0 && self.rate <= 1.0) {
            return Err(format!("--rate: expected above 0, at most 1, got {}", self.rate));
        }
        let (trace, summary) = self.input.read()?;
        let weigh = self.input.weigh();
        let sizes = curve::sizes(trace.footprint(), usize::from(self.points));
        let sampling = Sampling { rate: self.rate, keys_max: self.keys };
        let mut curves = vec![("lru".to_owned(), curve::curve(&trace, sampling, weigh, &sizes))];
        let others = self.policy.iter().filter(|name| *name != "lru" && !name.is_empty());
        let work = trace.requests.len() * sizes.len() * others.clone().count();
        let bar = progress("simulating", work as u64, false);
        for name in others {
            curves.push((name.clone(), full(&trace, name, &sizes, weigh, &bar)?));
        }
        bar.finish_and_clear();
        let now = self.now.map(|room| room.bytes(trace.footprint()));
        let advice =
            now.and_then(|now| curve::advice(&curves[0].1, now, report::human)).unwrap_or_default();
        let write = |path: &PathBuf, text: String| {
            std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        if let Some(path) = &self.csv {
            write(path, report::curve_csv(&curves))?;
        }
        if let Some(path) = &self.html {
            let about = describe(&trace, &summary).trim_end().replace('\n', ". ") + ". " + &advice;
            write(path, figure::page("Miss ratio by cache size", &about, &curves, now))?;
        }
        if self.json {
            return json(&serde_json::json!({"read": summary, "curves": curves, "advice": advice}));
        }
        print(&format!(
            "{}\n{}{advice}\n",
            describe(&trace, &summary),
            report::curve_table(&curves)
        ))
    }
}

fn full(
    trace: &Trace,
    name: &str,
    sizes: &[u64],
    weigh: Weigh,
    bar: &ProgressBar,
) -> Result<Vec<Point>, String> {
    let point = |size: &u64| {
        let setup = Setup { weigh, ..Setup::memory_only(name, *size) };
        let outcome = simulate::simulate(trace, &setup, &|done| bar.inc(done));
        let total = outcome.ok_or_else(|| format!("--policy: no {name:?}"))?.total;
        let (objects, bytes) = (total.miss_ratio(), total.byte_miss_ratio());
        Ok(Point { size: *size, objects, bytes, objects_error: 0.0, bytes_error: 0.0 })
    };
    sizes.iter().map(point).collect()
}

impl Generate {
    fn run(&self) -> Result<(), String> {
        if !(0.0..=2.0).contains(&self.zipf) || !(0.0..=1.0).contains(&self.one_hit) {
            return Err("--zipf must lie in 0 to 2, --one-hit in 0 to 1".to_owned());
        }
        let workload = generate::Workload {
            requests: self.requests,
            objects: self.objects as usize,
            zipf: self.zipf,
            one_hit: self.one_hit,
            hours: self.hours.max(0.001),
            churn: self.churn.clamp(0.0, 1.0),
            median: self.median.max(1.0),
            tail: self.tail.clamp(0.0, 1.0),
            scans: self.scans.clamp(0.0, 0.5),
            ..generate::Workload::default()
        };
        let failed = |error: std::io::Error| format!("{}: {error}", self.out.display());
        let file = std::fs::File::create(&self.out).map_err(failed)?;
        let trace = generate::generate(&workload, self.seed);
        let mut out = std::io::BufWriter::new(file);
        if self.out.extension().is_some_and(|extension| extension == "zst") {
            let mut packed = zstd::stream::write::Encoder::new(out, 3).map_err(failed)?;
            generate::write_csv(&trace, &mut packed).map_err(failed)?;
            out = packed.finish().map_err(failed)?;
        } else {
            generate::write_csv(&trace, &mut out).map_err(failed)?;
        }
        out.flush().map_err(failed)?;
        print(&describe(&trace, &Summary { form: "generated".to_owned(), ..Summary::default() }))
    }
}

/// Prints; a reader that went away is no error.
fn print(text: &str) -> Result<(), String> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}

fn json(document: &serde_json::Value) -> Result<(), String> {
    let text = serde_json::to_string_pretty(document).map_err(|error| error.to_string())?;
    print(&(text + "\n"))
}
