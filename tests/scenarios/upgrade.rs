//! Promise P9: a new program takes over from a running one under load, without a lost
//! request, with the same sockets, a warm disk and every purge.
//!
//! Twice in the ordinary run, twenty times with `BRINK_LONG=1`.

use std::path::Path;

use crate::support::process::{config, long};
use crate::support::reply::fresh;
use crate::support::*;

fn body(target: &str) -> Vec<u8> {
    target.bytes().cycle().take(20_000).collect()
}

fn origin() -> Origin {
    Origin::start(|seen| fresh(3600, body(&seen.target)))
}

fn settings(dir: &Path, origin: &Origin) -> String {
    format!(
        "[node]\nhandover = {:?}\ndrain = \"10s\"\n{}",
        dir.join("handover"),
        config(
            dir,
            origin,
            &format!(
                "[memory]\ncapacity = \"1MiB\"\n[disk]\nadmit = \"all\"\n[[disk.directory]]\n\
                 path = {:?}\ncapacity = \"64MiB\"",
                dir.join("store")
            )
        )
    )
}

fn joined(node: &Process) {
    eventually("the disk has joined", || node.admin("GET", "/readyz", "").0 == 200);
}

#[test]
fn upgrades_under_load_lose_no_request_and_keep_sockets_store_and_purges() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let text = settings(dir.path(), &origin);
    let mut node = Process::start(dir.path(), &text);
    joined(&node);
    let (addr, admin) = (node.addr(), node.admin_addr());
    let load = Load::start(addr, 6, body);
    load.goes_on(300);
    for round in 0..if long() { 20 } else { 2 } {
        let purge =
            format!("{{\"urls\":[\"http://{}/load/{round}\"],\"wait_ms\":0}}", client::HOST);
        assert_eq!(node.admin("POST", "/v1/purge", &purge).0, 200);
        let (_, before) = node.admin("GET", "/v1/purges", "");
        let next = Process::start(dir.path(), &text);
        assert_eq!((next.addr(), next.admin_addr()), (addr, admin), "the same sockets");
        let ended = node.ended();
        assert!(ended.success(), "the old one drains and ends: {ended}");
        joined(&next);
        let (_, after) = next.admin("GET", "/v1/purges", "");
        let seq = |text: &str| text.split("\"seq\":").last().map(str::to_owned);
        assert_eq!(seq(&before), seq(&after), "round {round}: the purges are known");
        load.goes_on(100);
        node = next;
    }
    let (answered, retried) = load.stop();
    println!("{answered} answers over the upgrades, 0 failed, {retried} tried twice");
    let mut client = node.client();
    let asked = origin.count();
    let hits = (0..200).filter(|n| client.get(&format!("/load/{n}")).is_hit()).count();
    assert!(hits > 100, "{hits} of 200 warm, asked {}", origin.count() - asked);
    assert!(node.stop().success());
    assert!(!dir.path().join("handover").exists(), "the last one takes its socket away");
}

#[test]
fn a_new_process_that_cannot_start_leaves_the_old_one_as_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let text = settings(dir.path(), &origin);
    let node = Process::start(dir.path(), &text);
    joined(&node);
    let load = Load::start(node.addr(), 4, body);
    load.goes_on(100);
    // A certificate that is not there is noticed before anything is taken.
    let bad =
        format!("{text}\n[[tls.certificate]]\ncert = \"/no/cert.pem\"\nkey = \"/no/key.pem\"\n");
    assert!(Process::launch(dir.path(), &bad, &[]).ready().is_err());
    load.goes_on(100);
    joined(&node);
    let next = Process::start(dir.path(), &text);
    assert!(node.ended().success());
    load.goes_on(100);
    load.stop();
    assert!(next.stop().success());
}

#[test]
fn a_slow_download_is_finished_by_the_old_process() {
    let dir = tempfile::tempdir().expect("a directory");
    let gate = Gate::new();
    let at_origin = gate.clone();
    let origin = Origin::start(move |seen| match seen.target.as_str() {
        "/slow" => {
            reply("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").wait(&at_origin).send("done")
        }
        _ => fresh(60, "x"),
    });
    let text = settings(dir.path(), &origin);
    let old = Process::start(dir.path(), &text);
    let mut slow = old.client();
    slow.send(client::request("GET", "/slow", ""));
    assert!(slow.head().starts_with("HTTP/1.1 200"));
    let mut idle = old.client();
    let new = Process::start(dir.path(), &text);
    new.client().get("/a").expect(200, "x");
    idle.expect_closed();
    gate.open();
    assert_eq!(slow.take(8), (b"halfdone".to_vec(), Ended::Clean));
    drop(slow);
    assert!(old.ended().success());
    assert!(new.stop().success());
}
