//! Every policy side by side with the offline bound: object and byte miss ratio at 0.1, 1
//! and 10 % of the footprint, the disk's own order by itself as the row `disk`; then memory
//! and disk together, for disks of 10 and 30 % of the
//! footprint and memory of a tenth of the disk, with what is written.
//!
//! `cargo bench --bench hit_ratio [-- NAME]`. The traces are those of the design study,
//! whose licences keep them out of this repository: the folder is `BRINK_TRACES`, or
//! `../shared/traces`. Without it, a generated workload is used, and that is said.

use std::path::PathBuf;

use brink::lab::generate::{Workload, generate};
use brink::lab::simulate::{Setup, simulate};
use brink::lab::trace::{ReadOptions, Trace, read};
use brink::lab::{policies, report};
use brink::store::policy::admission::AdmitPolicy;

fn main() {
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with("--"));
    let folder = std::env::var_os("BRINK_TRACES")
        .map_or_else(|| PathBuf::from("../shared/traces"), PathBuf::from);
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = files
        .map(|file| file.path())
        .filter(|path| path.to_string_lossy().ends_with(".csv.zst"))
        .filter(|path| wanted.as_ref().is_none_or(|name| path.to_string_lossy().contains(name)))
        .collect();
    paths.sort();
    if paths.is_empty() {
        println!("no traces in {}: a generated workload instead", folder.display());
        table("generated, seed 1", &generate(&Workload::default(), 1));
    }
    for path in paths {
        match read(&[&path], &ReadOptions::default(), &mut |_| ()) {
            Ok((trace, _)) => table(&path.display().to_string(), &trace),
            Err(error) => println!("{error}"),
        }
    }
}

fn table(name: &str, trace: &Trace) {
    println!("\n{name}: {} requests, {} objects", trace.requests.len(), trace.objects());
    let footprint = trace.footprint();
    for share in [0.001, 0.01, 0.1] {
        let memory = ((footprint as f64 * share) as u64).max(1);
        let outcomes: Vec<_> = policies::NAMES
            .into_iter()
            .filter_map(|policy| simulate(trace, &Setup::memory_only(policy, memory), &|_| ()))
            .collect();
        print!("{}", report::table(&outcomes));
        // The disk by itself: everything written, no memory before it.
        let alone = Setup { disk: Some(memory), ..Setup::memory_only("lru", 0) };
        if let Some(disk) = simulate(trace, &alone, &|_| ()) {
            let written = disk.disk_written as f64 / disk.disk_admitted.max(1) as f64;
            let (objects, bytes) = (disk.total.miss_ratio(), disk.total.byte_miss_ratio());
            let (objects, bytes) = (objects * 100.0, bytes * 100.0);
            println!(
                "{:<12} {:>9} {objects:>7.2}% {bytes:>7.2}%  written x {written:.2}",
                "disk", ""
            );
        }
        let (objects, bytes) = policies::bound(trace, memory);
        println!("{:<12} {:>9} {:>7.2}% {:>7.2}%", "bound", "", objects * 100.0, bytes * 100.0);
    }
    let mut outcomes = Vec::new();
    for share in [0.1, 0.3] {
        let disk = (footprint as f64 * share) as u64;
        for (policy, admit) in [
            ("lru", AdmitPolicy::All),
            ("before-disk", AdmitPolicy::All),
            ("before-disk", AdmitPolicy::Evicted),
        ] {
            let setup = Setup { disk: Some(disk), admit, ..Setup::memory_only(policy, disk / 10) };
            outcomes.extend(simulate(trace, &setup, &|_| ()));
        }
    }
    println!("two tiers: lru and all written, before-disk and all written, before-disk as it is");
    print!("{}", report::table(&outcomes));
}
