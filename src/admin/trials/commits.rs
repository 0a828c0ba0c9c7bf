//! Purges that come together, and callers that leave.

use std::io;

use parking_lot::{Condvar, Mutex};

use super::purges::eventually;
use super::*;
use crate::admin::commit::{Order, commit};
use crate::admin::sweep::{Report, Sweeper};
use crate::admin::{audit, commit, limit, warm};
use crate::rules::purge::{Purge, What};

/// A ledger file whose sync takes until it is let on; it notes the numbers of each append.
#[derive(Default)]
struct Slow {
    open: Mutex<bool>,
    moved: Condvar,
    appends: Mutex<Vec<Vec<u64>>>,
}

impl Slow {
    fn let_on(&self) {
        *self.open.lock() = true;
        self.moved.notify_all();
    }
}

impl Durable for Slow {
    fn append(&self, purges: &[Purge]) -> io::Result<()> {
        self.appends.lock().push(purges.iter().map(|purge| purge.seq).collect());
        let mut open = self.open.lock();
        while !*open {
            self.moved.wait(&mut open);
        }
        Ok(())
    }

    fn forgotten(&self, _upto: u64, _ledger: &Ledger) -> io::Result<()> {
        Ok(())
    }
}

fn state(durable: Arc<dyn Durable>) -> Arc<crate::admin::State> {
    let handles = Handles { durable: Some(durable), ..lent() };
    Arc::new(crate::admin::State {
        sweeper: Sweeper::new(&handles),
        tokens: Arc::new(crate::admin::Tokens::open(None).unwrap()),
        limits: limit::Limits::new(1_000, 1_000, 30),
        audit: audit::Audit::new(None),
        hosts: Vec::new(),
        jobs: warm::Jobs::default(),
        history: Default::default(),
        advice: Default::default(),
        purgers: commit::Purgers::default(),
        handles,
    })
}

fn order(whats: Vec<What>) -> Order {
    let report = Report {
        seq: 0,
        at_ms: WALL_MS,
        who: "test".to_owned(),
        items: Vec::new(),
        items_total: whats.len(),
        soft: false,
        found: Default::default(),
    };
    Order { whats, report, counted: false }
}

#[tokio::test]
async fn purges_that_come_together_share_one_append_and_have_numbers_of_their_own() {
    let slow = Arc::new(Slow::default());
    slow.let_on();
    let state = state(slow.clone());
    let calls = (0..32).map(|n| {
        let whats = vec![What::tag(&format!("a{n}")).unwrap(), What::tag("b").unwrap()];
        commit(&state, order(whats))
    });
    let told = futures_util::future::join_all(calls).await;
    let mut numbers: Vec<u64> = told.into_iter().map(|told| told.unwrap().seq).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=32).map(|n| n * 2).collect::<Vec<u64>>());
    assert_eq!(*slow.appends.lock(), [(1..=64).collect::<Vec<u64>>()], "one append");
    assert_eq!((state.handles.ledger.seq(), state.handles.ledger.len()), (64, 64));
}

#[tokio::test]
async fn of_two_calls_with_patterns_each_is_checked_against_what_is_in_force() {
    let slow = Arc::new(Slow::default());
    slow.let_on();
    let state = state(slow.clone());
    let many = |from: usize| {
        let pattern = |n| What::pattern(&format!("/x{n}/"), false).unwrap();
        (from..from + 200).map(pattern).collect::<Vec<_>>()
    };
    let calls = [commit(&state, order(many(0))), commit(&state, order(many(200)))];
    let told = futures_util::future::join_all(calls).await;
    assert_eq!(told.iter().filter(|told| told.is_ok()).count(), 1, "256 patterns at most");
    assert_eq!(state.handles.ledger.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_does_not_leave_its_number_to_the_next() {
    let slow = Arc::new(Slow::default());
    let durable = slow.clone();
    let bench = Bench::with(|_| {}, |handles| handles.durable = Some(durable)).await;
    let body = r#"{"tags":["first"]}"#;
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    let (token, length) = (&bench.token, body.len());
    let request = format!(
        "POST /v1/purge HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    eventually("it is being made durable", || slow.appends.lock().len() == 1).await;
    drop(stream);
    slow.let_on();
    eventually("it is in effect all the same", || bench.handles.ledger.seq() == 1).await;
    let reply = bench.post("/v1/purge", r#"{"tags":["second"]}"#).await;
    assert_eq!(reply.json()["seq"], 2, "{reply:?}");
    assert_eq!(*slow.appends.lock(), [vec![1], vec![2]]);
}
