//! Real nginx servers, as Debian ships them, one process each.
//!
//! Ports are taken from below the range that the system gives to outgoing connections, so
//! that a server which is down for a moment finds its port free when it starts again.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

const NGINX: &str = "/usr/sbin/nginx";
/// Where ports are looked for.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Whether it is installed; says so if not.
pub fn is_installed() -> bool {
    let there = Path::new(NGINX).exists();
    if !there {
        eprintln!("SKIPPED: {NGINX} is not installed (config/setup-debian.sh installs it)");
    }
    there
}

/// One nginx with its own directory and port.
pub struct Nginx {
    dir: tempfile::TempDir,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    child: Option<Child>,
}

impl Nginx {
    /// Started; `text` is repeated to a page of some kilobytes at `/page`, is the answer to
    /// any method at `/echo`, and begins `/large` (8 MiB, with a strong tag).
    pub fn start(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let prefix = dir.path().display();
        std::fs::create_dir(dir.path().join("html")).expect("a directory");
        let file = |name: &str, body: Vec<u8>| {
            std::fs::write(dir.path().join("html").join(name), body).expect("a file");
        };
        file("page", page(text).into_bytes());
        file("large", large());
        let port = free_port();
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {prefix}/{name};"))
            .join("\n");
        let config = format!(
            "daemon off; master_process off; pid {prefix}/pid; error_log {prefix}/error.log;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; etag on; {temp}\n\
             server {{ listen 127.0.0.1:{port}; root {prefix}/html;\n\
             location = /echo {{ return 200 \"{text}\"; }} }} }}\n"
        );
        std::fs::write(dir.path().join("nginx.conf"), config).expect("a file");
        // One time for all, so that the same file has the same tag on every server.
        let times = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        let handle = std::fs::File::options().append(true).open(dir.path().join("html/large"));
        handle.and_then(|file| file.set_times(times)).expect("its time");
        let mut nginx = Nginx { dir, port, child: None };
        nginx.begin();
        nginx
    }

    /// Starts it (again) and waits until it listens.
    pub fn begin(&mut self) {
        let prefix = self.dir.path().to_str().expect("a plain path");
        let child = Command::new(NGINX)
            .args(["-p", prefix, "-c", "nginx.conf"])
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx starts");
        self.child = Some(child);
        eventually("nginx listens", || {
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("a signal");
    }

    /// Ends it with a signal and waits for the end.
    pub fn end(&mut self, signal: Signal) {
        self.signal(signal);
        let mut child = self.child.take().expect("it runs");
        eventually("nginx ends", || matches!(child.try_wait(), Ok(Some(_))));
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What `/page` holds.
pub fn page(text: &str) -> String {
    text.repeat(1000)
}

/// What `/large` holds, the same on all servers.
pub fn large() -> Vec<u8> {
    (0..8u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = (std::process::id() as u16).wrapping_mul(37) % span;
        let port = PORTS.start + (start + step % span) % span;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}");
}
