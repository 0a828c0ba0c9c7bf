//! The program confines itself, where the kernel lets it, and can be told not to.

use crate::support::process;
use crate::support::*;

/// A line of `/proc/<pid>/status`.
fn status(process: &Process, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().trim().to_owned()
}

#[test]
fn the_program_serves_confined_and_unconfined() {
    let origin = Origin::start(|_| reply::fresh(60, "x"));
    for (setting, mode) in [("", "2"), ("[node]\nconfine = false\n", "0")] {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = format!(
            "{setting}[disk]\nadmit = \"all\"\n[[disk.directory]]\npath = {:?}\n\
             capacity = \"64MiB\"\n",
            dir.path().join("disk")
        );
        let process = Process::start(dir.path(), &process::config(dir.path(), &origin, &disk));
        process.client().get("/a").expect(200, "x");
        let known = status(&process, "Seccomp:");
        assert!(known == mode || known.is_empty(), "Seccomp: {known} with {setting:?}");
        assert!(dir.path().join("token").exists(), "the token is written");
        eventually("the disk tier is made", || {
            std::fs::read_dir(dir.path().join("disk")).is_ok_and(|mut found| found.next().is_some())
        });
    }
}

#[test]
fn the_program_needs_no_capability() {
    let origin = Origin::start(|_| reply::fresh(60, "x"));
    let dir = tempfile::tempdir().expect("a directory");
    // Root gets them all unless the bounding set is empty; others have none to begin with.
    let own = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let root = own.lines().any(|line| line.starts_with("Uid:\t0\t"));
    let without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    let under = if root { &without[..] } else { &[] };
    let text = process::config(dir.path(), &origin, "");
    let process = Process::start_under(under, dir.path(), &text);
    process.client().get("/a").expect(200, "x");
    assert!(process.client().get("/a").is_hit());
    for set in ["CapPrm:", "CapEff:", "CapInh:"] {
        assert_eq!(status(&process, set).trim_start_matches('0'), "", "{set}");
    }
}
