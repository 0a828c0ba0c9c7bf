//! Level 1: decisions. Pure functions from data to a verdict: no clock, no I/O, no
//! async, no logging. What HTTP caching means is all here and nowhere else.

pub mod asked;
pub mod entry;
pub mod fault;
pub mod freshness;
pub mod head;
pub mod key;
pub mod outcome;
pub mod site;
pub mod variant;
