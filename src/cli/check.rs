//! `brink check`: reads a configuration as `run` would, and starts nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::config::{Outcome, Severity, load};

const EXAMPLES: &str = "\
Examples:
  brink check                      looks at ./node.toml
  brink check /etc/brink/node.toml
  brink check --json node.toml     for scripts: one JSON object

Exit code: 0 no errors (warnings allowed), 1 errors, 2 wrong usage.
Relative paths inside the file start at the file's directory.";

/// Say what is wrong with a configuration: file, line, column, what was expected.
///
/// Reads the whole file and reports all errors at once, checks settings against each other
/// (does the origin of a site exist, do certificate and key belong together) and warns
/// about settings that are allowed but unsafe. Starts nothing and opens no port.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    /// The configuration.
    #[arg(default_value = "node.toml")]
    file: PathBuf,
    /// Print one JSON object in place of text.
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let outcome = load(&self.file);
        if self.json {
            print_json(&outcome)
        } else {
            print_text(&outcome)
        }
        if outcome.errors() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn print_json(outcome: &Outcome) {
    let problems: Vec<_> = outcome.problems.iter().map(|p| p.json(&outcome.text)).collect();
    println!(
        "{:#}",
        serde_json::json!({
            "file": outcome.file,
            "ok": outcome.errors() == 0,
            "problems": problems,
        })
    );
}

fn print_text(outcome: &Outcome) {
    print!("{}", outcome.render());
    let warnings = outcome.problems.iter().filter(|p| p.severity == Severity::Warning).count();
    let verdict = match outcome.errors() {
        0 => "ok".to_owned(),
        1 => "1 error".to_owned(),
        errors => format!("{errors} errors"),
    };
    let also = match warnings {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        warnings => format!(", {warnings} warnings"),
    };
    println!("{}: {verdict}{also}", outcome.file);
}
