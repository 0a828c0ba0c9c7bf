//! `brink run`: a node from a file or from flags, until a signal ends it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::fail;
use super::signals::{Signals, Told};
use crate::base::Clock;
use crate::config::{self, Config, Outcome, RunFlags};
use crate::node::{Node, confine};
use crate::telemetry::setup;

const EXAMPLES: &str = "\
Examples:
  brink run --config /etc/brink/node.toml
  brink run --origin http://127.0.0.1:3000
  brink run --origin https://www.example.com --host www.example.com \\
            --listen 0.0.0.0:80 --listen-tls 0.0.0.0:443 --cert site.pem --key site.key

Signals: TERM and INT drain and stop, HUP reads the configuration again (a bad one changes
nothing), USR1 opens the log files again. With `handover` in the configuration's [node], starting
a second `brink run` with it takes over from the running one without a lost request.

Exit code: 0 stopped as asked, 1 could not start, 2 wrong usage.";

/// Start a node and serve until it is told to stop.
///
/// Prints one line `ready` on standard error when it accepts connections.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    /// The configuration file; every setting is explained in config/node.toml.
    #[arg(long, value_name = "FILE", required_unless_present = "origin")]
    config: Option<PathBuf>,
    /// Without a file: the server to stand in front of, such as http://127.0.0.1:3000.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    origin: Option<String>,
    /// The host to serve; any host when not given.
    #[arg(long, value_name = "NAME", requires = "origin")]
    host: Option<String>,
    /// Address for plain HTTP; 127.0.0.1:8080 when nothing else is given.
    #[arg(long, value_name = "ADDR", requires = "origin")]
    listen: Vec<String>,
    /// Address for HTTPS (HTTP/2 and HTTP/1.1).
    #[arg(long, value_name = "ADDR", requires = "origin")]
    listen_tls: Vec<String>,
    /// Certificate chain, PEM; a throw-away one is made when not given.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Private key, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Address of the admin API.
    #[arg(long, value_name = "ADDR", requires = "origin")]
    admin: Option<String>,
    /// File with the admin token; made on first start, readable by its owner alone.
    #[arg(long, value_name = "FILE", requires = "origin")]
    admin_token_file: Option<PathBuf>,
    /// Size of the memory tier, such as 512MiB.
    #[arg(long, value_name = "SIZE", requires = "origin")]
    memory: Option<String>,
    /// Directory of the disk tier.
    #[arg(long, value_name = "DIR", requires = "origin")]
    disk: Option<PathBuf>,
    /// Size of the disk tier, such as 100GiB.
    #[arg(long, value_name = "SIZE", requires = "disk")]
    disk_size: Option<String>,
}

impl Run {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        let outcome = self.load();
        let problems = outcome.render();
        let Some(config) = outcome.config else { return fail(format_args!("\n{problems}")) };
        eprint!("{problems}");
        if let Err(why) = setup::install(&config.log.diagnostics) {
            return fail(why);
        }
        // Before any thread: fences are inherited, and never lifted.
        if config.node.confine {
            let confined = confine::confine(&config);
            tracing::info!(files = confined.files, calls = confined.calls, "confined");
        }
        let node = match Node::start(&config, Clock::real()) {
            Ok(node) => node,
            Err(why) => return fail(why),
        };
        for (name, address) in node.addresses() {
            tracing::info!(%name, %address, "listening");
        }
        if let Some(address) = node.admin_address() {
            tracing::info!(name = %"admin", %address, "listening");
        }
        eprintln!("ready");
        self.until_stopped(&node);
        let (_, cut) = node.drain();
        if cut > 0 {
            tracing::warn!(connections = cut, "cut at the drain deadline");
        }
        ExitCode::SUCCESS
    }

    fn load(&self) -> Outcome {
        match &self.config {
            Some(file) => config::load(file),
            None => config::from_flags(&RunFlags {
                origin: self.origin.clone().unwrap_or_default(),
                host: self.host.clone(),
                listen: self.listen.clone(),
                listen_tls: self.listen_tls.clone(),
                cert: self.cert.clone(),
                key: self.key.clone(),
                admin: self.admin.clone(),
                admin_token_file: self.admin_token_file.clone(),
                memory: self.memory.clone(),
                disk: self.disk.clone(),
                disk_size: self.disk_size.clone(),
            }),
        }
    }

    fn until_stopped(&self, node: &Node) {
        node.background().block_on(async {
            let Some(mut signals) = Signals::new() else { return };
            loop {
                let told = tokio::select! {
                    told = signals.next() => told,
                    () = node.handed_over() => {
                        tracing::info!("a new process serves; draining");
                        return;
                    }
                };
                match told {
                    Told::Stop => return,
                    Told::ReopenLogs => node.shared().telemetry.access_log.reopen(),
                    Told::Reload => match self.load().into_result() {
                        Ok(config) => reload(node, &config),
                        Err(problems) => {
                            tracing::error!("configuration refused, nothing changed:\n{problems}");
                        }
                    },
                }
            }
        });
    }
}

fn reload(node: &Node, config: &Config) {
    match node.reload(config) {
        Ok(()) => tracing::info!("configuration taken over"),
        Err(why) => tracing::error!(%why, "configuration refused, nothing changed"),
    }
}
