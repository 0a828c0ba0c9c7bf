//! `brink run` without a file: the few flags of a first try, as the same [`Config`].

use std::net::SocketAddr;
use std::path::PathBuf;

use super::front::default_name;
use super::place::address;
use super::reader::Sink;
use super::{CertificateFiles, Config, LogOptions, NodeOptions, TlsOptions};
use crate::admin;
use crate::base::ByteSize;
use crate::front::{ListenerOptions, Options};
use crate::origin::GroupOptions;
use crate::rules::site::{Policy, Site};
use crate::serve;
use crate::store::disk::{self, DirectoryOptions};
use crate::store::memory::MemoryOptions;
use crate::telemetry::access_log::{self, Target};

/// The flags as typed in. Addresses and sizes are still text, so that an error can say
/// what was expected in the same words as for a file.
#[derive(Clone, Debug, Default)]
pub struct RunFlags {
    /// `--origin URL`.
    pub origin: String,
    /// `--host NAME`; any host when not set.
    pub host: Option<String>,
    /// `--listen ADDR`, several times.
    pub listen: Vec<String>,
    /// `--listen-tls ADDR`, several times.
    pub listen_tls: Vec<String>,
    /// `--cert FILE`.
    pub cert: Option<PathBuf>,
    /// `--key FILE`.
    pub key: Option<PathBuf>,
    /// `--admin ADDR`.
    pub admin: Option<String>,
    /// `--admin-token-file FILE`.
    pub admin_token_file: Option<PathBuf>,
    /// `--memory SIZE`.
    pub memory: Option<String>,
    /// `--disk DIR`.
    pub disk: Option<PathBuf>,
    /// `--disk-size SIZE`.
    pub disk_size: Option<String>,
}

/// Where `brink run --origin URL` listens when nothing else is said.
const LISTEN: &str = "127.0.0.1:8080";

/// Where the admin token goes without `--admin-token-file`: the working directory.
const TOKEN_FILE: &str = "brink-admin-token";

/// Name of the origin of `--origin URL`.
const ORIGIN: &str = "origin";

/// Size of `--disk DIR` without `--disk-size`.
const DISK_SIZE: ByteSize = ByteSize::gib(10);

impl RunFlags {
    /// The configuration they stand for; what is wrong goes to `sink`.
    pub(super) fn config(&self, sink: &Sink) -> Config {
        let mut listen = Vec::new();
        let silent = self.listen.is_empty() && self.listen_tls.is_empty();
        let fallback = silent.then(|| LISTEN.to_owned());
        for text in self.listen.iter().chain(&fallback) {
            let number = listen.len() + 1;
            listen.extend(addr("--listen", text, sink).map(|at| listener(at, false, number)));
        }
        for text in &self.listen_tls {
            let number = listen.len() + 1;
            listen.extend(addr("--listen-tls", text, sink).map(|at| listener(at, true, number)));
        }
        let mut memory = MemoryOptions::default();
        if let Some(capacity) = self.memory.as_ref().and_then(|text| size("--memory", text, sink)) {
            memory.capacity = capacity;
        }
        Config {
            node: NodeOptions::default(),
            front: Options { listeners: listen, ..Options::default() },
            tls: self.tls(sink),
            trust: Vec::new(),
            memory,
            disk: disk::Options { directories: self.directories(sink), ..disk::Options::default() },
            admin: self.admin(sink),
            serve: serve::Options::default(),
            log: LogOptions {
                access: access_log::Options { target: Target::Stdout, ..Default::default() },
                ..LogOptions::default()
            },
            lab: Default::default(),
            origins: self.origins(sink),
            sites: vec![self.site()],
        }
    }

    fn admin(&self, sink: &Sink) -> Option<admin::Options> {
        let listen = addr("--admin", self.admin.as_ref()?, sink)?;
        let token_file = self.admin_token_file.clone().unwrap_or_else(|| TOKEN_FILE.into());
        Some(admin::Options {
            listen: admin::Address::Tcp(listen),
            token_file: Some(token_file),
            ..admin::Options::default()
        })
    }

    fn origins(&self, sink: &Sink) -> Vec<GroupOptions> {
        let origin = GroupOptions::single(ORIGIN, &self.origin);
        let origin = origin.map_err(|e| sink.error("--origin", format!("--origin: {e}"), None));
        origin.into_iter().collect()
    }

    fn site(&self) -> Site {
        let host = self.host.clone().unwrap_or_else(|| "*".to_owned()).to_lowercase();
        Site {
            name: if host == "*" { "default".to_owned() } else { host.clone() },
            hosts: vec![host],
            origin: ORIGIN.to_owned(),
            host_header: None,
            redirect_https: None,
            rules: Vec::new(),
            policy: Policy::default(),
        }
    }

    fn tls(&self, sink: &Sink) -> TlsOptions {
        let certificates = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                vec![CertificateFiles { cert: cert.clone(), key: key.clone() }]
            }
            (None, None) => Vec::new(),
            _ => {
                sink.error("--cert", "--cert and --key must be given together", None);
                Vec::new()
            }
        };
        let mut throw_away = Vec::new();
        if certificates.is_empty() && !self.listen_tls.is_empty() {
            throw_away = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
            throw_away.extend(self.host.clone().filter(|host| host != "localhost"));
        }
        TlsOptions { certificates, throw_away }
    }

    fn directories(&self, sink: &Sink) -> Vec<DirectoryOptions> {
        let Some(path) = self.disk.clone() else {
            if self.disk_size.is_some() {
                sink.error("--disk-size", "--disk-size needs --disk DIR", None);
            }
            return Vec::new();
        };
        let asked = self.disk_size.as_ref().map(|text| size("--disk-size", text, sink));
        vec![DirectoryOptions { path, capacity: asked.flatten().unwrap_or(DISK_SIZE) }]
    }
}

fn listener(address: SocketAddr, tls: bool, number: usize) -> ListenerOptions {
    let name = default_name(tls, number).into();
    ListenerOptions { name, address, tls, proxy_protocol: Vec::new() }
}

fn addr(flag: &str, text: &str, sink: &Sink) -> Option<SocketAddr> {
    address(text).map_err(|expected| sink.error(flag, format!("{flag}: {expected}"), None)).ok()
}

fn size(flag: &str, text: &str, sink: &Sink) -> Option<ByteSize> {
    text.parse().map_err(|expected| sink.error(flag, format!("{flag}: {expected}"), None)).ok()
}
