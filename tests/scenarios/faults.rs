//! Promises P8 and P9 against the running program: full disks, limits of the system, two
//! processes, foreign stores, reloads and stops under load.
//!
//! Short here; `BRINK_LONG=1` makes the rounds many (`tests/proof/README.md`). Of the fault
//! table these rows are proven elsewhere: torn writes, bit rot and failing calls by the
//! tests of `store::disk`, `kill -9` by `crash`, clock steps by `hit` and `store::disk`, a
//! panic in a request by `front`, origins by `origin_faults` and `origin`.

use std::path::Path;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::client::request;
use crate::support::process::{config, long};
use crate::support::reply::fresh;
use crate::support::*;

fn body(target: &str) -> Vec<u8> {
    target.bytes().cycle().take(20_000).collect()
}

fn origin() -> Origin {
    Origin::start(|seen| fresh(3600, body(&seen.target)))
}

fn disk(dir: &Path) -> String {
    format!(
        "[memory]\ncapacity = \"1MiB\"\n[disk]\nadmit = \"all\"\nsegment = \"1MiB\"\n\
         faults_max = 3\nread_timeout = \"1m\"\n[[disk.directory]]\npath = {:?}\ncapacity = \"64MiB\"",
        dir.join("store")
    )
}

fn joined(node: Process) -> Process {
    eventually("the disk has joined", || node.admin("GET", "/readyz", "").0 == 200);
    node
}

/// Fetches `count` objects; each answer is right.
fn fetch(node: &Process, name: &str, count: usize) {
    let mut client = node.client();
    for n in 0..count {
        let target = format!("/{name}/{n}");
        let answer = client.get(&target);
        assert_eq!((answer.status, answer.ended), (200, Ended::Clean), "{}", answer.head);
        assert!(answer.body == body(&target), "{target}");
    }
}

/// A counter of the disk tier, over all directories.
fn event(node: &Process, name: &str) -> u64 {
    let (_, text) = node.admin("GET", "/v1/disk", "");
    let start = text.find(&format!("\"{name}\":")).expect("the counter") + name.len() + 3;
    let digits = text[start..].split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).expect("a number")
}

fn limit(node: &Process, what: Resource, current: Option<u64>) {
    let id = Pid::from_raw(node.id() as i32);
    let before = prlimit(id, what, Rlimit { current, maximum: None });
    before.expect("the limit of another process of ours");
}

#[test]
fn a_full_disk_sheds_writes_answers_everything_and_resumes_when_there_is_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let node = joined(Process::start(dir.path(), &config(dir.path(), &origin, &disk(dir.path()))));
    fetch(&node, "before", 20);
    eventually("it writes", || event(&node, "written") >= 20);
    // No file may grow beyond a page: the system says EFBIG where a full disk says ENOSPC,
    // and would end a process that does not expect it.
    limit(&node, Resource::Fsize, Some(4096));
    eventually("writes are shed", || {
        fetch(&node, &format!("full-{}", origin.count()), 20);
        event(&node, "writes_shed") > 0
    });
    let (status, text) = node.admin("GET", "/readyz", "");
    assert!(status == 200 && text.contains("/store ready"), "full is not broken: {text}");
    limit(&node, Resource::Fsize, None);
    let written = event(&node, "written");
    eventually("writes resume", || {
        fetch(&node, &format!("after-{}", origin.count()), 5);
        event(&node, "written") > written
    });
    assert!(node.stop().success());
}

#[test]
fn a_second_node_on_the_same_store_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let node = joined(Process::start(dir.path(), &config(dir.path(), &origin, &disk(dir.path()))));
    fetch(&node, "a", 5);
    let other = dir.path().join("other");
    std::fs::create_dir(&other).expect("a directory");
    let second = Process::launch(&other, &config(&other, &origin, &disk(dir.path())), &[]);
    let said = second.ready().err().expect("it must not start");
    assert!(said.contains("is in use by another process"), "{said}");
    fetch(&node, "b", 5);
    assert!(node.stop().success());
}

#[test]
fn foreign_stores_are_refused_or_set_aside_and_never_touched() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let text = config(dir.path(), &origin, &disk(dir.path()));
    let node = joined(Process::start(dir.path(), &text));
    fetch(&node, "a", 60);
    eventually("it writes", || event(&node, "written") >= 60);
    assert!(node.stop().success());
    let store = dir.path().join("store");
    // A segment of a later version, a file that only looks like one, and somebody's notes.
    let segments = store.join("segments");
    let later = segments.join(format!("{:016x}", 9_000));
    let first = std::fs::read_dir(&segments).expect("segments").flatten().next();
    let mut bytes = std::fs::read(first.expect("a segment").path()).expect("its bytes");
    bytes[4..6].copy_from_slice(&77u16.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    let foreign = [
        (later, bytes),
        (segments.join(format!("{:016x}", 9_001)), b"not a segment at all".to_vec()),
        (segments.join("notes.txt"), b"mine".to_vec()),
        (store.join("README"), b"mine too".to_vec()),
    ];
    for (path, bytes) in &foreign {
        std::fs::write(path, bytes).expect("written");
    }
    let node = joined(Process::start(dir.path(), &text));
    node.wait_said("segment set aside");
    assert_eq!(event(&node, "set_aside"), 2);
    fetch(&node, "a", 60);
    fetch(&node, "b", 60);
    assert!(node.stop().success());
    for (path, bytes) in &foreign {
        assert!(std::fs::read(path).expect("still there") == *bytes, "{}", path.display());
    }
    // Another version of the store itself: one clear line, nothing changed.
    let mut identity = std::fs::read(store.join("identity")).expect("the identity");
    identity[4] = 77;
    std::fs::write(store.join("identity"), &identity).expect("written");
    let said = Process::launch(dir.path(), &text, &[]).ready().err().expect("it must not start");
    assert!(said.contains("identity file") && said.contains("use another"), "{said}");
    assert!(std::fs::read(store.join("identity")).expect("the identity") == identity);
    // A place where no directory can be.
    let file = dir.path().join("file");
    std::fs::write(&file, b"").expect("a file");
    let text = config(dir.path(), &origin, &disk(&file));
    let said = Process::launch(dir.path(), &text, &[]).ready().err().expect("it must not start");
    assert!(said.contains("disk directory"), "{said}");
}

#[test]
fn without_file_descriptors_accepting_pauses_and_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    // The limit on connections would shed long before: here it must not.
    let more = "[node]\nthreads = 2\n[limits]\nconnections_max = 100000\nconnections_per_address_max = 100000";
    let text = config(dir.path(), &origin, more);
    let node = Process::start_under(&["prlimit", "--nofile=256"], dir.path(), &text);
    let mut known = node.client();
    assert_eq!(known.get("/a").body, body("/a"));
    let start = brink::base::clock::instant();
    let crowd: Vec<Client> = (0..1_000).filter_map(|_| Process::try_client(node.addr())).collect();
    assert!(crowd.len() > 256, "{} were queued", crowd.len());
    node.wait_said("cannot accept; pausing");
    for _ in 0..20 {
        assert!(known.get("/a").is_hit(), "who is in is served");
    }
    let said = node.said();
    let pauses = said.matches("cannot accept; pausing").count() as u128;
    let most = 2 * (start.elapsed().as_millis() / 100 + 2);
    assert!(pauses <= most, "{pauses} failed accepts in {:?} are a busy loop", start.elapsed());
    drop(crowd);
    assert!(known.get("/a").is_hit());
    let mut fresh = node.client();
    assert_eq!(fresh.get("/b").body, body("/b"), "it recovers");
    assert!(node.stop().success());
}

#[test]
fn a_crowd_beyond_the_limit_is_told_so_and_who_is_in_is_served() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let text = config(dir.path(), &origin, "");
    let node = Process::start_under(&["prlimit", "--nofile=256"], dir.path(), &text);
    let mut known = node.client();
    assert_eq!(known.get("/a").body, body("/a"));
    let mut crowd: Vec<Client> =
        (0..1_000).filter_map(|_| Process::try_client(node.addr())).collect();
    assert!(known.get("/a").is_hit());
    // The last to come finds the node full, and is told when to come back.
    let mut last = crowd.pop().expect("a connection");
    last.send(request("GET", "/a", ""));
    let told = last
        .try_answer("GET")
        .is_none_or(|answer| answer.status == 503 && answer.field("retry-after").is_some());
    assert!(told, "503 with Retry-After, or closed");
    let (_, metrics) = node.admin("GET", "/metrics", "");
    let shed =
        metrics.lines().find(|line| line.contains("limit=\"shed_total\"")).map(str::to_owned);
    assert!(shed.as_ref().is_some_and(|line| !line.ends_with(" 0")), "{shed:?}");
    drop(crowd);
    eventually("it recovers", || {
        let mut client = node.client();
        client.send(request("GET", "/b", ""));
        client.try_answer("GET").is_some_and(|answer| answer.body == body("/b"))
    });
    assert!(node.stop().success());
}

#[test]
fn reloads_under_load_good_bad_and_half_written_lose_no_request() {
    let rounds = if long() { 150 } else { 12 };
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let good = config(dir.path(), &origin, "");
    let node = Process::start(dir.path(), &good);
    let load = Load::start(node.addr(), 6, body);
    load.goes_on(50);
    let (mut taken, mut refused) = (0, 0);
    for round in 0..rounds {
        let (text, fine) = match round % 4 {
            0 => (format!("{good}default_ttl = \"{}s\"\n", 60 + round), true),
            1 => (good[..good.len() / 2 + round % 7].to_owned(), false),
            2 => (format!("{good}nonsense = 1\n"), false),
            _ => (good.replace("origin = \"app\"", "origin = \"none\""), false),
        };
        std::fs::write(dir.path().join("node.toml"), text).expect("written");
        node.signal("HUP");
        if fine {
            taken += 1
        } else {
            refused += 1
        };
        let (word, count) = match fine {
            true => ("configuration taken over", taken),
            false => ("configuration refused, nothing changed", refused),
        };
        eventually("it says what it did", || node.said().matches(word).count() >= count);
        load.goes_on(10);
        if long() {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
    let (answered, retried) = load.stop();
    println!("{rounds} reloads, {answered} answers, 0 failed, {retried} tried twice");
    assert_eq!(retried, 0);
    assert!(node.stop().success());
}

#[test]
fn a_stop_under_load_cuts_nothing_ends_in_time_and_leaves_the_store_warm() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let text =
        config(dir.path(), &origin, &format!("[node]\ndrain = \"3s\"\n{}", disk(dir.path())));
    let mut asked = 0;
    for _ in 0..if long() { 20 } else { 1 } {
        let node = joined(Process::start(dir.path(), &text));
        let addr = node.addr();
        let load = Load::start(addr, 6, body);
        load.goes_on(400);
        // Slow ones: a head that never ends, and a reader that reads nothing.
        let mut slow: Vec<Client> = (0..20).map(|_| node.client()).collect();
        for (n, client) in slow.iter_mut().enumerate() {
            client.send(if n % 2 == 0 {
                "GET /slow HTTP/1.1\r\nHost: si".into()
            } else {
                request("GET", "/load/1", "").repeat(50)
            });
        }
        asked = origin.count();
        node.signal("TERM");
        let start = brink::base::clock::instant();
        let ended = node.ended();
        assert!(ended.success(), "{ended}");
        assert!(start.elapsed() < DEADLINE, "{:?}", start.elapsed());
        // Whoever was let in was answered whole; the rest found nobody.
        eventually("the clients have noticed", || load.failed().len() == 6);
        let cut = |why: &&String| {
            !why.contains("nobody accepts")
                && !why.contains("no answer")
                && !why.contains("without an answer")
        };
        assert_eq!(load.failed().iter().filter(cut).count(), 0, "{:?}", load.failed());
    }
    let node = joined(Process::start(dir.path(), &text));
    let mut client = node.client();
    let hits = (0..200).filter(|n| client.get(&format!("/load/{n}")).is_hit()).count();
    assert!(hits * 4 >= asked.min(200) * 3, "{hits} warm; the origin had been asked {asked} times");
}
