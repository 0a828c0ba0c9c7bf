//! The laboratory against the living node: what the simulator says is what happens.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use brink::lab::generate::{Workload, generate};
use brink::lab::replay::{Options, Pace, Replay, Report};
use brink::lab::simulate::{Setup, Weigh, simulate};
use brink::lab::trace::{ReadOptions, Trace, read};

use crate::support::Node;

/// Bytes of key and head of a replayed object.
const HEAD: u64 = 200;

/// A node with this much memory before the origin of a replay, and what came of the trace.
fn replayed(trace: &Trace, memory: u64, pace: Pace, http2: bool) -> Report {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let replay = runtime.block_on(Replay::bind(any)).unwrap();
    // Starts and stops outside of the runtime, as it has one of its own.
    let node = Node::start(&format!(
        "[memory]\ncapacity = \"{memory}\"\n[[origin]]\nname = \"app\"\nservers = \
         [\"http://{}\"]\n[[site]]\norigin = \"app\"\n",
        replay.address()
    ));
    let target = match http2 {
        true => format!("https://{}", node.tls_addr()),
        false => format!("http://{}", node.plain_addr()),
    };
    let options = Options { pace, http2, insecure: true, ..Options::new(target.parse().unwrap()) };
    runtime.block_on(replay.run(trace, &options, Arc::new(|| ()))).unwrap()
}

/// What the simulator expects of the same memory: shares of requests and bytes.
fn expected(trace: &Trace, memory: u64) -> (f64, f64) {
    let setup = Setup { weigh: Weigh::Node { head: HEAD }, ..Setup::memory_only("auto", memory) };
    let total = simulate(trace, &setup, &|_| ()).unwrap().total;
    (1.0 - total.miss_ratio(), 1.0 - total.byte_miss_ratio())
}

/// Within one percentage point, by what the node says and by what reached the origin.
fn agree(report: &Report, expected: (f64, f64), name: &str) {
    let apart = apart(report, expected);
    assert!(apart.is_empty(), "{name}: {}\n{}", apart.join("; "), report.text());
}

/// Where the two are a percentage point apart or more.
fn apart(report: &Report, (requests, bytes): (f64, f64)) -> Vec<String> {
    let mut found = Vec::new();
    if report.errors > 0 {
        found.push(format!("{} errors", report.errors));
    }
    for (what, live, simulated) in [
        // With those that waited for another's fetch: the simulator knows no time between.
        ("requests by status", report.spared_ratio_by_status, requests),
        ("requests by origin", report.hit_ratio_by_origin, requests),
        ("bytes by origin", report.byte_hit_ratio_by_origin, bytes),
    ] {
        if (live - simulated).abs() * 100.0 >= 1.0 {
            found.push(format!("{what}: live {live:.4}, simulated {simulated:.4}"));
        }
    }
    found
}

fn small(requests: usize) -> Trace {
    let workload = Workload {
        requests,
        objects: requests / 8,
        median: 4_000.0,
        // Sizes near each other: few requests must make a steady ratio of bytes.
        spread: 0.5,
        tail: 0.0,
        size_max: 40_000,
        ..Workload::default()
    };
    generate(&workload, 11)
}

#[test]
fn the_simulator_and_the_living_node_agree_within_a_point() {
    let trace = small(8_000);
    let memory = trace.footprint() / 3;
    for http2 in [false, true] {
        let report = replayed(&trace, memory, Pace::Closed { connections: 2 }, http2);
        assert_eq!(report.requests, 8_000);
        agree(&report, expected(&trace, memory), if http2 { "h2" } else { "h1" });
    }
}

#[test]
fn an_open_loop_asks_for_everything_whatever_the_node_does() {
    let trace = small(1_000);
    // A day in two seconds.
    let pace = Pace::Open { factor: 43_200.0, under_way_max: 64 };
    let report = replayed(&trace, 64 << 20, pace, false);
    assert_eq!((report.requests, report.errors), (1_000, 0), "{}", report.text());
    let objects = trace.objects() as u64;
    assert_eq!(report.origin.bodies, objects, "each object once, all fit");
}

#[test]
#[ignore = "long: replays a part of each given trace; BRINK_TRACES names their folder"]
fn on_the_given_traces_they_agree_too() {
    let folder = std::env::var_os("BRINK_TRACES")
        .map_or_else(|| Path::new("../shared/traces").to_owned(), PathBuf::from);
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let paths: Vec<PathBuf> = files
        .map(|file| file.path())
        .filter(|path| path.to_string_lossy().ends_with(".csv.zst"))
        .collect();
    if paths.is_empty() {
        println!("no traces in {}: nothing compared", folder.display());
    }
    let mut disagreements = Vec::new();
    for path in paths {
        let (trace, _) = read(&[&path], &ReadOptions::default(), &mut |_| ()).unwrap();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // About 60,000 requests of each, and objects of 20 kB on average.
        let share = (60_000.0 / trace.requests.len() as f64).min(1.0);
        let mean = trace.footprint() as f64 / trace.objects() as f64;
        let trace = trace.thinned(share, mean / 20_000.0);
        for part in [50, 10] {
            let memory = (trace.footprint() / part).max(2 << 20);
            let report = replayed(&trace, memory, Pace::Closed { connections: 2 }, false);
            let expected = expected(&trace, memory);
            println!(
                "{name} 1/{part}: live {:.4} {:.4} {:.4}, simulated {:.4} {:.4}",
                report.spared_ratio_by_status,
                report.hit_ratio_by_origin,
                report.byte_hit_ratio_by_origin,
                expected.0,
                expected.1
            );
            let apart = apart(&report, expected).into_iter();
            disagreements.extend(apart.map(|what| format!("{name} 1/{part}, {what}")));
        }
    }
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}
