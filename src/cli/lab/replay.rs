//! `brink lab replay`: a trace against a living node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::{HeaderName, HeaderValue, Uri};

use super::input::{Input, Room, describe, progress};
use super::{json, print};
use crate::lab::replay::{Options, Pace, Replay as Live, Report};
use crate::lab::simulate::{Setup, Weigh, simulate};
use crate::lab::trace::Trace;

const EXAMPLES: &str = "\
Examples:
  brink run --origin http://127.0.0.1:3000 --listen 127.0.0.1:8080 --memory 64MiB
  brink lab replay access.log --target http://127.0.0.1:8080 --origin-listen 127.0.0.1:3000
  brink lab replay trace.csv.zst --target https://127.0.0.1:8443 --insecure --http2 \\
      --origin-listen 127.0.0.1:3000 --pace 60 --expect 64MiB

The node must have --origin-listen as its origin, and an empty cache.";

/// Replay a trace against a running node, as its clients and as its origin
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Replay {
    #[command(flatten)]
    input: Input,
    /// The node: http://HOST:PORT or https://HOST:PORT.
    #[arg(long, value_name = "URL")]
    target: Uri,
    /// Where to be the origin.
    #[arg(long, value_name = "ADDR")]
    origin_listen: SocketAddr,
    /// Connections, each asking as soon as it is answered (closed loop).
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Ask when the trace says, this many times faster (open loop).
    #[arg(long, value_name = "FACTOR")]
    pace: Option<f64>,
    /// Requests under way at most in open loop; the wait of others counts.
    #[arg(long, default_value_t = 1024)]
    under_way: usize,
    /// HTTP/2.
    #[arg(long)]
    http2: bool,
    /// Take any certificate.
    #[arg(long)]
    insecure: bool,
    /// Host to ask for; that of the target by default.
    #[arg(long)]
    host: Option<String>,
    /// A further field of the origin's answers, "Name: value"; may be given several times.
    #[arg(long, value_name = "FIELD", value_parser = field)]
    origin_header: Vec<(HeaderName, HeaderValue)>,
    /// Longest wait for one answer, in seconds.
    #[arg(long, default_value_t = 30)]
    timeout: u64,
    /// Share of the objects that are replayed, with all their requests.
    #[arg(long, default_value_t = 1.0)]
    share: f64,
    /// Make every object this much smaller, to spare the network.
    #[arg(long, default_value_t = 1.0)]
    shrink: f64,
    /// The node's memory: say too what the simulator expects of it.
    #[arg(long, value_name = "SIZE")]
    expect: Option<Room>,
    /// The node's disk, for --expect.
    #[arg(long, value_name = "SIZE", requires = "expect")]
    expect_disk: Option<Room>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected \"Name: value\"")?;
    let name = HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

impl Replay {
    pub(super) fn run(&self) -> Result<(), String> {
        let (trace, summary) = self.input.read()?;
        let trace = trace.thinned(self.share, self.shrink);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let report = runtime.block_on(self.live(&trace))?;
        let expected = self.expect.map(|memory| self.expected(&trace, memory));
        if self.json {
            let (requests, bytes) = expected.unzip();
            return json(&serde_json::json!({
                "read": summary, "report": report,
                "expected_hit_ratio": requests, "expected_byte_hit_ratio": bytes,
            }));
        }
        let mut text = describe(&trace, &summary) + &report.text();
        if let Some((requests, bytes)) = expected {
            text += &format!(
                "simulator expects: {:.2} % of requests, {:.2} % of bytes not by the origin\n",
                requests * 100.0,
                bytes * 100.0
            );
        }
        print(&text)
    }

    async fn live(&self, trace: &Trace) -> Result<Report, String> {
        let live = Live::bind(self.origin_listen).await.map_err(|error| error.to_string())?;
        let pace = match self.pace {
            Some(factor) if factor > 0.0 => Pace::Open { factor, under_way_max: self.under_way },
            Some(_) => return Err("--pace: expected a factor above 0".to_owned()),
            None => Pace::Closed { connections: self.connections },
        };
        let options = Options {
            pace,
            host: self.host.clone(),
            http2: self.http2,
            insecure: self.insecure,
            fields: self.origin_header.clone(),
            timeout: Duration::from_secs(self.timeout.max(1)),
            ..Options::new(self.target.clone())
        };
        let bar = progress("replaying", trace.requests.len() as u64, false);
        let ticking = bar.clone();
        let report = live.run(trace, &options, Arc::new(move || ticking.inc(1))).await;
        bar.finish_and_clear();
        report.map_err(|error| error.to_string())
    }

    /// Shares of requests and bytes that the origin should not have to send.
    fn expected(&self, trace: &Trace, memory: Room) -> (f64, f64) {
        let footprint = trace.footprint();
        let disk = self.expect_disk.map(|room| room.bytes(footprint));
        let policy = if disk.is_some() { "before-disk" } else { "auto" };
        let memory = memory.bytes(footprint);
        let weigh = match self.input.weigh() {
            Weigh::Body => Weigh::Node { head: 200 },
            weigh => weigh,
        };
        let setup = Setup {
            disk,
            admit: Default::default(),
            ttl: self.pace.is_some(),
            weigh,
            ..Setup::memory_only(policy, memory)
        };
        let total = simulate(trace, &setup, &|_| ()).unwrap_or_default().total;
        (1.0 - total.miss_ratio(), 1.0 - total.byte_miss_ratio())
    }
}
