//! Purges through the admin API: in effect at once, and they doom what is in flight.

use crate::support::client::{HOST, request};
use crate::support::reply::{fresh, status};
use crate::support::*;

struct World {
    origin: Origin,
    node: Node,
    token: String,
    _dir: tempfile::TempDir,
}

fn world(script: impl Fn(&origin::Seen) -> Reply + Send + Sync + 'static) -> World {
    let dir = tempfile::tempdir().expect("a directory for the token");
    let origin = Origin::start(script);
    let node = Node::with_admin(&origin, dir.path());
    let token = std::fs::read_to_string(dir.path().join("token")).expect("the token file");
    let last = token.lines().rfind(|line| !line.starts_with('#')).unwrap_or_default();
    let token = last.split_whitespace().last().unwrap_or_default().to_owned();
    World { origin, node, token, _dir: dir }
}

fn counting() -> World {
    world(|seen| {
        ok("Cache-Control: max-age=600\r\nSurrogate-Key: all even\r\n", format!("{}", seen.n))
    })
}

impl World {
    #[track_caller]
    fn purge(&self, body: &str) -> Answer {
        let mut client = self.node.admin();
        client.send(format!(
            "POST /v1/purge HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        ));
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{body}: {} {}", answer.head, answer.text());
        answer
    }

    fn url(&self, path: &str) -> String {
        format!("http://{HOST}{path}")
    }
}

#[test]
fn a_purged_url_is_gone_and_its_neighbour_stays() {
    let world = counting();
    world.node.client().get("/a").expect_miss("0");
    world.node.client().get("/b").expect_miss("1");
    world.purge(&format!("{{\"urls\": [\"{}\"]}}", world.url("/a")));
    world.node.client().get("/a").expect_miss("2");
    world.node.client().get("/b").expect_hit("1");
}

#[test]
fn a_purge_by_tag_takes_all_that_carry_it_and_the_tag_stays_here() {
    let world = counting();
    let first = world.node.client().get("/a");
    assert_eq!(first.field("surrogate-key"), None, "{}", first.head);
    world.node.client().get("/b");
    world.purge("{\"tags\": [\"even\"]}");
    world.node.client().get("/a").expect_miss("2");
    world.node.client().get("/b").expect_miss("3");
}

#[test]
fn a_purge_of_everything_takes_everything() {
    let world = counting();
    for path in ["/a", "/b", "/c"] {
        world.node.client().get(path);
    }
    world.purge("{\"everything\": true}");
    for path in ["/a", "/b", "/c"] {
        assert!(!world.node.client().get(path).is_hit());
    }
}

#[test]
fn a_purge_during_a_fetch_dooms_its_result() {
    let (held, gate) = (Gate::new(), Gate::new());
    let (at_held, at_gate) = (held.clone(), gate.clone());
    let world = world(move |seen| match seen.n {
        0 => {
            let mut reply = Reply::default().open(&at_held).wait(&at_gate);
            reply.steps.extend(fresh(600, "before").steps);
            reply
        }
        _ => fresh(600, "after"),
    });
    let mut early = world.node.client();
    early.send(request("GET", "/a", ""));
    held.pass();
    world.purge(&format!("{{\"urls\": [\"{}\"]}}", world.url("/a")));
    gate.open();
    early.answer().expect(200, "before");
    world.node.client().get("/a").expect_miss("after");
    world.node.client().get("/a").expect_hit("after");
    assert_eq!(world.origin.count(), 2);
}

#[test]
fn a_soft_purge_makes_stale_and_asks_again() {
    let world = world(|seen| match seen.field("if-none-match") {
        None => ok("Cache-Control: max-age=600\r\nETag: \"v1\"\r\n", "body"),
        Some(_) => {
            reply("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nCache-Control: max-age=600\r\n\r\n")
        }
    });
    world.node.client().get("/a").expect_miss("body");
    world.purge(&format!("{{\"urls\": [\"{}\"], \"soft\": true}}", world.url("/a")));
    world.node.client().get("/a").expect(200, "body");
    world.origin.wait_for(2);
    assert!(world.origin.request(1).field("if-none-match").is_some());
}

/// Found by the simulation: the soft purge was forgotten by those who joined the fetch.
#[test]
fn a_soft_purge_is_not_answered_by_a_fetch_from_before_it() {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let world = world(move |seen| match seen.n {
        0 => reply("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 6\r\n\r\nbef")
            .wait(&at_gate)
            .send("ore"),
        _ => fresh(600, "after"),
    });
    let mut early = world.node.client();
    early.send(request("GET", "/a", ""));
    world.origin.wait_for(1);
    world.purge(&format!("{{\"urls\": [\"{}\"], \"soft\": true}}", world.url("/a")));
    world.node.client().get("/a").expect_miss("after");
    gate.open();
    early.answer().expect(200, "before");
}

/// Found by the simulation: the 304 of a revalidation from before the purge undid it.
#[test]
fn a_soft_purge_during_a_revalidation_is_not_undone_by_its_304() {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let fields = "Cache-Control: max-age=600\r\nETag: \"v1\"\r\n";
    let world = world(move |seen| match seen.n {
        0 => ok(fields, "body"),
        1 => Reply::default()
            .wait(&at_gate)
            .send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")),
        _ => reply(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")),
    });
    world.node.client().get("/a").expect_miss("body");
    world.node.advance(700);
    let mut early = world.node.client();
    early.send(request("GET", "/a", ""));
    world.origin.wait_for(2);
    world.purge("{\"everything\": true, \"soft\": true}");
    gate.open();
    early.answer().expect(200, "body");
    assert!(!world.node.client().get("/a").is_hit());
    assert_eq!(world.origin.count(), 3);
}

/// The simulation showed the first: what was purged answered through fetches from before.
#[test]
fn what_is_purged_while_the_origin_is_asked_about_it_is_neither_confirmed_nor_a_rescue() {
    let fields = "Cache-Control: max-age=10, stale-if-error=900\r\nETag: \"v1\"\r\n";
    let confirmed = reply(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"));
    let answers = [confirmed, status("503 Busy", "", "busy"), Reply::default().reset()];
    for (asked, second) in answers.into_iter().enumerate() {
        let gate = Gate::new();
        let at_gate = gate.clone();
        let world = world(move |seen| match seen.n {
            0 => ok(fields, "purged"),
            1 => {
                let mut reply = Reply::default().wait(&at_gate);
                reply.steps.extend(second.steps.clone());
                reply
            }
            _ => fresh(600, "after"),
        });
        world.node.client().get("/a").expect_miss("purged");
        world.node.advance(20);
        let mut early = world.node.client();
        early.send(request("GET", "/a", ""));
        world.origin.wait_for(2);
        world.purge(&format!("{{\"urls\": [\"{}\"]}}", world.url("/a")));
        gate.open();
        let answer = early.answer();
        assert_ne!(answer.text(), "purged", "answer {asked} of the origin: {}", answer.head);
    }
}

/// Found by the simulation: the newer answer varies, the older one did not.
#[test]
fn what_another_vary_has_replaced_does_not_come_back_when_that_is_purged() {
    let world = world(|seen| match seen.n {
        0 => fresh(60, "old"),
        1 => ok("Cache-Control: max-age=60\r\nVary: X-Kind\r\nSurrogate-Key: t\r\n", "new"),
        _ => fresh(60, "newest"),
    });
    world.node.client().get("/a").expect(200, "old");
    world.node.client().get_with("/a", "Cache-Control: no-cache\r\n").expect(200, "new");
    world.purge("{\"tags\": [\"t\"]}");
    world.node.client().get("/a").expect(200, "newest");
}
