//! The language of the scenario tests: a scripted origin, raw clients, a node between.
//!
//! A scenario reads like one of Varnish's test scripts: what the origin answers, what a
//! client sends, what exactly arrived on the other side, what the next client gets. All
//! of it is blocking code on plain threads, because a test wants to say "now this, then
//! that" and must not share a scheduler with the node it judges. Waiting is always for an
//! event with a deadline ([`DEADLINE`]); order between connections comes from [`Gate`]s.
//! Rejected: a mock HTTP library at either end. Such a library repairs messages, and the
//! subject of half of these tests is a message that must not be repaired.

pub mod answer;
pub mod client;
pub mod film;
pub mod frames;
pub mod gate;
pub mod h2;
pub mod load;
pub mod nginx;
pub mod node;
pub mod origin;
pub mod process;
pub mod reply;
pub mod schema;
pub mod tls;

pub use answer::{Answer, Ended};
pub use client::Client;
pub use gate::Gate;
pub use load::Load;
pub use node::Node;
pub use origin::Origin;
pub use process::Process;
pub use reply::{Reply, ok, reply};

use std::time::Duration;

/// Longest wait for anything. Generous: the machine that runs the tests is loaded.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds, yielding the processor in between.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = brink::base::clock::instant();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "never happened: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
