//! `[[origin]]`: groups of servers, how they are chosen, watched and tried again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::place::{address, file};
use super::reader::{Table, YEAR};
use super::value::{number, text};
use crate::origin::{
    Address, Balance, CheckOptions, DirectoryOptions, DiscoveryOptions, EjectOptions, GroupOptions,
    Http2, Panic, PoolOptions, RetryOptions, ServerOptions, StickyOptions, Symlinks, Timeouts,
    TlsOptions,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// Upper end of counts of connections, requests and tries.
const MANY: u64 = 1_000_001;

/// Reads one `[[origin]]`.
pub fn origin(mut table: Table<'_>, base: &Path) -> GroupOptions {
    let from = GroupOptions::default();
    let name = table.text_opt("name");
    if name.is_none() {
        table.error("name", "an origin needs a name that sites refer to: name = \"app\"");
    }
    let protocols = [("auto", Http2::Auto), ("never", Http2::Never), ("only", Http2::Only)];
    let panics = [("try_all", Panic::TryAll), ("refuse", Panic::Refuse)];
    let check = table.has("check");
    let checked = check_options(table.table("check"));
    let options = GroupOptions {
        name: name.unwrap_or_default(),
        servers: servers(&mut table),
        directory: directory(&mut table, base),
        balance: balance(&mut table),
        timeouts: timeouts(table.table("timeouts")),
        pool: pool(table.table("pool")),
        tls: tls(table.table("tls"), base),
        http2: table.word("http2", "auto", &protocols, from.http2),
        proxy_protocol: table.flag("proxy_protocol", from.proxy_protocol),
        check: check.then_some(checked),
        eject: eject(table.table("eject")),
        retry: retry(table.table("retry")),
        slow_start: table.time("slow_start", from.slow_start, HOUR),
        panic: table.word("panic", "try_all", &panics, from.panic),
        discovery: discovery(table.table("discovery")),
    };
    table.end();
    options
}

/// `[origin.directory]`: files served instead of asking servers.
fn directory(table: &mut Table<'_>, base: &Path) -> Option<DirectoryOptions> {
    let given = table.has("directory");
    let mut table = table.table("directory");
    let root = file(&mut table, "root", base);
    if given && root.is_none() {
        table.error("root", "a directory needs its root = \"/var/www\"");
    }
    let from = DirectoryOptions::new(root.clone().unwrap_or_default());
    let links = [
        ("never", Symlinks::Never),
        ("inside", Symlinks::Inside),
        ("anywhere", Symlinks::Anywhere),
    ];
    let options = DirectoryOptions {
        index: table.list("index", &from.index),
        symlinks: table.word("symlinks", "inside", &links, from.symlinks),
        precompressed: table.flag("precompressed", from.precompressed),
        cache_control: table.text_opt("cache_control"),
        root: from.root,
    };
    table.end();
    root.map(|_| options)
}

/// `servers = [URL, ...]` for plain ones, then `[[origin.server]]` for those that need more.
fn servers(table: &mut Table<'_>) -> Vec<ServerOptions> {
    let mut out = Vec::new();
    for url in table.list("servers", &[]) {
        match url.parse::<Address>() {
            Ok(address) => out.push(ServerOptions::new(address)),
            Err(expected) => table.error("servers", format!("servers: {expected}")),
        }
    }
    for mut one in table.tables("server") {
        let missing = !one.has("url");
        let address = one.parsed_opt("url", str::parse::<Address>);
        if missing {
            one.error("url", "a server needs its url = \"https://10.0.0.5:8443\"");
        }
        let name = one.text_opt("name");
        let weight = one.number("weight", 1, 0..1_001) as u32;
        let priority = one.number("priority", 0, 0..101) as u32;
        let host = one.text_opt("host");
        one.end();
        let server = |address| ServerOptions { name, address, weight, priority, host };
        out.extend(address.map(server));
    }
    out
}

fn balance(table: &mut Table<'_>) -> Balance {
    let cookie = table.text("sticky_cookie", "");
    let sticky = StickyOptions {
        cookie: cookie.clone(),
        set: table.flag("sticky_set", true),
        ttl: table.time_opt("sticky_ttl", YEAR),
    };
    if !cookie.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        let expected = "expected letters, digits, dots, - and _";
        table.error("sticky_cookie", format!("sticky_cookie: {expected}, got {cookie:?}"));
    }
    let header = table.parsed_opt("hash_header", |text| {
        let expected = |_| format!("expected the name of a field, got {text:?}");
        text.parse::<http::HeaderName>().map_err(expected)
    });
    let words = [
        ("least_loaded", Balance::LeastLoaded),
        ("round_robin", Balance::RoundRobin),
        ("consistent_hash", Balance::ConsistentHash { header: header.clone() }),
        ("sticky", Balance::Sticky(sticky)),
    ];
    let balance = table.word("balance", "least_loaded", &words, Balance::default());
    let sticky = matches!(balance, Balance::Sticky(_));
    if header.is_some() && !matches!(balance, Balance::ConsistentHash { .. }) {
        table.error("hash_header", "hash_header needs balance = \"consistent_hash\"");
    }
    if sticky == cookie.is_empty() {
        table.error("balance", "balance = \"sticky\" and sticky_cookie = \"NAME\" go together");
    }
    balance
}

fn timeouts(mut table: Table<'_>) -> Timeouts {
    let from = Timeouts::default();
    let options = Timeouts {
        connect: table.time("connect", from.connect, HOUR),
        first_byte: table.time("first_byte", from.first_byte, HOUR),
        head: table.time("head", from.head, HOUR),
        between_bytes: table.time("between_bytes", from.between_bytes, HOUR),
        total: table.time_opt("total", DAY),
    };
    table.end();
    options
}

fn pool(mut table: Table<'_>) -> PoolOptions {
    let from = PoolOptions::default();
    let mut count = |key, from: usize, least| table.number(key, from as u64, least..MANY) as usize;
    let in_flight_max = count("in_flight_max", from.in_flight_max, 1);
    let queue_max = count("queue_max", from.queue_max, 0);
    let idle_max = count("idle_max", from.idle_max, 0);
    let streams_max = count("streams_max", from.streams_max, 1);
    let warm = count("warm", from.warm, 0);
    let options = PoolOptions {
        in_flight_max,
        queue_max,
        queue_timeout: table.time("queue_timeout", from.queue_timeout, HOUR),
        idle_max,
        idle_timeout: table.time("idle_timeout", from.idle_timeout, HOUR),
        rest_once_max: table.time("rest_once_max", from.rest_once_max, HOUR),
        age_max: table.time("age_max", from.age_max, DAY),
        streams_max,
        warm,
    };
    if options.warm > options.idle_max {
        table.error("warm", "warm: expected no more than idle_max, which is what is kept");
    }
    table.end();
    options
}

fn tls(mut table: Table<'_>, base: &Path) -> TlsOptions {
    let from = TlsOptions::default();
    let cert = file(&mut table, "client_cert", base);
    let key = file(&mut table, "client_key", base);
    let client = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => {
            table.error("client_cert", "client_cert and client_key go together");
            None
        }
    };
    let options = TlsOptions {
        sni: table.text_opt("sni"),
        ca_file: file(&mut table, "ca_file", base),
        client,
        verify: table.flag("verify", from.verify),
    };
    let files: [Option<&PathBuf>; 3] = [
        options.ca_file.as_ref(),
        options.client.as_ref().map(|(cert, _)| cert),
        options.client.as_ref().map(|(_, key)| key),
    ];
    for (key, path) in ["ca_file", "client_cert", "client_key"].iter().zip(files) {
        if let Some(Err(error)) = path.map(std::fs::File::open) {
            table.error(key, format!("{key}: cannot read the file: {error}"));
        }
    }
    table.end();
    options
}

fn check_options(mut table: Table<'_>) -> CheckOptions {
    let from = CheckOptions::default();
    let shown = format!("[{}, {}]", from.status.start(), from.status.end());
    let status = table.read("status", Some(shown), |value| {
        let two = |items: &[u64]| match items {
            [first, last] if first <= last => Some(*first as u16..=*last as u16),
            _ => None,
        };
        statuses(value).ok().and_then(|items| two(&items)).ok_or_else(|| {
            "expected the first and the last good status such as [200, 399]".to_owned()
        })
    });
    let options = CheckOptions {
        path: table.text("path", &from.path),
        host: table.text_opt("host"),
        status: status.unwrap_or(from.status),
        body: table.text_opt("body"),
        every: table.time("every", from.every, HOUR),
        timeout: table.time("timeout", from.timeout, HOUR),
        rise: table.number("rise", from.rise.into(), 1..1_001) as u32,
        fall: table.number("fall", from.fall.into(), 1..1_001) as u32,
    };
    if !options.path.starts_with('/') {
        table.error("path", format!("path: expected a path from /, got {:?}", options.path));
    }
    if options.every < Duration::from_millis(100) {
        table.error("every", "every: expected at least 100ms");
    }
    table.end();
    options
}

fn eject(mut table: Table<'_>) -> EjectOptions {
    let from = EjectOptions::default();
    let options = EjectOptions {
        failures: table.number("failures", from.failures.into(), 0..10_001) as u32,
        base: table.time("base", from.base, HOUR),
        max: table.time("max", from.max, DAY),
        status_5xx: table.flag("status_5xx", from.status_5xx),
        errors_percent: table.number("errors_percent", from.errors_percent.into(), 0..101) as u32,
        slow_factor: table.number("slow_factor", from.slow_factor.into(), 0..10_001) as u32,
        slow_min: table.time("slow_min", from.slow_min, HOUR),
        window_min: table.number("window_min", from.window_min.into(), 1..MANY) as u32,
        window: table.time("window", from.window, HOUR),
        share_max: table.number("share_max", from.share_max.into(), 0..101) as u32,
    };
    table.end();
    options
}

fn retry(mut table: Table<'_>) -> RetryOptions {
    let from = RetryOptions::default();
    let shown: Vec<_> = from.status.iter().map(u16::to_string).collect();
    let status = table.read("status", Some(format!("[{}]", shown.join(", "))), statuses);
    let status = status.map(|all| all.into_iter().map(|one| one as u16).collect());
    let options = RetryOptions {
        tries: table.number("tries", from.tries.into(), 1..11) as u32,
        budget_percent: table.number("budget_percent", from.budget_percent.into(), 0..101) as u32,
        budget_min: table.number("budget_min", from.budget_min.into(), 0..MANY) as u32,
        per_try: table.time_opt("per_try", HOUR),
        status: status.unwrap_or(from.status),
        probes: table.number("probes", from.probes.into(), 0..MANY) as u32,
    };
    table.end();
    options
}

fn statuses(value: &DeValue<'_>) -> Result<Vec<u64>, String> {
    let items = value.as_array().ok_or("expected a list of statuses such as [502, 503]")?;
    items.iter().map(|item| number(item.get_ref(), &(100..600))).collect()
}

fn discovery(mut table: Table<'_>) -> DiscoveryOptions {
    let from = DiscoveryOptions::default();
    let name_servers = table.read("name_servers", Some("[]".to_owned()), |value| {
        let items = value.as_array().ok_or("expected a list such as [\"10.0.0.2:53\"]")?;
        items.iter().map(|item| address(&text(item.get_ref())?)).collect()
    });
    let options = DiscoveryOptions {
        ttl_min: table.time("ttl_min", from.ttl_min, DAY),
        ttl_max: table.time("ttl_max", from.ttl_max, DAY),
        name_servers: name_servers.unwrap_or(from.name_servers),
    };
    table.end();
    options
}
