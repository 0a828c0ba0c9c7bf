//! `brink cache`: the disk directories of a node, most of it while the node is stopped.
//!
//! On a terminal a bar shows how far it is; elsewhere plain lines, so that logs and pipes
//! stay readable.

mod live;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::store::disk::format::Kind;
use crate::store::disk::offline::{Found, Store};

const EXAMPLES: &str = "\
Examples:
  brink cache ls /var/cache/brink             what is stored, one line an object
  brink cache verify /var/cache/brink --json  check every byte, change nothing
  brink cache rebuild /var/cache/brink        write new footers without what is damaged
  brink cache status                          how the directories of a running node are doing
  brink cache take-out /var/cache/brink       out of service, to change the device
  brink cache put-back /var/cache/brink       back into service after faults

For ls, verify and rebuild the node must be stopped: it locks its directories. The others
talk to the admin API of a running node. A node that confines itself (node.confine) may not
write to a directory made anew, on another device for instance: then start it again, or hand
over to a new process.
Exit code: 0 all well, 1 damage found or a directory that cannot be read, 2 wrong usage.";

/// Look into, verify or rebuild a stopped node's disk cache; see to a running node's
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Cache {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what is stored
    Ls(Where),
    /// Read everything and check every checksum
    Verify(Where),
    /// Write new footers that list only what verifies
    Rebuild(Where),
    /// Show the directories of a running node
    Status(live::Node),
    /// Put a directory of a running node back into service
    PutBack(live::One),
    /// Take a directory of a running node out of service
    TakeOut(live::One),
}

#[derive(Debug, Args)]
struct Where {
    /// Directories of the disk tier
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Cache {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let (on, each): (&Where, fn(&Path, &mut Store, bool) -> bool) = match &self.verb {
            Verb::Ls(on) => (on, ls),
            Verb::Verify(on) => (on, verify),
            Verb::Rebuild(on) => (on, rebuild),
            Verb::Status(on) => return on.status(),
            Verb::PutBack(on) => return on.put_back(),
            Verb::TakeOut(on) => return on.take_out(),
        };
        let mut well = true;
        for path in &on.directories {
            match Store::open(path) {
                Ok(mut store) => {
                    for (name, why) in &store.set_aside {
                        eprintln!("{}: {name} set aside: {why}", path.display());
                    }
                    well &= each(path, &mut store, on.json);
                }
                Err(error) => {
                    eprintln!("brink: {error}");
                    well = false;
                }
            }
        }
        if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn ls(_: &Path, store: &mut Store, as_json: bool) -> bool {
    let mut out = std::io::stdout().lock();
    store.check(&mut |found| {
        let Found { segment, offset, len, .. } = found;
        let Ok((key, tags)) = &found.content else { return true };
        if !matches!(found.kind, Kind::Entry | Kind::Piece) || !found.live {
            return true;
        }
        let written = if as_json {
            let line = json!({ "key": key, "bytes": len, "tags": tags,
                "segment": format!("{segment:016x}"), "offset": offset });
            writeln!(out, "{line}")
        } else {
            writeln!(out, "{len:>12}  {key}  {}", tags.join(" "))
        };
        // Whoever reads has seen enough.
        written.is_ok()
    });
    true
}

fn verify(path: &Path, store: &mut Store, as_json: bool) -> bool {
    let bar = bar(store.records(), "verifying");
    let (mut records, mut live, mut live_bytes, mut damaged) = (0u64, 0u64, 0u64, 0u64);
    store.check(&mut |found| {
        records += 1;
        bar.inc(1);
        match &found.content {
            Ok(_) if found.live => {
                live += 1;
                live_bytes += found.len;
            }
            Ok(_) => {}
            Err(why) => {
                damaged += 1;
                let Found { segment, offset, .. } = found;
                bar.suspend(|| eprintln!("segment {segment:016x} offset {offset}: {why}"));
            }
        }
        true
    });
    bar.finish_and_clear();
    let segments = store.segments();
    if as_json {
        let line = json!({ "directory": path, "segments": segments, "records": records,
            "live": live, "live_bytes": live_bytes, "damaged": damaged,
            "set_aside": store.set_aside.len() });
        println!("{line}");
    } else {
        let path = path.display();
        println!(
            "{path}: {segments} segments, {records} records, {live} live ({live_bytes} bytes), \
             {damaged} damaged"
        );
    }
    damaged == 0
}

fn rebuild(path: &Path, store: &mut Store, as_json: bool) -> bool {
    let bar = bar(store.records(), "rebuilding");
    let rebuilt = store.rebuild(&|| bar.inc(1));
    bar.finish_and_clear();
    match rebuilt {
        Ok(done) => {
            let (segments, kept, dropped) = (done.segments, done.kept, done.dropped);
            if as_json {
                let line = json!({ "directory": path, "segments": segments, "kept": kept,
                    "dropped": dropped });
                println!("{line}");
            } else {
                let path = path.display();
                println!("{path}: {segments} footers, {kept} records kept, {dropped} dropped");
            }
            true
        }
        Err(error) => {
            eprintln!("brink: {}: {error}", path.display());
            false
        }
    }
}

fn bar(records: u64, what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{msg} {wide_bar} {human_pos}/{human_len} records, {eta} left";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(records).with_style(style).with_message(what)
}
