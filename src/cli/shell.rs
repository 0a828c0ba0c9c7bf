//! `brink completions` and `brink man`: generated from the command line itself, so that
//! they cannot fall behind it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::{Cli, fail};

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brink completions bash > /etc/bash_completion.d/brink
  brink completions zsh  > ~/.zfunc/_brink
  brink completions fish > ~/.config/fish/completions/brink.fish")]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::whole(), "brink", &mut script);
        match io::stdout().write_all(&script) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(format_args!("cannot print the script: {error}")),
        }
    }
}

/// Write the manual pages, one for each verb.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  brink man /usr/local/share/man/man1 && man brink-run")]
pub struct Man {
    /// The directory to write to; made if missing.
    dir: PathBuf,
}

impl Man {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        match write_pages(&self.dir) {
            Ok(count) => {
                println!("{count} manual pages written to {}", self.dir.display());
                ExitCode::SUCCESS
            }
            Err(error) => fail(format_args!("cannot write to {}: {error}", self.dir.display())),
        }
    }
}

fn write_pages(dir: &Path) -> io::Result<usize> {
    std::fs::create_dir_all(dir)?;
    let mut command = Cli::whole();
    command.build();
    let mut count = 0;
    let mut open = vec![(String::from("brink"), command)];
    while let Some((name, command)) = open.pop() {
        let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help");
        open.extend(verbs.map(|verb| (format!("{name}-{}", verb.get_name()), verb.clone())));
        let mut page = Vec::new();
        clap_mangen::Man::new(command).title(name.clone()).render(&mut page)?;
        std::fs::write(dir.join(format!("{name}.1")), page)?;
        count += 1;
    }
    Ok(count)
}
