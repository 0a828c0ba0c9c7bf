//! Stale as a shield: an outage of the whole origin is invisible for everything cached
//! within its grace, the origin is left in peace meanwhile, and it is not run over when
//! it comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::support::reply::status;
use crate::support::*;

const KEYS: usize = 60;

/// Healthy, resetting, hanging or failing, as the test says.
#[derive(Clone, Default)]
struct Mood(Arc<AtomicU8>);

const WELL: u8 = 0;
const RESETS: u8 = 1;
const HANGS: u8 = 2;
const ERRORS: u8 = 3;
const WELL_AGAIN: u8 = 4;

impl Mood {
    fn set(&self, mood: u8) {
        self.0.store(mood, Ordering::SeqCst);
    }

    fn origin(&self, words: &'static str) -> Origin {
        let mood = self.clone();
        Origin::start(move |seen| match mood.0.load(Ordering::SeqCst) {
            RESETS => Reply::default().reset(),
            HANGS => Reply::default().hold(),
            ERRORS => status("503 Busy", "", "busy"),
            now => {
                let age = if now == WELL { "old" } else { "new" };
                ok(&format!("Cache-Control: {words}\r\n"), format!("{age} {}", seen.target))
            }
        })
    }
}

/// Every key once; the bodies begin with `old` or `new`.
fn ask_all(client: &mut Client) -> Vec<String> {
    let ask = |n| {
        let answer = client.get(&format!("/{n}"));
        assert_eq!(answer.status, 200, "/{n}: {}", answer.head);
        assert!(answer.text().ends_with(&format!(" /{n}")), "{}", answer.text());
        answer.text()
    };
    (0..KEYS).map(ask).collect()
}

fn asked_since(origin: &Origin, before: usize) -> Vec<usize> {
    let mut counts = vec![0; KEYS];
    for seen in origin.requests().iter().skip(before) {
        counts[seen.target[1..].parse::<usize>().expect("a number")] += 1;
    }
    counts
}

#[test]
fn an_outage_of_the_whole_origin_is_invisible_within_the_grace_and_its_end_is_no_herd() {
    for trouble in [RESETS, ERRORS] {
        let mood = Mood::default();
        let origin = mood.origin("max-age=10");
        let node = Node::with(&origin, "retry = { probes = 1 }", "stale_if_error = \"1h\"");
        let mut client = node.client();
        ask_all(&mut client);
        node.advance(60);
        mood.set(trouble);
        let before = origin.count();
        let began = brink::base::clock::instant();
        for _ in 0..10 {
            assert!(ask_all(&mut client).iter().all(|text| text.starts_with("old")));
            node.advance(40);
        }
        let seconds = began.elapsed().as_secs() as usize;
        let asked = origin.count() - before;
        // Five failures tell that it fails; then one a second looks whether it is back.
        assert!(asked <= 5 + 1 + seconds + 1, "{asked} in {seconds} s for {} requests", 10 * KEYS);
        mood.set(WELL_AGAIN);
        let before = origin.count();
        node.advance(60);
        // The refreshes are behind the answers: they land between two rounds.
        eventually("everything is fresh again", || {
            ask_all(&mut client).iter().all(|text| text.starts_with("new"))
        });
        assert!(asked_since(&origin, before).iter().all(|count| *count == 1), "one each");
    }
}

#[test]
fn an_origin_that_hangs_costs_a_client_with_a_stale_copy_a_bounded_wait() {
    let mood = Mood::default();
    let origin = mood.origin("max-age=10");
    let node = Node::start(&format!(
        "[serve]\nstale_wait = \"100ms\"\n[[origin]]\nname = \"app\"\n\
         servers = [\"http://{}\"]\ntimeouts = {{ first_byte = \"1h\", head = \"1h\" }}\n\
         [[site]]\norigin = \"app\"\nstale_if_error = \"1h\"\n",
        origin.addr
    ));
    let mut client = node.client();
    client.get("/1").expect(200, "old /1");
    node.advance(60);
    mood.set(HANGS);
    for _ in 0..3 {
        client.get("/1").expect(200, "old /1");
    }
    assert_eq!(origin.count(), 2, "one request at the origin, and the others do not add to it");
}

#[test]
fn without_a_copy_or_past_the_grace_the_failure_is_told() {
    let mood = Mood::default();
    let origin = mood.origin("max-age=10");
    let node = Node::with_site(&origin, "grace = \"5m\"");
    let mut client = node.client();
    client.get("/1").expect(200, "old /1");
    mood.set(RESETS);
    node.advance(60);
    client.get("/1").expect(200, "old /1");
    assert_eq!(client.get("/2").status, 502);
    node.advance(600);
    assert_eq!(client.get("/1").status, 502);
}

#[test]
fn refreshes_of_what_became_stale_together_are_spread() {
    let mood = Mood::default();
    let origin = mood.origin("max-age=10, stale-while-revalidate=600");
    let node = Node::before(&origin);
    let mut client = node.client();
    ask_all(&mut client);
    mood.set(WELL_AGAIN);
    node.clock.advance(Duration::from_millis(10_500));
    let fresh = |texts: Vec<String>| texts.iter().filter(|text| text.starts_with("new")).count();
    eventually("some are refreshed", || fresh(ask_all(&mut client)) > 5);
    assert!(fresh(ask_all(&mut client)) < KEYS, "half a second later not yet all");
    node.advance(1);
    eventually("all are refreshed", || fresh(ask_all(&mut client)) == KEYS);
    assert_eq!(origin.count(), 2 * KEYS);
}
