//! A disk that hangs, behind HTTP: it costs what it holds, and nobody else waits for it.
//!
//! The node has one network thread, so a call to the device on it would stop everybody; that
//! nobody needs to be waited for is seen by answers on other connections while the device is
//! still held.

use std::path::Path;
use std::sync::Arc;

use brink::node::seams::{Seams, Wrap};
use brink::store::disk::State;
use brink::store::disk::faulty::{Fault, Faults, FaultyDevice, When};

use crate::support::reply::fresh;
use crate::support::*;

const BODY: usize = 100_000;
const OBJECTS: usize = 40;

fn origin() -> Origin {
    Origin::start(|seen| fresh(3600, body(&seen.target)))
}

fn body(target: &str) -> Vec<u8> {
    target.bytes().cycle().take(BODY).collect()
}

/// A node of one thread with all objects on disk and none of the first in memory.
fn filled(origin: &Origin, dir: &Path, disk: &str) -> (Node, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let lent = Arc::clone(&faults);
    let wrap: Wrap =
        Arc::new(move |_, device| Arc::new(FaultyDevice::new(device, Arc::clone(&lent))));
    let sections = format!(
        "[node]\nthreads = 1\n[memory]\ncapacity = \"1MiB\"\n[disk]\nadmit = \"all\"\n\
         segment = \"1MiB\"\n{disk}\n[[disk.directory]]\npath = {dir:?}\ncapacity = \"64MiB\"\n\
         [[origin]]\nname = \"app\"\nservers = [\"http://{}\"]\n[[site]]\norigin = \"app\"\n",
        origin.addr
    );
    let node = Node::start_with(&sections, &Seams { device: Some(wrap), upstream: None });
    eventually("the disk has joined", || node.disk().state == State::Ready);
    // What is shed, where little may wait, is offered again.
    eventually("all of it is written", || {
        ask(&node, 0..OBJECTS);
        node.disk().records == OBJECTS as u64
    });
    eventually("the writer rests", || node.disk().queued_bytes == 0);
    (node, faults)
}

/// Asks for objects: every answer is whole and right. How many were hits.
fn ask(node: &Node, names: impl IntoIterator<Item = usize>) -> usize {
    let mut client = node.client();
    let hit = |n: &usize| {
        let target = format!("/object-{n}");
        let answer = client.get(&target);
        assert_eq!((answer.status, answer.ended), (200, Ended::Clean), "{}", answer.head);
        assert!(answer.body == body(&target), "{target}");
        answer.is_hit()
    };
    names.into_iter().filter(hit).count()
}

fn shed(node: &Node) -> u64 {
    let counters = node.disk().counters;
    counters.iter().find(|(name, _)| *name == "writes_shed").expect("the counter").1
}

#[test]
fn a_read_that_hangs_holds_up_nobody_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let (node, faults) = filled(&origin, dir.path(), "read_timeout = \"1m\"");
    faults.arm(When::From(0), Fault::Hang);
    let mut held: Vec<_> = (0..3)
        .map(|n| {
            let mut client = node.client();
            client.send(client::request("GET", &format!("/object-{n}"), ""));
            client
        })
        .collect();
    eventually("the reads hang", || faults.hanging() >= 3);
    // Misses, a hit in memory, another connection each: all by the one network thread.
    for n in 1_000..1_020 {
        assert_eq!(ask(&node, [n, n]), 1, "{n} is fetched, and then a hit");
    }
    assert!(faults.hanging() >= 3, "they hang all the while");
    faults.disarm();
    for (n, client) in held.iter_mut().enumerate() {
        let answer = client.answer();
        assert!(answer.is_hit() && answer.body == body(&format!("/object-{n}")), "{}", answer.head);
    }
}

#[test]
fn a_read_that_hangs_for_too_long_is_a_miss() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let (node, faults) = filled(&origin, dir.path(), "read_timeout = \"50ms\"");
    faults.arm(When::From(0), Fault::Hang);
    assert_eq!(ask(&node, 0..3), 0, "from the origin");
    faults.disarm();
}

#[test]
fn a_disk_that_hangs_sheds_writes_and_no_request() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = origin();
    let (node, faults) = filled(&origin, dir.path(), "queue_max = \"1MiB\"");
    let before = shed(&node);
    faults.arm(When::From(0), Fault::Hang);
    // Thirty times what may wait: what is too much is not written.
    assert_eq!(ask(&node, 2_000..2_300), 0);
    let stats = node.disk();
    assert!(shed(&node) >= before + 280, "{} shed", shed(&node) - before);
    assert!(stats.queued_bytes <= 2 << 20, "{} bytes wait", stats.queued_bytes);
    assert_eq!(stats.state, State::Ready);
    faults.disarm();
    eventually("writes resume", || {
        ask(&node, 3_000..3_005);
        ask(&node, 3_000..3_005) == 5 && node.disk().queued_bytes == 0
    });
    assert!(node.disk().records > OBJECTS as u64);
}
