//! Level 5: the configuration file and the flags of `brink run`, as one typed result.
//!
//! ```text
//! node.toml --toml--> tables with spans --reader--> Config --check--> Config + problems
//! flags ------------------------------- flags -----^
//! ```
//!
//! Each module owns its `Options` and their defaults; this one only names them in TOML,
//! checks them against each other and against the machine, and says what is wrong with
//! file, line and column. Nothing below this level parses TOML.

mod check;
mod flags;
mod front;
mod origin;
mod place;
mod problem;
mod reader;
mod schema;
mod site;
mod store;
mod value;

pub use flags::RunFlags;
pub use problem::{Place, Problem, Severity};
pub use reader::Setting;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::admin;
use crate::front as front_options;
use crate::front::{CertSource, CertsError, ThrowAway};
use crate::origin::GroupOptions;
use crate::rules::forward::Announce;
use crate::rules::site::Site;
use crate::serve;
use crate::store::disk;
use crate::store::memory::MemoryOptions;
use crate::telemetry::{access_log, sample, setup};

/// Everything a node is built from. Immutable; a reload builds another one.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node itself.
    pub node: NodeOptions,
    /// Listeners, and what clients may make the node hold.
    pub front: front_options::Options,
    /// Certificates.
    pub tls: TlsOptions,
    /// Networks whose `X-Forwarded-*` and `Forwarded` fields are believed.
    pub trust: Vec<IpNet>,
    /// The memory tier.
    pub memory: MemoryOptions,
    /// The disk tier; none without a directory.
    pub disk: disk::Options,
    /// The admin API, if it is wanted.
    pub admin: Option<admin::Options>,
    /// The journey of an exchange; `object_max` and `fills_max` follow from the memory tier.
    pub serve: serve::Options,
    /// Access log and diagnostics.
    pub log: LogOptions,
    /// The sample of requests that the lab's advice comes from.
    pub lab: sample::Options,
    /// Origin groups; names are unique.
    pub origins: Vec<GroupOptions>,
    /// Sites.
    pub sites: Vec<Site>,
}

/// `[node]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// Name in `Via`, `Cache-Status`, `CDN-Loop` and the metrics (an RFC 9110 token).
    pub name: String,
    /// How long a graceful stop may take before connections are cut.
    pub drain: Duration,
    /// Which fields tell origins about clients. Default: `X-Forwarded-*`.
    pub forwarded: Announce,
    /// Socket file at which a new process takes over from this one. Default none.
    pub handover: Option<PathBuf>,
    /// Whether the process gives up what it never needs (landlock, seccomp). Default yes.
    pub confine: bool,
}

impl Default for NodeOptions {
    fn default() -> Self {
        let (name, drain) = ("brink".to_owned(), Duration::from_secs(30));
        let forwarded = Announce::default();
        NodeOptions { name, drain, forwarded, handover: None, confine: true }
    }
}

/// `[tls]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Certificates, chosen by the names in them; the first is the default.
    pub certificates: Vec<CertificateFiles>,
    /// Without any certificate: names for a throw-away one made at start. Empty: none.
    pub throw_away: Vec<String>,
}

impl TlsOptions {
    /// Where the certificates come from, for [`crate::front::Certs::load`]; makes the
    /// throw-away one.
    /// Empty if there is neither a file nor a name.
    pub fn sources(&self) -> Result<Vec<CertSource>, CertsError> {
        if self.certificates.is_empty() && !self.throw_away.is_empty() {
            return Ok(vec![CertSource::ThrowAway(ThrowAway::new(&self.throw_away)?)]);
        }
        let files = self.certificates.iter();
        Ok(files
            .map(|one| CertSource::Files { cert: one.cert.clone(), key: one.key.clone() })
            .collect())
    }
}

/// `[[tls.certificate]]`: a chain and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Chain, leaf first.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// `[log]`.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// One line an exchange.
    pub access: access_log::Options,
    /// Everything else the node says, on standard error.
    pub diagnostics: setup::Options,
}

/// A configuration, if there are no errors, and all that was found.
#[derive(Debug)]
pub struct Outcome {
    /// What to start with; `None` if there is an error.
    pub config: Option<Config>,
    /// Errors and warnings in the order of the file.
    pub problems: Vec<Problem>,
    /// Name of the file, for messages; empty for flags.
    pub file: String,
    /// Its text.
    pub text: String,
}

impl Outcome {
    /// How many problems are errors.
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// All problems as a terminal shows them.
    pub fn render(&self) -> String {
        let shown: Vec<_> =
            self.problems.iter().map(|p| p.render(&self.file, &self.text)).collect();
        shown.join("\n")
    }

    /// The configuration, or the rendered problems.
    pub fn into_result(self) -> Result<Config, String> {
        let shown = self.render();
        self.config.ok_or(shown)
    }
}

/// Reads and checks a file. Relative paths in it start at its directory.
pub fn load(path: &Path) -> Outcome {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, &file, path.parent().unwrap_or(Path::new("."))),
        Err(error) => {
            let sink = reader::Sink::default();
            sink.error("", format!("cannot read the configuration: {error}"), None);
            Outcome { config: None, problems: sink.problems(), file, text: String::new() }
        }
    }
}

/// Reads and checks a text.
pub fn parse(text: &str, file: &str, base: &Path) -> Outcome {
    let sink = reader::Sink::default();
    let config = schema::read(text, base, &sink);
    if let Some(config) = &config {
        check::check(config, &sink);
    }
    finish(config, sink, file, text)
}

/// Makes and checks a configuration from the flags of `brink run`.
pub fn from_flags(flags: &RunFlags) -> Outcome {
    let sink = reader::Sink::default();
    let config = flags.config(&sink);
    check::check(&config, &sink);
    finish(Some(config), sink, "", "")
}

/// Every setting there is, with its default.
pub fn settings() -> Vec<Setting> {
    let sink = reader::Sink::describing();
    _ = schema::read("", Path::new("."), &sink);
    sink.settings()
}

fn finish(config: Option<Config>, sink: reader::Sink, file: &str, text: &str) -> Outcome {
    let outcome =
        Outcome { config, problems: sink.problems(), file: file.to_owned(), text: text.to_owned() };
    let sound = outcome.errors() == 0;
    Outcome { config: outcome.config.filter(|_| sound), ..outcome }
}

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;
