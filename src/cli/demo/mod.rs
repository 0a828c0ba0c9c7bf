//! `brink demo`: a node, an origin and things to try, in one process and with one command.
//!
//! The node is the real one, built from a configuration text as any other; only the origin
//! is embedded. Certificate and token live in a directory of their own that goes away at
//! the end.

mod origin;
mod pages;
mod text;

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::fail;
use super::signals::{Signals, Told};
use crate::base::Clock;
use crate::config;
use crate::node::Node;
use crate::telemetry::setup;

const EXAMPLES: &str = "\
Examples:
  brink demo                 HTTP on port 8080, HTTPS on 8443, admin on 8090
  brink demo --port 9000     HTTP on port 9000, HTTPS on 9001, admin on 9002
  brink demo --port 0        three free ports

Everything listens on 127.0.0.1 only. Ctrl-C ends it with a summary.";

/// Start a node with its own demo origin, and print things to try.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Demo {
    /// First of three ports: HTTP, HTTPS, admin.
    #[arg(long, value_name = "N")]
    port: Option<u16>,
}

/// Where everything of a running demo is.
#[derive(Debug)]
struct Places {
    http: SocketAddr,
    https: SocketAddr,
    admin: String,
    cert: PathBuf,
    token: String,
}

impl Demo {
    /// Runs the verb.
    pub fn run(self) -> ExitCode {
        match self.start() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => fail(why),
        }
    }

    fn start(&self) -> Result<(), String> {
        let ports = self.ports()?;
        ports
            .iter()
            .zip(["HTTP", "HTTPS", "admin"])
            .try_for_each(|(port, what)| available(*port, what))?;
        setup::install(&setup::Options { filter: "warn".to_owned(), json: false })?;
        let scratch = Scratch::new().map_err(|e| format!("cannot make a directory: {e}"))?;
        let cert = certificate(&scratch.0)?;
        let origin = origin::start().map_err(|e| format!("cannot start the origin: {e}"))?;
        let config = config::parse(&text::config(origin, ports), "demo", &scratch.0);
        let node = Node::start(&config.into_result()?, Clock::real()).map_err(|e| e.to_string())?;
        let places = places(&node, &scratch.0, cert)?;
        println!("{}", text::welcome(&places));
        eprintln!("ready");
        wait(&node);
        println!("\nDraining ...");
        let (summary, _) = node.drain();
        println!("{}", text::goodbye(&summary));
        Ok(())
    }

    fn ports(&self) -> Result<[u16; 3], String> {
        match self.port {
            None => Ok([8080, 8443, 8090]),
            Some(0) => Ok([0, 0, 0]),
            Some(first) if first <= u16::MAX - 2 => Ok([first, first + 1, first + 2]),
            Some(first) => Err(format!("--port: expected at most {}, got {first}", u16::MAX - 2)),
        }
    }
}

/// An early look at a port, for a message that says what to do about it.
fn available(port: u16, what: &str) -> Result<(), String> {
    TcpListener::bind(("127.0.0.1", port)).map(drop).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} (for {what}) is taken by another program.\n\
             Choose other ports, for example: brink demo --port 9000"
        ),
        _ => format!("cannot listen on port {port} (for {what}): {error}; try --port 9000"),
    })
}

/// A directory for certificate and token, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let name = format!("brink-demo-{:016x}", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate for this run in files, so that curl can be told to trust it.
fn certificate(dir: &Path) -> Result<PathBuf, String> {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names.to_vec())
        .map_err(|error| format!("cannot make a certificate: {error}"))?;
    let cert = dir.join("cert.pem");
    fs::write(&cert, made.cert.pem())
        .and_then(|()| fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()))
        .map_err(|error| format!("cannot write the certificate: {error}"))?;
    Ok(cert)
}

fn places(node: &Node, dir: &Path, cert: PathBuf) -> Result<Places, String> {
    let token = fs::read_to_string(dir.join("token"))
        .map_err(|error| format!("cannot read the admin token: {error}"))?;
    let listener = |wanted: &str| {
        let found = node.addresses().iter().find(|(name, _)| &**name == wanted);
        found.map(|(_, address)| *address).ok_or("a listener of the demo is missing")
    };
    let admin = node.admin_address().ok_or("the admin listener of the demo is missing")?;
    Ok(Places {
        http: listener("http")?,
        https: listener("https")?,
        admin: admin.to_string(),
        cert,
        token: token.trim().to_owned(),
    })
}

fn wait(node: &Node) {
    node.background().block_on(async {
        let Some(mut signals) = Signals::new() else { return };
        while signals.next().await != Told::Stop {}
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_together_with_the_flag_that_helps() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let told = available(port, "HTTP").unwrap_err();
        assert!(told.contains(&port.to_string()) && told.contains("--port"), "{told}");
    }

    #[test]
    fn three_ports_follow_each_other() {
        let ports = |port| Demo { port }.ports();
        assert_eq!(ports(Some(9000)), Ok([9000, 9001, 9002]));
        assert_eq!(ports(None), Ok([8080, 8443, 8090]));
        assert!(ports(Some(65_534)).is_err());
    }
}
