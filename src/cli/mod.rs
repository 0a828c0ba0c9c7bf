//! Level 7: the verbs of the command line, one file each.
//!
//! A verb is a struct of arguments with a `run` that gives the exit code: 0 done, 1 it did
//! not work, 2 it was asked the wrong way (clap's own code). Help texts teach: each verb
//! says what it is for and shows lines that can be typed in.

mod admin_client;
mod admin_tls;
mod cache;
mod check;
mod demo;
mod explain;
mod lab;
mod log;
mod ls;
mod origin;
mod purge;
mod run;
mod shell;
mod signals;
mod stats;
mod top;
mod trace;
mod warm;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Exit code when the request itself was wrong.
pub const USAGE: u8 = 2;

const EXAMPLES: &str = "\
First steps:
  brink demo                                   a node with its own demo origin, and things to try
  brink run --origin http://127.0.0.1:3000     cache in front of a server, plain HTTP on port 8080
  brink check node.toml                        what is wrong with a configuration, and where

Every verb explains itself: brink help VERB";

/// An edge caching CDN node: TLS, HTTP/1.1 and HTTP/2, a memory and a disk cache, instant
/// purge, and tools that say why something was or was not a hit.
#[derive(Debug, Parser)]
#[command(name = "brink", version, after_help = EXAMPLES, arg_required_else_help = true)]
#[command(max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Demo),
    Run(run::Run),
    Check(check::Check),
    Cache(cache::Cache),
    Purge(purge::Purge),
    Stats(stats::Stats),
    Explain(explain::Explain),
    Ls(ls::Ls),
    Top(top::Top),
    Warm(warm::Warm),
    Log(log::Log),
    Origin(origin::Origin),
    Lab(lab::Lab),
    Trace(trace::Trace),
    Completions(shell::Completions),
    Man(shell::Man),
}

impl Cli {
    /// The whole command, for completions and man pages.
    fn whole() -> clap::Command {
        Cli::command()
    }

    fn run(self) -> ExitCode {
        match self.verb {
            Verb::Demo(verb) => verb.run(),
            Verb::Run(verb) => verb.run(),
            Verb::Check(verb) => verb.run(),
            Verb::Cache(verb) => verb.run(),
            Verb::Purge(verb) => verb.run(),
            Verb::Stats(verb) => verb.run(),
            Verb::Explain(verb) => verb.run(),
            Verb::Ls(verb) => verb.run(),
            Verb::Top(verb) => verb.run(),
            Verb::Warm(verb) => verb.run(),
            Verb::Log(verb) => verb.run(),
            Verb::Origin(verb) => verb.run(),
            Verb::Lab(verb) => verb.run(),
            Verb::Trace(verb) => verb.run(),
            Verb::Completions(verb) => verb.run(),
            Verb::Man(verb) => verb.run(),
        }
    }
}

/// Runs the verb named on the command line.
pub fn main() -> ExitCode {
    end_quietly_with_the_pipe();
    Cli::parse().run()
}

/// A reader that has seen enough (`brink stats | head`) ends the verb, not with a panic.
fn end_quietly_with_the_pipe() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>();
        if text.is_some_and(|text| text.starts_with("failed printing to stdout")) {
            std::process::exit(1);
        }
        others(panic);
    }));
}

/// Says what went wrong on standard error, and that it did.
fn fail(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("brink: {message}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::whole().debug_assert();
    }

    #[test]
    fn where_the_node_is_may_stand_anywhere_on_the_line() {
        for line in [
            "brink purge url http://h/ --json --admin 127.0.0.1:1",
            "brink purge --json --admin-token-file t tag a b --soft",
            "brink origin list --json",
            "brink stats --admin unix:/run/brink.sock",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }

    #[test]
    fn run_wants_a_file_or_an_origin_and_not_both() {
        let parse = |words: &str| Cli::try_parse_from(words.split(' '));
        assert!(parse("brink run").is_err());
        assert!(parse("brink run --config a --origin http://b").is_err());
        assert!(parse("brink run --config a").is_ok());
        assert!(parse("brink run --origin http://b --listen c --listen d --disk e").is_ok());
    }
}
