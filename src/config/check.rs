//! Cross-checks: what is wrong although every single setting is well-formed.

use std::collections::HashMap;

use super::Config;
use super::problem::nearest;
use super::reader::Sink;
use crate::admin;
use crate::base::ByteSize;
use crate::front::{Certs, CertsError};
use crate::rules::site::Policy;

/// Reports errors and warnings about `config` as a whole.
pub fn check(config: &Config, sink: &Sink) {
    presence(config, sink);
    origins(config, sink);
    sites(config, sink);
    admin(config, sink);
    tls(config, sink);
    sizes(config, sink);
}

fn presence(config: &Config, sink: &Sink) {
    if config.front.listeners.is_empty() {
        sink.error("listen", "nothing to listen on: add [[listen]] with addr = \"[::]:80\"", None);
    }
    if config.sites.is_empty() {
        sink.error("site", "no [[site]]: nothing would be served", None);
    }
    if !token(&config.node.name) {
        let message = format!("name: expected letters, digits and -._, got {:?}", config.node.name);
        sink.error("node.name", message, None);
    }
}

/// An RFC 9110 5.6.2 token short enough for a field, as `Via` and `Cache-Status` need it.
fn token(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(fits)
}

fn origins(config: &Config, sink: &Sink) {
    let mut names = HashMap::new();
    for (index, origin) in config.origins.iter().enumerate() {
        let path = format!("origin[{index}]");
        if let Some(first) = names.insert(&origin.name, index) {
            let message =
                format!("origin {:?} is there twice (also [[origin]] {})", origin.name, first + 1);
            sink.error(&format!("{path}.name"), message, None);
        }
        if origin.directory.is_some() && !origin.servers.is_empty() {
            let message = format!("origin {:?} has servers and a directory", origin.name);
            sink.error(&format!("{path}.directory"), message, Some("keep one of them".to_owned()));
        }
        let empty = origin.servers.is_empty() && origin.directory.is_none();
        if empty && !sink.has_error_below(&path) {
            let message = format!("origin {:?} has no servers", origin.name);
            sink.error(&path, message, Some("servers = [\"https://10.0.0.5:8443\"]".to_owned()));
        }
        if !origin.tls.verify {
            let message = "verify = false: anybody on the way can pretend to be the origin";
            let help = "name the origin's own root in ca_file instead".to_owned();
            sink.warn(&format!("{path}.tls.verify"), message, Some(help));
        }
    }
}

fn sites(config: &Config, sink: &Sink) {
    let names: Vec<&str> = config.origins.iter().map(|origin| origin.name.as_str()).collect();
    let mut hosts = HashMap::new();
    for (index, site) in config.sites.iter().enumerate() {
        let path = format!("site[{index}]");
        if !names.contains(&site.origin.as_str()) && !sink.has_error_below("--origin") {
            let help = nearest(&site.origin, names.iter().copied())
                .map(|near| format!("did you mean \"{near}\"?"))
                .or_else(|| Some(format!("defined origins: {}", names.join(", "))));
            let message = match site.origin.as_str() {
                "" => format!("site {:?} names no origin", site.name),
                other => format!("site {:?}: there is no origin {other:?}", site.name),
            };
            sink.error(&format!("{path}.origin"), message, help);
        }
        for host in &site.hosts {
            if let Some(other) = hosts.insert(host, index) {
                let message =
                    format!("host {host:?} is served twice (also by [[site]] {})", other + 1);
                sink.error(&format!("{path}.hosts"), message, None);
            }
            if !host_is_valid(host) {
                let message = format!(
                    "hosts: expected \"example.com\", \"*.example.com\" or \"*\", got {host:?}"
                );
                sink.error(&format!("{path}.hosts"), message, None);
            }
        }
        policies(config, index, sink);
    }
}

fn host_is_valid(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    host == "*" || (!name.is_empty() && name.len() <= 253 && name.chars().all(fits))
}

fn policies(config: &Config, index: usize, sink: &Sink) {
    let Some(site) = config.sites.get(index) else { return };
    let path = format!("site[{index}]");
    let rules = site.rules.iter().enumerate();
    let all = std::iter::once((path.clone(), &site.policy))
        .chain(rules.map(|(rule, one)| (format!("{path}.rule[{rule}]"), &one.policy)));
    for (path, policy) in all {
        let rule = path.contains("rule");
        let said = |one: fn(&Policy) -> bool| one(policy) && !(rule && one(&site.policy));
        if said(|policy| policy.store_set_cookie) {
            let message = "store_set_cookie = true: an answer made for one client goes to all";
            let help = "the Set-Cookie field is dropped, but its body may be personal".to_owned();
            sink.warn(&format!("{path}.store_set_cookie"), message, Some(help));
        }
        if said(|policy| policy.replay_set_cookie) {
            let message = "replay_set_cookie = true: one client's cookie is given to everybody";
            let help = "only right where the cookie is the same for all".to_owned();
            sink.warn(&format!("{path}.replay_set_cookie"), message, Some(help));
        }
        let asked = policy.object_max != Policy::default().object_max;
        let memory = config.memory.capacity;
        if asked && policy.object_max > memory.bytes() && config.disk.directories.is_empty() {
            let message = format!(
                "object_max = {} is above the whole memory tier ({memory}); there is no disk",
                ByteSize(policy.object_max)
            );
            sink.warn(&format!("{path}.object_max"), message, None);
        }
    }
}

/// Sizes against the machine, and addresses and directories given twice.
fn sizes(config: &Config, sink: &Sink) {
    let capacity = config.memory.capacity;
    let machine = machine_memory().unwrap_or(ByteSize(u64::MAX));
    if capacity > machine {
        let message = format!("capacity = {capacity}, but this machine has {machine} of memory");
        sink.error("memory.capacity", message, None);
    } else if capacity.bytes() > machine.bytes() / 10 * 9 {
        let message = format!("capacity = {capacity} leaves little of this machine's {machine}");
        let help = "connections and answers under way need room too".to_owned();
        sink.warn("memory.capacity", message, Some(help));
    }
    let listeners = &config.front.listeners;
    for (index, one) in listeners.iter().enumerate() {
        let before = listeners.iter().take(index).any(|other| other.address == one.address);
        if before && one.address.port() != 0 {
            let message = format!("{} is listened on twice", one.address);
            sink.error(&format!("listen[{index}].addr"), message, None);
        }
    }
    let directories = &config.disk.directories;
    for (index, one) in directories.iter().enumerate() {
        if directories.iter().take(index).any(|other| other.path == one.path) {
            let message = format!("directory {} is used twice", one.path.display());
            sink.error(&format!("disk.directory[{index}].path"), message, None);
        }
    }
}

/// The machine's memory as the kernel tells it.
fn machine_memory() -> Option<ByteSize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024).map(ByteSize)
}

fn admin(config: &Config, sink: &Sink) {
    let Some(options) = &config.admin else { return };
    let addr = match &options.listen {
        admin::Address::Tcp(addr) => *addr,
        admin::Address::Unix(_) if options.tls.is_some() => {
            return sink.error("admin.cert", "there is no TLS on a Unix socket".to_owned(), None);
        }
        admin::Address::Unix(_) => return,
    };
    if let Some(Err(error)) = options.tls.as_ref().map(admin::TlsFiles::check) {
        sink.error("admin.cert", error.to_string(), None);
    }
    let verified = options.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if !verified && !addr.ip().is_loopback() {
        let message = format!("the admin API listens on {addr}, which others can reach");
        let help =
            "prefer 127.0.0.1, or cert, key and client_ca; its token alone protects it".to_owned();
        sink.warn("admin.addr", message, Some(help));
    }
    if addr.port() != 0 && config.front.listeners.iter().any(|one| one.address == addr) {
        sink.error("admin.addr", format!("{addr} is a client listener already"), None);
    }
}

fn tls(config: &Config, sink: &Sink) {
    let unusable = |error: CertsError| {
        let certificates = config.tls.certificates.iter();
        let shown = error.to_string();
        let culprit = certificates.clone().position(|one| {
            [&one.cert, &one.key].iter().any(|file| shown.starts_with(&*file.to_string_lossy()))
        });
        let path = culprit.map_or("tls".to_owned(), |index| format!("tls.certificate[{index}]"));
        sink.error(&path, shown, None);
    };
    let wanted = config.front.listeners.iter().position(|one| one.tls);
    if !config.tls.certificates.is_empty() {
        let loaded = config.tls.sources().and_then(Certs::load);
        _ = loaded.map_err(unusable);
    } else if let (Some(index), true) = (wanted, config.tls.throw_away.is_empty()) {
        sink.error(
            &format!("listen[{index}].tls"),
            "a TLS listener, but no certificate",
            Some("add [[tls.certificate]] with cert and key".to_owned()),
        );
    }
}
