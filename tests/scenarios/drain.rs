//! A graceful stop: what runs is finished, what is idle is closed, nobody new comes in.

use crate::support::client::request;
use crate::support::frames::{Fate, kind};
use crate::support::reply::fresh;
use crate::support::*;

fn slow() -> (Origin, Gate) {
    let gate = Gate::new();
    let at_origin = gate.clone();
    let origin = Origin::start(move |seen| match seen.target.as_str() {
        "/slow" => {
            let mut reply = Reply::default().wait(&at_origin);
            reply.steps.extend(fresh(60, "finished").steps);
            reply
        }
        _ => fresh(60, "x"),
    });
    (origin, gate)
}

#[test]
fn a_running_exchange_is_finished_and_then_closed() {
    let (origin, gate) = slow();
    let node = Node::before(&origin);
    let mut client = node.client();
    client.send(request("GET", "/slow", ""));
    origin.wait_for(1);
    let stopping = node.drain();
    gate.open();
    let answer = client.answer();
    answer.expect(200, "finished");
    client.expect_closed();
    drop(client);
    assert_eq!(stopping.join().expect("the drain ends"), 0, "cut connections");
}

#[test]
fn idle_connections_are_closed_at_once() {
    let (origin, _gate) = slow();
    let node = Node::before(&origin);
    let mut used = node.client();
    used.get("/a").expect(200, "x");
    let mut fresh = node.client();
    let mut tls = node.tls_client();
    tls.get("/a").expect(200, "x");
    let stopping = node.drain();
    used.expect_closed();
    fresh.expect_closed();
    tls.expect_closed();
    drop((used, fresh, tls));
    stopping.join().expect("the drain ends");
}

#[test]
fn an_http_2_connection_is_told_to_go_away_and_its_streams_finish() {
    let (origin, gate) = slow();
    let node = Node::before(&origin);
    let mut raw = node.raw_h2();
    raw.get(1, "/slow", &[]);
    origin.wait_for(1);
    let stopping = node.drain();
    let told = std::iter::from_fn(|| raw.next()).any(|frame| frame.kind == kind::GOAWAY);
    assert!(told, "GOAWAY comes while the stream runs");
    gate.open();
    assert_eq!(raw.fate(1), Fate::Answered(200, b"finished".to_vec()));
    drop(raw);
    stopping.join().expect("the drain ends");
}

#[test]
fn nobody_new_comes_in() {
    let (origin, gate) = slow();
    let node = Node::before(&origin);
    let addr = node.tls_addr();
    let mut client = node.client();
    client.send(request("GET", "/slow", ""));
    origin.wait_for(1);
    let stopping = node.drain();
    eventually("the listener closes", || std::net::TcpStream::connect(addr).is_err());
    gate.open();
    client.answer().expect(200, "finished");
    drop(client);
    stopping.join().expect("the drain ends");
}
