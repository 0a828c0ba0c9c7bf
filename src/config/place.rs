//! Reads where something is: an address to listen at, networks, a file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::reader::Table;

/// What stands in for an address that could not be read; the error stops the start.
pub const UNREAD: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Reads an address with its port. Names are refused: a listener must not depend on DNS.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("expected an address and port such as \"127.0.0.1:8080\", got {text:?}")
    })
}

/// Reads networks; a single address is a network of one.
pub fn networks(table: &mut Table<'_>, key: &'static str) -> Vec<IpNet> {
    let mut out = Vec::new();
    for text in table.list(key, &[]) {
        match network(&text) {
            Some(network) => out.push(network),
            None => table.error(
                key,
                format!("{key}: expected a network such as \"10.0.0.0/8\", got {text:?}"),
            ),
        }
    }
    out
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

/// Reads the path of a file; a relative one starts at the directory of the configuration.
pub fn file(table: &mut Table<'_>, key: &'static str, base: &Path) -> Option<PathBuf> {
    table.text_opt(key).map(|text| base.join(text))
}
