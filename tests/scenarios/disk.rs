//! The disk tier seen from outside: what memory gives up is found there, a restart keeps
//! it, and a broken file is a miss and never a wrong byte.

use std::path::Path;

use crate::support::reply::fresh;
use crate::support::*;

/// 40 objects of 100 KB, each with bytes of its own.
fn origin() -> Origin {
    Origin::start(|seen| fresh(3600, body(&seen.target)))
}

fn body(target: &str) -> Vec<u8> {
    target.bytes().cycle().take(100_000).collect()
}

fn fill(node: &Node) {
    let mut client = node.client();
    for n in 0..40 {
        let target = format!("/object-{n}");
        assert!(client.get(&target).body == body(&target));
    }
}

fn hits(node: &Node) -> usize {
    let mut client = node.client();
    (0..40)
        .filter(|n| {
            let target = format!("/object-{n}");
            let answer = client.get(&target);
            assert!(answer.body == body(&target) && answer.ended == Ended::Clean, "{target}");
            answer.is_hit()
        })
        .count()
}

/// A node that has all of it on disk.
fn filled(origin: &Origin, dir: &Path) -> Node {
    let node = Node::with_disk(origin, dir);
    fill(&node);
    eventually("the writer catches up", || hits(&node) == 40);
    node
}

#[test]
fn what_does_not_fit_in_memory_is_served_from_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let node = Node::with_disk(&origin, dir.path());
    fill(&node);
    eventually("the writer catches up", || hits(&node) == 40);
}

#[test]
fn a_restart_keeps_what_was_stored() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let node = filled(&origin, dir.path());
    node.stop();
    let asked = origin.count();
    let node = Node::with_disk(&origin, dir.path());
    assert!(hits(&node) >= 38, "after a clean restart");
    assert!(origin.count() <= asked + 2);
}

#[test]
fn a_garbled_store_is_a_miss_and_never_a_wrong_byte() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let node = filled(&origin, dir.path());
    node.stop();
    garble(dir.path());
    let node = Node::with_disk(&origin, dir.path());
    hits(&node);
    assert!(hits(&node) > 0, "it caches again");
}

#[test]
fn a_freshened_object_is_fresh_in_both_tiers() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = Origin::start(|seen| match seen.field("if-none-match") {
        Some(_) => reply("HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=1000\r\n\r\n"),
        None => ok("Cache-Control: max-age=10\r\nETag: \"a\"\r\n", body(&seen.target)),
    });
    let node = filled(&origin, dir.path());
    node.advance(20);
    // Found stale on disk, confirmed by the origin, and again served from disk.
    assert_eq!(hits(&node), 0, "each is confirmed");
    eventually("the writer catches up", || hits(&node) == 40);
    let asked = origin.count();
    node.stop();
    let node = Node::with_disk(&origin, dir.path());
    node.advance(100);
    assert!(hits(&node) >= 38, "what the 304 said outlives the process");
    assert!(origin.count() <= asked + 2);
}

#[test]
fn a_purge_ledger_that_is_lost_purges_everything_that_was_stored() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let node = filled(&origin, dir.path());
    node.stop();
    std::fs::remove_file(dir.path().join("purges.brink")).expect("the ledger's file");
    let node = Node::with_disk(&origin, dir.path());
    assert_eq!(hits(&node), 0, "nobody knows what of it was purged");
    eventually("it caches again", || hits(&node) == 40);
    node.stop();
    let node = Node::with_disk(&origin, dir.path());
    assert!(hits(&node) >= 38, "what came after the loss is kept");
}

/// Flips one byte in every 10 KB of every file.
fn garble(dir: &Path) {
    for entry in std::fs::read_dir(dir).expect("the directory").flatten() {
        if entry.path().is_dir() {
            garble(&entry.path());
        } else if let Ok(mut bytes) = std::fs::read(entry.path()) {
            bytes.iter_mut().skip(9000).step_by(10_007).for_each(|byte| *byte ^= 0x40);
            std::fs::write(entry.path(), bytes).expect("written back");
        }
    }
}
