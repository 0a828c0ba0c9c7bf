//! Scenario tests: a scripted origin, raw clients, a node between (see `support`).
//!
//! One binary, because every further one costs a link. One file a topic; a test's name is
//! the sentence it proves. A bug gets its test first and keeps it.

// The machinery is larger than what today's scenarios use of it.
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;

mod admin;
mod bounds;
mod collapse;
mod confine;
mod corpus;
mod crash;
mod disk;
mod disk_service;
mod disk_slow;
mod door;
mod drain;
mod faults;
mod framing;
mod h2_door;
mod h2_flood;
mod hit;
mod isolation;
mod key;
mod lab;
mod limits;
mod origin_faults;
mod origin_nginx;
mod origin_outage;
mod origin_tiers;
mod pieces;
mod pieces_faults;
mod purge;
mod range;
mod sight;
mod sim;
mod stale;
mod straight;
mod tls;
mod trailers;
mod upgrade;
mod validate;
mod vary;
