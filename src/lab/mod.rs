//! Level 4: how much cache, and what would it save? Traces in, hit ratios out.
//!
//! ```text
//! log or trace file --trace--> requests --+--> simulate: policies side by side, two tiers
//!                                         +--> curve: miss ratio by size, from a sample
//! trace --> replay: clients and origin around a living node
//! a node's sample --> live: advice
//! generate --> a trace to try things with
//! ```
//! What is simulated of Brink is Brink's code (`store::policy`), not a model of it. The
//! other policies are here to compare with, each as short as its paper allows.

pub mod curve;
pub mod disk;
pub mod figure;
pub mod generate;
pub mod live;
pub mod policies;
pub mod replay;
pub mod report;
pub mod simulate;
pub mod trace;
