//! A disk directory in and out of service, seen from outside a running program: what
//! `/readyz`, the metrics, the log, the admin API and the command line say of it.

use std::path::Path;

use crate::support::process::config;
use crate::support::reply::fresh;
use crate::support::*;

const BODY: usize = 200_000;

fn origin() -> Origin {
    Origin::start(|seen| fresh(3600, body(&seen.target)))
}

fn body(target: &str) -> Vec<u8> {
    target.bytes().cycle().take(BODY).collect()
}

/// Two directories, of which few faults take one out.
fn node(dir: &Path, origin: &Origin) -> Process {
    let more = format!(
        "[memory]\ncapacity = \"1MiB\"\n[disk]\nadmit = \"all\"\nsegment = \"1MiB\"\n\
         faults_max = 3\nread_timeout = \"1m\"\n\
         [[disk.directory]]\npath = {:?}\ncapacity = \"64MiB\"\n\
         [[disk.directory]]\npath = {:?}\ncapacity = \"64MiB\"",
        dir.join("one"),
        dir.join("two")
    );
    let node = Process::start(dir, &config(dir, origin, &more));
    eventually("the disk has joined", || node.admin("GET", "/readyz", "").0 == 200);
    node
}

/// Fetches new objects: every answer is whole and none is an error.
fn fetch(node: &Process, from: &mut usize, count: usize) {
    let mut client = node.client();
    for n in *from..*from + count {
        let target = format!("/object-{n}");
        let answer = client.get(&target);
        assert_eq!((answer.status, answer.ended), (200, Ended::Clean), "{}", answer.head);
        assert!(answer.body == body(&target), "{target}");
    }
    *from += count;
}

fn hits(node: &Process, count: usize) -> usize {
    let mut client = node.client();
    let hit = |n: &usize| {
        let target = format!("/object-{n}");
        let answer = client.get(&target);
        assert!(answer.status == 200 && answer.body == body(&target), "{target}");
        answer.is_hit()
    };
    (0..count).filter(hit).count()
}

fn ready_line(node: &Process, dir: &str) -> String {
    let (_, text) = node.admin("GET", "/readyz", "");
    let line = text.lines().find(|line| line.contains(dir));
    line.unwrap_or_else(|| panic!("no line of {dir}: {text}")).to_owned()
}

fn metric(node: &Process, start: &str) -> String {
    let (_, text) = node.admin("GET", "/metrics", "");
    let line = text.lines().find(|line| line.starts_with(start));
    line.unwrap_or_else(|| panic!("no metric {start}")).to_owned()
}

#[test]
fn a_directory_that_vanishes_is_taken_out_said_everywhere_and_put_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let node = node(dir.path(), &origin);
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    assert!(ready_line(&node, "/one").ends_with("/one ready"));
    let mut next = 0;
    fetch(&node, &mut next, 40);
    std::fs::remove_dir_all(&one).expect("the device vanishes");
    eventually("it is taken out", || {
        fetch(&node, &mut next, 10);
        ready_line(&node, "/one").contains(" out: ")
    });
    let (status, text) = node.admin("GET", "/readyz", "");
    assert!(status == 200 && text.starts_with("ready\n"), "it goes on serving: {text}");
    assert!(ready_line(&node, "/two").ends_with("/two ready"));
    let up = |dir: &Path| format!("brink_disk_up{{directory={dir:?}}}");
    assert!(metric(&node, &up(&one)).ends_with(" 0.0"), "{}", metric(&node, &up(&one)));
    assert!(metric(&node, &up(&two)).ends_with(" 1.0"));
    node.wait_said("taken out after repeated faults");
    let (_, text) = node.admin("GET", "/v1/disk", "");
    assert!(text.contains("\"state\":\"out\""), "{text}");
    eventually("its files are let go", || {
        !node.open_files().iter().any(|name| name.contains("/one/segments"))
    });
    // What fell to the directory that is out is served by the origin, the rest is kept.
    fetch(&node, &mut next, 10);
    let order = format!("{{\"directory\":{one:?},\"state\":\"ready\"}}");
    let (status, text) = node.admin("PUT", "/v1/disk", &order);
    assert!(status == 200 && text.contains("\"state\":\"ready\""), "{status} {text}");
    node.wait_said("disk directory is put back");
    assert!(ready_line(&node, "/one").ends_with("/one ready"));
    assert!(metric(&node, &up(&one)).ends_with(" 1.0"));
    eventually("it is used again", || {
        fetch(&node, &mut next, 10);
        one.join("segments").read_dir().is_ok_and(|mut files| files.next().is_some())
    });
    assert!(node.stop().success());
}

#[test]
fn a_directory_is_taken_out_and_put_back_warm_by_the_command_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let node = node(dir.path(), &origin);
    let (one, mut next) = (dir.path().join("one"), 0);
    fetch(&node, &mut next, 40);
    eventually("the writer catches up", || hits(&node, 40) == 40);
    let path = one.to_string_lossy().into_owned();
    let (done, text) = node.verb(&["cache", "take-out", &path, "--json"]);
    assert!(done && text.contains("\"state\": \"out\""), "{text}");
    assert!(ready_line(&node, "/one").ends_with("out: taken out by hand"));
    let (done, text) = node.verb(&["cache", "status"]);
    assert!(done && text.contains("out ") && text.contains("ready "), "{text}");
    eventually("its files are let go", || {
        !node.open_files().iter().any(|name| name.contains("/one/segments"))
    });
    assert!(hits(&node, 40) < 40, "what is on it is not used");
    let (done, text) = node.verb(&["cache", "put-back", &path]);
    assert!(done && text.starts_with("ready"), "{text}");
    eventually("it is warm", || hits(&node, 40) == 40);
    let (done, text) = node.verb(&["cache", "put-back", "/no/such/directory"]);
    assert!(!done && text.contains("no disk directory"), "{text}");
}

#[test]
fn a_purge_while_a_directory_is_out_holds_when_it_is_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let node = node(dir.path(), &origin);
    let mut next = 0;
    fetch(&node, &mut next, 40);
    eventually("the writer catches up", || hits(&node, 40) == 40);
    let path = dir.path().join("two").to_string_lossy().into_owned();
    assert!(node.verb(&["cache", "take-out", &path]).0);
    let everything = format!("http://{}/", client::HOST);
    assert!(node.verb(&["purge", "prefix", &everything]).0);
    assert!(node.verb(&["cache", "put-back", &path]).0);
    assert_eq!(hits(&node, 40), 0, "purged while it was out");
}

#[test]
fn a_directory_that_cannot_be_used_at_the_start_is_out_and_comes_back_without_losing_a_purge() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let all = node(dir.path(), &origin);
    let mut next = 0;
    fetch(&all, &mut next, 40);
    eventually("the writer catches up", || hits(&all, 40) == 40);
    assert!(all.stop().success());
    // The first directory, which has the purge ledger too, is not there; a file is.
    let (one, away) = (dir.path().join("one"), dir.path().join("away"));
    std::fs::rename(&one, &away).expect("moved away");
    std::fs::write(&one, b"").expect("something in its place");
    let part = node(dir.path(), &origin);
    assert!(ready_line(&part, "/one").contains(" out: "), "{}", ready_line(&part, "/one"));
    assert!(ready_line(&part, "/two").ends_with("/two ready"));
    eventually("it caches with what there is", || hits(&part, 40) > 0);
    assert!(part.verb(&["purge", "prefix", &format!("http://{}/", client::HOST)]).0);
    std::fs::remove_file(&one).expect("removed");
    std::fs::rename(&away, &one).expect("back again");
    let (done, text) = part.verb(&["cache", "put-back", &one.to_string_lossy()]);
    assert!(done, "{text}");
    assert_eq!(hits(&part, 40), 0, "purged while it was away");
    eventually("the writer catches up", || hits(&part, 40) == 40);
    assert!(part.stop().success());
    let all = node(dir.path(), &origin);
    assert!(hits(&all, 40) >= 38, "warm with both directories");
    assert!(!dir.path().join("two/purges.brink").exists(), "one ledger stays");
}
