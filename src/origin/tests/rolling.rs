//! Three real nginx servers under load: rolled one by one, killed, stopped.
//!
//! Needs `/usr/sbin/nginx` (Debian); says so and passes without it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::origin::{Balance, ServerOptions};

const NGINX: &str = "/usr/sbin/nginx";

/// One nginx process with its own prefix.
struct Nginx {
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Nginx {
    fn new(text: &str) -> Nginx {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("html")).unwrap();
        std::fs::write(dir.path().join("html/page"), text.repeat(200)).unwrap();
        let prefix = dir.path().display();
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {prefix}/{name};"))
            .join("\n");
        let config = format!(
            "daemon off; master_process off; pid {prefix}/pid; error_log {prefix}/error.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log off; {temp}\n\
             server {{ listen 127.0.0.1:{port}; root {prefix}/html; }} }}\n"
        );
        std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
        Nginx { dir, port, child: None }
    }

    async fn start(&mut self) {
        let child = Command::new(NGINX)
            .args(["-p", self.dir.path().to_str().unwrap(), "-c", "nginx.conf"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        for _ in 0..1000 {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nginx did not start");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.child.as_ref().unwrap());
        kill_process(pid, signal).unwrap();
    }

    async fn wait(&mut self) {
        let mut child = self.child.take().unwrap();
        until(|| child.try_wait().unwrap().is_some()).await;
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

/// What the load saw.
#[derive(Default)]
struct Account {
    sent: AtomicUsize,
    failed: std::sync::Mutex<Vec<String>>,
    stop: AtomicBool,
}

async fn load(group: Arc<Group>, account: Arc<Account>) {
    while !account.stop.load(Ordering::SeqCst) {
        account.sent.fetch_add(1, Ordering::SeqCst);
        match fetch(&group, "/page").await {
            Ok((200, body)) if body.len() == 1000 => {}
            other => account.failed.lock().unwrap().push(format!("{other:?}")),
        }
        tokio::task::yield_now().await;
    }
}

/// Runs until the load has sent `more` requests.
async fn carry_on(account: &Account, more: usize) {
    let goal = account.sent.load(Ordering::SeqCst) + more;
    until(|| account.sent.load(Ordering::SeqCst) >= goal).await;
}

fn fleet(servers: &[Nginx; 3]) -> Arc<Group> {
    let one = |server: &Nginx| ServerOptions {
        name: Some(server.port.to_string()),
        ..ServerOptions::new(format!("http://127.0.0.1:{}", server.port).parse().unwrap())
    };
    let mut options = GroupOptions::single("app", "http://127.0.0.1:1").unwrap();
    options.servers = servers.iter().map(one).collect();
    options.balance = Balance::LeastLoaded;
    options.slow_start = Duration::from_millis(100);
    options.eject.base = Duration::from_millis(100);
    options.retry.per_try = Some(Duration::from_millis(250));
    Group::new(options).unwrap()
}

async fn roll(servers: &mut [Nginx; 3], group: &Group, account: &Account) {
    for index in 0..3 {
        let name = servers[index].port.to_string();
        group.drain(&name, true).unwrap();
        until(|| group.state().servers[index].in_flight == 0).await;
        servers[index].signal(Signal::QUIT);
        servers[index].wait().await;
        carry_on(account, 100).await;
        servers[index].start().await;
        group.drain(&name, false).unwrap();
        carry_on(account, 100).await;
    }
}

async fn torment(servers: &mut [Nginx; 3], account: &Account) {
    // No drain: the server dies in the middle of its work.
    servers[0].signal(Signal::KILL);
    servers[0].wait().await;
    carry_on(account, 200).await;
    servers[0].start().await;
    // Asked to stop without a drain: idle connections close under our requests.
    servers[1].signal(Signal::QUIT);
    servers[1].wait().await;
    carry_on(account, 200).await;
    servers[1].start().await;
    // A server that hangs: it accepts and never answers.
    servers[2].signal(Signal::STOP);
    carry_on(account, 200).await;
    servers[2].signal(Signal::CONT);
    carry_on(account, 200).await;
}

#[tokio::test]
async fn three_nginx_servers_are_rolled_killed_and_hung_without_a_failed_request() {
    if !Path::new(NGINX).exists() {
        eprintln!("skipped: {NGINX} is not installed");
        return;
    }
    let mut servers = [Nginx::new("alpha"), Nginx::new("bravo"), Nginx::new("delta")];
    for server in &mut servers {
        server.start().await;
    }
    let group = fleet(&servers);
    let account = Arc::new(Account::default());
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        clients.spawn(load(group.clone(), account.clone()));
    }
    carry_on(&account, 100).await;
    roll(&mut servers, &group, &account).await;
    let rolled = (account.sent.load(Ordering::SeqCst), group.state().retries);
    torment(&mut servers, &account).await;
    account.stop.store(true, Ordering::SeqCst);
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let failed = account.failed.lock().unwrap();
    let state = group.state();
    let sent = account.sent.load(Ordering::SeqCst);
    println!(
        "rolled: {} sent, {} retried; in all: {sent} sent, {} retried, {} failed",
        rolled.0,
        rolled.1,
        state.retries,
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:?}\n{state:#?}");
    assert_eq!(rolled.1, 0, "a drained server costs not even a retry");
}
