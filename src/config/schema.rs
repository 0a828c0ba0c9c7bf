//! The document: which section fills which options. One function a section; the names of
//! sections and settings are those of the modules and their fields.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeTable;

use super::front::front as front_options;
use super::origin::origin;
use super::place::{address, file, networks};
use super::problem::{Problem, Severity};
use super::reader::{Sink, Table};
use super::site::sites;
use super::store::{disk, memory};
use super::{CertificateFiles, Config, LogOptions, NodeOptions, TlsOptions};
use crate::admin;
use crate::front;
use crate::rules::forward::Announce;
use crate::serve;
use crate::telemetry::access_log::{self, Format, Target};
use crate::telemetry::{sample, setup};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Reads `text`; problems go to `sink`. `None` if the text is not TOML.
pub fn read(text: &str, base: &Path, sink: &Sink) -> Option<Config> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        sink.push(Problem {
            severity: Severity::Error,
            path: String::new(),
            // Where nothing is pointed at (nested too deeply), it is somewhere before the end.
            span: error.span().or(Some(text.len()..text.len())),
            message: format!("not TOML: {}", error.message().replace('\n', ", ")),
            help: None,
        });
    }
    if !errors.is_empty() {
        return None;
    }
    let document = document.into_inner();
    let mut root = Table::root(sink, &document);
    let (node, threads, backlog) = node(root.table("node"), base);
    let config = Config {
        front: front_options(&mut root, threads, backlog),
        node,
        tls: tls(root.table("tls"), base),
        trust: trust(root.table("trust")),
        memory: memory(root.table("memory")),
        disk: disk(root.table("disk"), base),
        admin: admin(root.table("admin"), base),
        serve: serve_options(root.table("serve")),
        log: log(root.table("log"), base),
        lab: lab(root.table("lab")),
        origins: root.tables("origin").into_iter().map(|table| origin(table, base)).collect(),
        sites: sites(&mut root),
    };
    root.end();
    Some(config)
}

/// The node, its network threads and the backlog of its listeners.
fn node(mut table: Table<'_>, base: &Path) -> (NodeOptions, usize, u32) {
    let from = NodeOptions::default();
    let front = front::Options::default();
    let words = [
        ("x-forwarded", Announce::XForwarded),
        ("forwarded", Announce::Forwarded),
        ("both", Announce::Both),
        ("none", Announce::Nothing),
    ];
    let options = NodeOptions {
        name: table.text("name", &from.name),
        drain: table.time("drain", from.drain, HOUR),
        forwarded: table.word("forwarded", "x-forwarded", &words, from.forwarded),
        handover: file(&mut table, "handover", base),
        confine: table.flag("confine", from.confine),
    };
    let threads = table.number("threads", front.threads as u64, 0..1_025) as usize;
    let backlog = table.number("backlog", front.backlog.into(), 1..65_536) as u32;
    table.end();
    (options, threads, backlog)
}

fn tls(mut table: Table<'_>, base: &Path) -> TlsOptions {
    let certificates = table.tables("certificate");
    let options = TlsOptions {
        certificates: certificates.into_iter().filter_map(|one| certificate(one, base)).collect(),
        throw_away: table.list("throw_away", &[]),
    };
    table.end();
    options
}

fn certificate(mut table: Table<'_>, base: &Path) -> Option<CertificateFiles> {
    let cert = file(&mut table, "cert", base);
    let key = file(&mut table, "key", base);
    if cert.is_none() || key.is_none() {
        table.error("cert", "a certificate needs both files: cert = \"...\" and key = \"...\"");
    }
    table.end();
    Some(CertificateFiles { cert: cert?, key: key? })
}

fn trust(mut table: Table<'_>) -> Vec<IpNet> {
    let networks = networks(&mut table, "networks");
    table.end();
    networks
}

/// The admin API; `None` without an address.
fn admin(mut table: Table<'_>, base: &Path) -> Option<admin::Options> {
    let from = admin::Options::default();
    let listen = table.parsed_opt("addr", |text| match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => Ok(admin::Address::Unix(PathBuf::from(path))),
        Some(_) => Err(format!("expected an absolute path after unix:, got {text:?}")),
        None => address(text).map(admin::Address::Tcp),
    });
    let mut rate = |key, from: u32| table.number(key, from.into(), 1..1_000_001) as u32;
    let reads_per_second = rate("reads_per_second", from.reads_per_second);
    let changes_per_second = rate("changes_per_second", from.changes_per_second);
    let failures_per_minute = rate("failures_per_minute", from.failures_per_minute);
    let tls = admin_tls(&mut table, base);
    let options = admin::Options {
        listen: listen.clone().unwrap_or(from.listen),
        token_file: Some(base.join(table.text("token_file", "admin-token"))),
        hosts: table.list("hosts", &from.hosts),
        tls,
        purge_networks: networks(&mut table, "purge_networks"),
        audit_file: file(&mut table, "audit_file", base),
        reads_per_second,
        changes_per_second,
        failures_per_minute,
    };
    table.end();
    listen.map(|_| options)
}

fn admin_tls(table: &mut Table<'_>, base: &Path) -> Option<admin::TlsFiles> {
    let (cert, key) = (file(table, "cert", base), file(table, "key", base));
    let client_ca = file(table, "client_ca", base);
    match (cert, key) {
        (Some(cert), Some(key)) => Some(admin::TlsFiles { cert, key, client_ca }),
        (None, None) if client_ca.is_none() => None,
        _ => {
            table.error("cert", "admin: TLS needs both cert and key");
            None
        }
    }
}

fn serve_options(mut table: Table<'_>) -> serve::Options {
    let from = serve::Options::default();
    let options = serve::Options {
        uncacheable_memo: table.time("uncacheable_memo", from.uncacheable_memo, HOUR),
        follow_wait: table.time("follow_wait", from.follow_wait, HOUR),
        stale_wait: table.time("stale_wait", from.stale_wait, HOUR),
        ..from
    };
    table.end();
    options
}

fn log(mut table: Table<'_>, base: &Path) -> LogOptions {
    let from = access_log::Options::default();
    let formats = [("json", Format::Json), ("combined", Format::Combined)];
    let diagnostics = setup::Options::default();
    let target = table.text("access", "stdout");
    if !matches!(target.as_str(), "off" | "stdout") && !target.contains('/') {
        table
            .error("access", "access: expected \"off\", \"stdout\" or a file with a / in its path");
    }
    let options = LogOptions {
        access: access_log::Options {
            target: match target.as_str() {
                "off" => Target::Off,
                "stdout" => Target::Stdout,
                file => Target::File(base.join(file)),
            },
            format: table.word("format", "json", &formats, from.format),
            buffer_max: table.size("buffer_max", from.buffer_max as u64, 65_536..1 << 30) as usize,
            flush_every: table.time("flush_every", from.flush_every, MINUTE),
        },
        diagnostics: setup::Options {
            filter: table.text("level", &diagnostics.filter),
            json: table.flag("level_json", diagnostics.json),
        },
    };
    table.end();
    options
}

/// The sample that `brink lab advise` computes with.
fn lab(mut table: Table<'_>) -> sample::Options {
    let from = sample::Options::default();
    let options = sample::Options {
        keep: table.flag("sample", from.keep),
        span: table.time("span", from.span, 31 * 24 * HOUR),
    };
    table.end();
    options
}
