//! Three real nginx servers behind the real program, with load on it: rolled one by one by
//! the command line, switched from blue to green and back, killed, hung. Every request that
//! the load sends is accounted for.
//!
//! Without nginx these tests say that they are skipped. The long version, with a table of
//! figures for each fault, is tests/proof/origin_faults.py.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::client::request;
use crate::support::nginx::{self, Nginx};
use crate::support::process::Process;
use crate::support::*;

const CLIENTS: usize = 4;

/// What the load did and saw.
#[derive(Default)]
struct Account {
    sent: AtomicUsize,
    wrong: Mutex<Vec<String>>,
    over: AtomicBool,
    /// Only what may be sent twice.
    safe_only: AtomicBool,
}

struct Load {
    account: Arc<Account>,
    clients: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    /// Clients that fetch pages nobody fetched before, and post; each answer must be whole
    /// and one of `texts`.
    fn on(node: &Process, texts: &'static [&'static str]) -> Self {
        let account = Arc::new(Account::default());
        let client = |n: usize| {
            let (account, address) = (account.clone(), node.addr());
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                for round in 0.. {
                    if account.over.load(Ordering::SeqCst) {
                        return;
                    }
                    one(&mut client, address, &account, &format!("{n}-{round}"), texts);
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Load { account, clients }
    }

    /// Lets it go on for so many requests more.
    fn carry_on(&self, more: usize) {
        let goal = self.account.sent.load(Ordering::SeqCst) + more;
        eventually("the load goes on", || self.account.sent.load(Ordering::SeqCst) >= goal);
    }

    /// Ends it; every request must have been answered well.
    fn end(self) -> usize {
        self.account.over.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().expect("a client's thread");
        }
        let wrong = self.account.wrong.lock().expect("the list");
        let sent = self.account.sent.load(Ordering::SeqCst);
        assert!(wrong.is_empty(), "{} of {sent} failed: {:?}", wrong.len(), &wrong[..1]);
        sent
    }
}

/// One request of the load.
fn one(client: &mut Client, address: SocketAddr, account: &Account, id: &str, texts: &[&str]) {
    let posts = id.ends_with('7') && !account.safe_only.load(Ordering::SeqCst);
    let answer = match posts {
        true => {
            client.send(format!("{}abc", request("POST", "/echo", "Content-Length: 3\r\n")));
            client.try_answer("POST")
        }
        false => {
            client.send(request("GET", &format!("/page?{id}"), ""));
            client.try_answer("GET")
        }
    };
    account.sent.fetch_add(1, Ordering::SeqCst);
    let good = answer.as_ref().is_some_and(|answer| {
        let fits = |text: &&str| match posts {
            true => answer.text() == **text,
            false => answer.text() == nginx::page(text),
        };
        answer.status == 200 && answer.ended == Ended::Clean && texts.iter().any(fits)
    });
    let closes = |answer: &Answer| answer.field("connection").as_deref() == Some("close");
    if answer.as_ref().is_none_or(closes) {
        // nginx answers before it has read what was posted.
        *client = Client::connect(address);
    }
    if !good {
        let shown = answer.map(|answer| (answer.head, answer.body.len(), answer.ended));
        account.wrong.lock().expect("the list").push(format!("{id}: {shown:?}"));
    }
}

/// `brink origin` with these words.
fn cli(node: &Process, words: &[&str]) {
    let (worked, said) = node.verb(&[&["origin"], words].concat());
    assert!(worked, "brink origin {words:?}: {said}");
}

/// What `/v1/origins` says of a server.
fn server(node: &Process, origin: &str, name: &str) -> BTreeMap<String, Value> {
    let (status, text) = node.admin("GET", "/v1/origins", "");
    assert_eq!(status, 200, "{text}");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let named = |list: &Value, name: &str| {
        let items = list.as_array().cloned().unwrap_or_default();
        items.into_iter().find(|one| one["name"] == *name)
    };
    let group = named(&all["origins"], origin).expect("the origin");
    let found = named(&group["servers"], name).expect("the server");
    serde_json::from_value(found).expect("an object")
}

fn servers(list: &[(&str, &Nginx)]) -> String {
    let one = |(name, server): &(&str, &Nginx)| {
        format!("[[origin.server]]\nname = {name:?}\nurl = \"http://127.0.0.1:{}\"\n", server.port)
    };
    list.iter().map(one).collect()
}

fn config(dir: &std::path::Path, groups: &str) -> String {
    format!(
        "[[listen]]\naddr = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n[admin]\n\
         addr = \"127.0.0.1:0\"\ntoken_file = {:?}\n{groups}\n[[site]]\norigin = \"app\"\n",
        dir.join("token")
    )
}

/// Short deadlines, so that a server that hangs is found out quickly.
const APP: &str = "[[origin]]\nname = \"app\"\nslow_start = \"100ms\"\n\
                   [origin.eject]\nbase = \"100ms\"\n[origin.retry]\nper_try = \"500ms\"\n\
                   budget_min = 1000\n";

const NAMES: [&str; 3] = ["one", "two", "three"];

/// A node before all three, under load.
fn loaded(dir: &Path, all: &[Nginx; 3]) -> (Process, Load) {
    let list = [("one", &all[0]), ("two", &all[1]), ("three", &all[2])];
    let node = Process::start(dir, &config(dir, &format!("{APP}{}", servers(&list))));
    let load = Load::on(&node, &NAMES);
    (node, load)
}

#[test]
fn three_nginx_servers_are_rolled_one_by_one_under_load_without_a_failed_request() {
    if !nginx::is_installed() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = NAMES.map(Nginx::start);
    let (node, load) = loaded(dir.path(), &all);
    load.carry_on(50);
    for (name, nginx) in NAMES.iter().zip(&mut all) {
        cli(&node, &["drain", "app", name]);
        eventually("what is in flight finishes", || server(&node, "app", name)["in_flight"] == 0);
        assert_eq!(server(&node, "app", name)["state"], "drained");
        let before = server(&node, "app", name)["requests"].as_u64();
        nginx.end(Signal::QUIT);
        load.carry_on(50);
        nginx.begin();
        assert_eq!(server(&node, "app", name)["requests"].as_u64(), before, "none came");
        cli(&node, &["resume", "app", name]);
        eventually("it is used again", || server(&node, "app", name)["requests"].as_u64() > before);
    }
    let sent = load.end();
    let failures: u64 =
        NAMES.iter().filter_map(|name| server(&node, "app", name)["failures"].as_u64()).sum();
    println!("rolled: {sent} requests sent, 0 failed, {failures} failures of servers");
    assert_eq!(failures, 0, "a drained server costs not even a retry");
}

#[test]
fn servers_that_are_killed_stopped_and_hung_under_load_cost_no_request_that_may_be_sent_twice() {
    if !nginx::is_installed() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = NAMES.map(Nginx::start);
    let (node, load) = loaded(dir.path(), &all);
    load.account.safe_only.store(true, Ordering::SeqCst);
    load.carry_on(50);
    all[0].end(Signal::KILL);
    load.carry_on(100);
    all[0].begin();
    // Not drained: idle connections close under requests.
    all[1].end(Signal::QUIT);
    load.carry_on(100);
    all[1].begin();
    // It accepts and never answers.
    all[2].signal(Signal::STOP);
    load.carry_on(100);
    all[2].signal(Signal::CONT);
    for name in NAMES {
        eventually("it is used again", || {
            let state = server(&node, "app", name)["state"].clone();
            state == "up" || state == "slow-start"
        });
    }
    println!("tormented: {} requests sent, 0 failed", load.end());
}

#[test]
fn a_switch_to_green_and_back_under_load_fails_no_request() {
    if !nginx::is_installed() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (blue, green) = (Nginx::start("blue"), Nginx::start("green"));
    let groups = format!(
        "{APP}{}[[origin]]\nname = \"green\"\n{}",
        servers(&[("one", &blue)]),
        servers(&[("two", &green)])
    );
    let node = Process::start(dir.path(), &config(dir.path(), &groups));
    let load = Load::on(&node, &["blue", "green"]);
    load.carry_on(30);
    let now = |path: &str, text: &str| {
        node.client().get(path).expect(200, &nginx::page(text));
    };
    now("/page?a", "blue");
    for round in 0..3 {
        cli(&node, &["switch", "app", "--to", "green"]);
        now(&format!("/page?b{round}"), "green");
        load.carry_on(30);
        cli(&node, &["rollback", "app"]);
        now(&format!("/page?c{round}"), "blue");
        load.carry_on(30);
    }
    println!("switched six times: {} requests sent, 0 failed", load.end());
}

#[test]
fn a_large_body_whose_server_is_killed_is_continued_from_another_one() {
    if !nginx::is_installed() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = [Nginx::start("x"), Nginx::start("x")];
    let list = [("one", &all[0]), ("two", &all[1])];
    let node = Process::start(dir.path(), &config(dir.path(), &format!("{APP}{}", servers(&list))));
    let mut client = node.client();
    client.send(request("GET", "/large", "Cache-Control: no-store\r\n"));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let (first, _) = client.take(100_000);
    let busy = NAMES[..2].iter().position(|name| server(&node, "app", name)["in_flight"] == 1);
    let busy = busy.expect("more is to come than sockets hold");
    all[busy].end(Signal::KILL);
    let whole = nginx::large();
    let (rest, ended) = client.take(whole.len() - first.len());
    assert_eq!(ended, Ended::Clean);
    assert!([first, rest].concat() == whole, "byte for byte the same");
}

#[test]
fn a_reload_that_adds_a_server_keeps_the_others_drained() {
    let dir = tempfile::tempdir().expect("a directory");
    let origins = [(); 3].map(|()| Origin::start(|seen| ok("", seen.n.to_string())));
    let list = |count: usize| {
        let one = |n: usize| {
            let (name, address) = (NAMES[n], origins[n].addr);
            format!("[[origin.server]]\nname = {name:?}\nurl = \"http://{address}\"\n")
        };
        let servers: String = (0..count).map(one).collect();
        config(dir.path(), &format!("{APP}{servers}"))
    };
    let node = Process::start(dir.path(), &list(2));
    cli(&node, &["drain", "app", "one"]);
    cli(&node, &["weight", "app", "two", "9"]);
    std::fs::write(dir.path().join("node.toml"), list(3)).expect("the configuration's file");
    node.signal("HUP");
    eventually("the third server is there", || {
        let (_, text) = node.admin("GET", "/v1/origins", "");
        text.contains("three")
    });
    assert_eq!(server(&node, "app", "one")["state"], "drained");
    assert_eq!(server(&node, "app", "two")["weight"], 9);
    for n in 0..20 {
        assert_eq!(node.client().get(&format!("/{n}")).status, 200);
    }
    assert_eq!(origins[0].count(), 0, "a drained server is asked nothing");
}
