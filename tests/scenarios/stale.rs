//! Serving stale: while a refresh runs (RFC 5861 3), when the origin fails (RFC 5861 4),
//! and never where the origin forbids it.

use crate::support::client::request;
use crate::support::reply::{fresh, status};
use crate::support::*;

/// First answer with these `Cache-Control` words, then `then` for every other request.
fn world(words: &str, then: Reply) -> (Origin, Node) {
    let first = ok(&format!("Cache-Control: {words}\r\nETag: \"v1\"\r\n"), "old");
    let origin = Origin::start(move |seen| if seen.n == 0 { first.clone() } else { then.clone() });
    let node = Node::before(&origin);
    node.client().get("/a").expect_miss("old");
    (origin, node)
}

#[test]
fn stale_entry_is_served_while_one_refresh_runs() {
    let gate = Gate::new();
    let mut then = Reply::default().wait(&gate);
    then.steps.extend(fresh(60, "new").steps);
    let (origin, node) = world("max-age=10, stale-while-revalidate=60", then);
    node.advance(20);
    for _ in 0..10 {
        node.client().get("/a").expect(200, "old");
    }
    origin.wait_for(2);
    gate.open();
    eventually("the refresh lands", || node.client().get("/a").text() == "new");
    assert_eq!(origin.count(), 2);
}

/// Found by the simulation (RFC 9111 5.2.1.1, 5.2.1.3).
#[test]
fn who_wants_it_fresh_for_a_while_is_not_given_what_is_stale() {
    for words in ["min-fresh=5", "min-fresh=0", "max-age=60"] {
        let (origin, node) = world("max-age=10, stale-while-revalidate=60", fresh(60, "new"));
        node.advance(20);
        let field = format!("Cache-Control: {words}\r\n");
        node.client().get_with("/a", &field).expect(200, "new");
        assert_eq!(origin.count(), 2, "{words}");
    }
}

#[test]
fn past_the_window_the_client_waits_for_the_origin() {
    let (origin, node) = world("max-age=10, stale-while-revalidate=60", fresh(60, "new"));
    node.advance(71);
    node.client().get("/a").expect(200, "new");
    assert_eq!(origin.count(), 2);
}

#[test]
fn stale_is_served_when_the_origin_fails_and_the_answer_allowed_it() {
    for failure in [status("503 Busy", "", "busy"), Reply::default().reset()] {
        let (_origin, node) = world("max-age=10, stale-if-error=60", failure);
        node.advance(20);
        node.client().get("/a").expect(200, "old");
        node.advance(60);
        assert!(node.client().get("/a").status >= 500);
    }
}

#[test]
fn stale_is_not_served_when_the_origin_forbids_it() {
    for words in [
        "max-age=10, stale-if-error=60, must-revalidate",
        "max-age=10, stale-if-error=60, proxy-revalidate",
        "s-maxage=10",
        "max-age=10, stale-if-error=60, no-cache",
    ] {
        let (_origin, node) = world(words, Reply::default().reset());
        node.advance(20);
        let answer = node.client().get("/a");
        assert_eq!(answer.status, 502, "{words}: {}", answer.head);
    }
}

#[test]
fn the_sites_own_windows_apply_when_the_answer_names_none() {
    let origin = Origin::start(|seen| match seen.n {
        0 => ok("Cache-Control: max-age=10\r\n", "old"),
        _ => status("500 Oops", "", "oops"),
    });
    let node = Node::with_site(&origin, "stale_if_error = \"1m\"");
    node.client().get("/a").expect_miss("old");
    node.advance(30);
    node.client().get("/a").expect(200, "old");
}

#[test]
fn a_304_freshens_what_is_stored() {
    let (origin, node) = world(
        "max-age=10",
        reply(
            "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nCache-Control: max-age=60\r\n\
             X-New: 1\r\n\r\n",
        ),
    );
    node.advance(20);
    node.client().get("/a").expect(200, "old");
    assert_eq!(origin.request(1).field("if-none-match").as_deref(), Some("\"v1\""));
    node.advance(30);
    let hit = node.client().get("/a");
    hit.expect_hit("old");
    assert_eq!(hit.field("x-new").as_deref(), Some("1"), "RFC 9111 3.2");
    assert_eq!(hit.age(), Some(30));
}

#[test]
fn a_200_replaces_what_was_stored() {
    let (_origin, node) =
        world("max-age=10", ok("Cache-Control: max-age=60\r\nETag: \"v2\"\r\n", "new"));
    node.advance(20);
    node.client().get("/a").expect(200, "new");
    node.client().get("/a").expect_hit("new");
}

#[test]
fn a_client_may_ask_for_stale_but_not_past_the_origins_word() {
    let (_origin, node) = world("max-age=10", fresh(60, "new"));
    node.advance(20);
    let answer = node.client().get_with("/a", "Cache-Control: max-stale=60\r\n");
    assert!(matches!(answer.text().as_str(), "old" | "new"));
    let (_origin, node) = world("max-age=10, must-revalidate", fresh(60, "new"));
    node.advance(20);
    node.client().get_with("/a", "Cache-Control: max-stale=60\r\n").expect(200, "new");
}

#[test]
fn a_refresh_that_breaks_leaves_the_stale_entry() {
    let bad =
        reply("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\ncut").cut();
    let (origin, node) = world("max-age=10, stale-while-revalidate=600", bad);
    node.advance(20);
    node.client().get("/a").expect(200, "old");
    origin.wait_for(2);
    for _ in 0..5 {
        node.client().get("/a").expect(200, "old");
    }
}

#[test]
fn a_purge_of_the_origin_by_post_beats_a_refresh_in_flight() {
    let (held, gate) = (Gate::new(), Gate::new());
    let (at_held, at_gate) = (held.clone(), gate.clone());
    let origin = Origin::start(move |seen| match (seen.method.as_str(), seen.n) {
        ("POST", _) => ok("", "done"),
        (_, 0) => {
            let reply = Reply::default().open(&at_held).wait(&at_gate);
            let mut reply = reply;
            reply.steps.extend(fresh(60, "before").steps);
            reply
        }
        _ => fresh(60, "after"),
    });
    let node = Node::before(&origin);
    let mut early = node.client();
    early.send(request("GET", "/a", ""));
    held.pass();
    node.client().ask("POST", "/a", "Content-Length: 0\r\n").expect(200, "done");
    gate.open();
    early.answer().expect(200, "before");
    node.client().get("/a").expect_miss("after");
}

/// Found by the simulation: a stored part was given to those who want the whole.
#[test]
fn a_stored_part_does_not_stand_in_for_the_whole_when_the_origin_fails() {
    let origin = Origin::start(|seen| match seen.n {
        0 => reply(
            "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\n\
             Content-Range: bytes 0-2/10\r\nContent-Length: 3\r\n\r\n012",
        ),
        _ => status("503 Busy", "", "busy"),
    });
    let node = Node::before(&origin);
    node.client().get_with("/a", "Range: bytes=0-2\r\n").expect(206, "012");
    for _ in 0..3 {
        assert_eq!(node.client().get("/a").status, 503);
    }
}
