//! `brink trace`: a running node's sample of requests, for offline use.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::admin_client::{self, Problem, Target};

const EXAMPLES: &str = "\
Examples:
  brink trace record --out monday.csv.zst
  brink lab curve monday.csv.zst --html monday.html
  brink lab simulate monday.csv.zst --memory 4GiB,16GiB

Keys are hashed with a secret that nobody keeps: no URL, no address, and no two recordings
can be matched. Exit code: 0 done, 1 no node answered or nothing was sampled yet.";

/// Save a running node's sample of requests, for `brink lab`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Trace {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Record(Record),
}

/// Write the sample to a file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Record {
    /// Where to: .csv, .csv.zst, or - for standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    target: Target,
}

impl Trace {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let Verb::Record(record) = self.verb;
        record.run()
    }
}

impl Record {
    fn run(self) -> ExitCode {
        let mut lines = Vec::new();
        let code = admin_client::run(&self.target, async |client| {
            let line = |line: &str| {
                lines.extend_from_slice(line.as_bytes());
                lines.push(b'\n');
                true
            };
            client.follow("/v1/lab/sample", line).await?;
            Ok::<(), Problem>(())
        });
        if code != ExitCode::SUCCESS {
            return code;
        }
        if let Err(error) = write(&self.out, &lines) {
            return super::fail(format!("{}: {error}", self.out.display()));
        }
        // Two lines above the requests.
        let count = lines.iter().filter(|byte| **byte == b'\n').count().saturating_sub(2);
        eprintln!("{count} requests recorded");
        ExitCode::SUCCESS
    }
}

fn write(path: &Path, lines: &[u8]) -> io::Result<()> {
    if path.as_os_str() == "-" {
        return io::stdout().write_all(lines);
    }
    let mut out = BufWriter::new(File::create(path)?);
    if path.extension().is_some_and(|extension| extension == "zst") {
        let mut packed = zstd::stream::write::Encoder::new(out, 3)?;
        packed.write_all(lines)?;
        out = packed.finish()?;
    } else {
        out.write_all(lines)?;
    }
    out.flush()
}
