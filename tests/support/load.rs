//! Clients that ask without a pause while a test does something to the node, and count.
//!
//! Half of them keep their connection, half make a new one for each request. A connection
//! that the node closes before it has said a word of an answer is tried once more on a new
//! one, as RFC 9112 9.3.1 has clients do, and counted; everything else that is not a whole
//! and right answer is a failure.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::client::request;
use super::{Ended, Process};

/// What the clients have seen so far.
#[derive(Default)]
pub struct Seen {
    /// Right answers.
    pub answered: AtomicU64,
    /// Requests sent a second time, see the head of this file.
    pub retried: AtomicU64,
    failed: Mutex<Vec<String>>,
    over: AtomicBool,
}

/// Clients at work.
pub struct Load {
    /// What they see.
    pub seen: Arc<Seen>,
    threads: Vec<JoinHandle<()>>,
}

/// The body that belongs to a target.
pub type BodyOf = fn(&str) -> Vec<u8>;

impl Load {
    /// Starts `clients` clients that ask `addr` for `/load/0` to `/load/199` in turn.
    pub fn start(addr: SocketAddr, clients: usize, body: BodyOf) -> Self {
        let seen = Arc::new(Seen::default());
        let run = |number: usize| {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || seen.ask(addr, number, body))
        };
        let threads = (0..clients).map(run).collect();
        Load { seen, threads }
    }

    /// Waits until so many more have been answered rightly, or one has failed.
    pub fn goes_on(&self, more: u64) {
        let until = self.seen.answered.load(Ordering::Relaxed) + more;
        super::eventually("the clients are answered", || {
            self.seen.answered.load(Ordering::Relaxed) >= until || !self.failed().is_empty()
        });
    }

    /// What went wrong so far.
    pub fn failed(&self) -> Vec<String> {
        self.seen.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops them: how many answers, how many second tries. Panics if one failed.
    #[track_caller]
    pub fn stop(self) -> (u64, u64) {
        self.seen.over.store(true, Ordering::Relaxed);
        let failed = self.failed();
        for thread in self.threads {
            thread.join().expect("a client that does not panic");
        }
        assert!(failed.is_empty(), "{} failed: {:#?}", failed.len(), &failed[..1]);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.seen.answered), read(&self.seen.retried))
    }
}

impl Seen {
    fn ask(&self, addr: SocketAddr, number: usize, body: BodyOf) {
        let mut kept = None;
        for turn in number.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            if number % 2 == 1 {
                kept = None;
            }
            let target = format!("/load/{}", turn * 7 % 200);
            match self.one(addr, &mut kept, &target, &body(&target)) {
                Ok(()) => self.answered.fetch_add(1, Ordering::Relaxed),
                Err(why) => {
                    self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(why);
                    return;
                }
            };
        }
    }

    fn one(
        &self,
        addr: SocketAddr,
        kept: &mut Option<super::Client>,
        target: &str,
        body: &[u8],
    ) -> Result<(), String> {
        let again = kept.is_some();
        for attempt in 0..2 {
            let Some(mut client) = kept.take().or_else(|| Process::try_client(addr)) else {
                return Err(format!("{target}: nobody accepts"));
            };
            client.send(request("GET", target, ""));
            let Some(answer) = client.try_answer("GET") else {
                if again && attempt == 0 {
                    self.retried.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                return Err(format!("{target}: the connection ended without an answer"));
            };
            if answer.status != 200 || answer.ended != Ended::Clean || answer.body != body {
                return Err(format!("{target}: {:?}, {}", answer.ended, answer.head));
            }
            if answer.field("connection").as_deref() != Some("close") {
                *kept = Some(client);
            }
            return Ok(());
        }
        Err(format!("{target}: twice no answer"))
    }
}
