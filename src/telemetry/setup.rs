//! Where diagnostics go: `tracing` to stderr, as text or JSON lines.
//!
//! House rules: `warn` means that somebody should act; nothing is logged per chunk or per
//! hit; no secrets, no cookies.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Settings of the diagnostics.
#[derive(Clone, Debug)]
pub struct Options {
    /// A filter such as `info` or `brink::origin=debug,warn`. Default `info`; the
    /// environment variable `BRINK_LOG` wins.
    pub filter: String,
    /// JSON lines instead of text. Default `false`.
    pub json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { filter: "info".to_owned(), json: false }
    }
}

/// Installs the process-wide subscriber. Fails with the reason if the filter does not
/// parse or one is installed already.
pub fn install(options: &Options) -> Result<(), String> {
    let text = std::env::var("BRINK_LOG").unwrap_or_else(|_| options.filter.clone());
    let filter = EnvFilter::try_new(&text)
        .map_err(|error| format!("log filter {text:?} does not parse: {error}"))?;
    // Colours are for people: a log file or a journal gets none.
    let colours = std::io::stderr().is_terminal();
    let base = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    let installed = if options.json {
        base.json().flatten_event(true).try_init()
    } else {
        base.with_target(false).try_init()
    };
    installed.map_err(|error| format!("diagnostics are set up twice: {error}"))
}
