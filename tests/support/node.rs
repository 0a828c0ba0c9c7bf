//! Starts a node in this process, between an origin and the clients, on a manual clock.
//!
//! The configuration is TOML, as an operator writes it, so a scenario shows the setting
//! it is about. Everything binds port 0.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use brink::admin::Address;
use brink::base::clock::Clock;
use brink::node::{self, seams::Seams};
use brink::store::disk::DirectoryStats;

use super::frames::RawH2;
use super::h2::H2Client;
use super::{Client, Origin, client, tls};

/// Wall clock of every scenario at its start: 2026-01-01 00:00:00 UTC.
pub const START_MS: u64 = 1_767_225_600_000;

/// A running node.
pub struct Node {
    /// Its clock; [`Node::advance`] moves it.
    pub clock: Clock,
    running: Option<node::Node>,
    plain: SocketAddr,
    secure: SocketAddr,
}

impl Node {
    /// In front of `origin` with default settings.
    pub fn before(origin: &Origin) -> Self {
        Self::with(origin, "", "")
    }

    /// With more settings for its site: lines of `[[site]]`.
    pub fn with_site(origin: &Origin, site: &str) -> Self {
        Self::with(origin, "", site)
    }

    /// With more settings for its origin: lines of `[[origin]]`.
    pub fn with_origin(origin: &Origin, lines: &str) -> Self {
        Self::with(origin, lines, "")
    }

    /// With lines for `[[origin]]`, and lines for `[[site]]` (sections may follow there).
    pub fn with(origin: &Origin, origin_lines: &str, rest: &str) -> Self {
        Self::start(&format!(
            "[[origin]]\nname = \"app\"\nservers = [\"http://{}\"]\n{origin_lines}\n\
             [[site]]\norigin = \"app\"\n{rest}\n",
            origin.addr
        ))
    }

    /// From the sections of a whole configuration but the listeners.
    pub fn start(sections: &str) -> Self {
        Self::start_with(sections, &Seams::default())
    }

    /// The same with something in place of the world outside.
    pub fn start_with(sections: &str, seams: &Seams) -> Self {
        let own = sections.contains("[[tls.certificate]]");
        let throw_away = if own { "" } else { "[tls]\nthrow_away = [\"site.test\"]\n" };
        let text = format!(
            "[[listen]]\naddr = \"127.0.0.1:0\"\n[[listen]]\naddr = \"127.0.0.1:0\"\ntls = true\n\
             {throw_away}[log]\naccess = \"off\"\n{sections}"
        );
        let outcome = brink::config::parse(&text, "test.toml", Path::new("."));
        let config = outcome.into_result().unwrap_or_else(|problems| panic!("{problems}"));
        let clock = Clock::manual(START_MS);
        let running = node::Node::start_with(&config, clock.clone(), seams);
        let running = running.unwrap_or_else(|error| panic!("no start: {error}"));
        let (plain, secure) = (running.addresses()[0].1, running.addresses()[1].1);
        Node { clock, running: Some(running), plain, secure }
    }

    /// With a certificate for these names in place of the throw-away one, which fits any.
    pub fn with_certificate(origin: &Origin, names: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the certificate");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).expect("the certificate's file");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("the key's file");
        Self::start(&format!(
            "[[tls.certificate]]\ncert = {cert:?}\nkey = {key:?}\n[[origin]]\nname = \"app\"\n\
             servers = [\"http://{}\"]\n[[site]]\norigin = \"app\"\n",
            origin.addr
        ))
    }

    /// Address of the plain listener.
    pub fn plain_addr(&self) -> SocketAddr {
        self.plain
    }

    /// Address of the TLS listener.
    pub fn tls_addr(&self) -> SocketAddr {
        self.secure
    }

    /// A plain connection.
    pub fn client(&self) -> Client {
        Client::connect(self.plain)
    }

    /// A TLS connection speaking HTTP/1.1.
    pub fn tls_client(&self) -> Client {
        let dialled = tls::dial(self.secure, client::HOST, &["http/1.1"]);
        let (tcp, stream) = dialled.expect("a TLS handshake");
        Client::over(tcp, Box::new(stream))
    }

    /// A well-behaved HTTP/2 connection.
    pub fn h2(&self) -> H2Client {
        H2Client::connect(self.secure)
    }

    /// A raw HTTP/2 connection.
    pub fn raw_h2(&self) -> RawH2 {
        RawH2::connect(self.secure, client::HOST)
    }

    /// A node with an admin listener, its token in `dir`.
    pub fn with_admin(origin: &Origin, dir: &Path) -> Self {
        Self::with_admin_lines(origin, dir, "")
    }

    /// The same with more lines for `[admin]`.
    pub fn with_admin_lines(origin: &Origin, dir: &Path, lines: &str) -> Self {
        Self::start(&format!(
            "[admin]\naddr = \"127.0.0.1:0\"\ntoken_file = {:?}\n{lines}\n[[origin]]\nname = \"app\"\n\
             servers = [\"http://{}\"]\n[[site]]\norigin = \"app\"\n",
            dir.join("token"),
            origin.addr
        ))
    }

    /// A node with a disk tier in `dir` and little memory.
    pub fn with_disk(origin: &Origin, dir: &Path) -> Self {
        Self::start(&format!(
            "[memory]\ncapacity = \"1MiB\"\n[disk]\nadmit = \"all\"\n[[disk.directory]]\n\
             path = {dir:?}\ncapacity = \"64MiB\"\n[[origin]]\nname = \"app\"\n\
             servers = [\"http://{}\"]\n[[site]]\norigin = \"app\"\n",
            origin.addr
        ))
    }

    /// How its first disk directory is doing.
    pub fn disk(&self) -> DirectoryStats {
        let disk = self.running.as_ref().and_then(|running| running.shared().disk.as_ref());
        disk.expect("a disk").stats().remove(0)
    }

    /// A connection to the admin listener.
    pub fn admin(&self) -> Client {
        let address = self.running.as_ref().and_then(node::Node::admin_address);
        match address {
            Some(Address::Tcp(address)) => Client::connect(*address),
            other => panic!("no admin listener on TCP: {other:?}"),
        }
    }

    /// Begins a graceful stop on another thread; the handle gives how many connections
    /// had to be cut.
    pub fn drain(mut self) -> std::thread::JoinHandle<usize> {
        let running = self.running.take().expect("a running node");
        std::thread::spawn(move || running.drain().1)
    }

    /// Moves the clock on by seconds.
    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Stops it gracefully and waits for the end.
    pub fn stop(mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.drain();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.drain();
        }
    }
}
