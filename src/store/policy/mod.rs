//! What stays and what goes: the policies of both tiers, without any I/O.
//!
//! The node and the simulator of `brink lab` run the same code from here, so that what
//! is measured is what is deployed.
//!
//! | file | what |
//! |---|---|
//! | `order` | rounded greedy-dual order (CAMP) over index-linked nodes |
//! | `history` | sketch of how often keys were asked for lately |
//! | `shelf` | one shard: table, order, probation queue, all-victims admission test |
//! | `tuning` | the settings and the candidates |
//! | `tuner` | shadow caches that choose between settings (`auto`) |
//! | `admission` | what is worth a write to the disk |
//! | `lanes` | the order in which a disk that writes everything gives up |
//! | `sharded` | shelves behind short locks, as the node uses them |
//!
//! Measured against the traces the design study used, at 0.1, 1 and 10 % of the
//! footprint (30 cells), object miss ratio over the best of LRU, SIEVE, S3-FIFO,
//! W-TinyLFU and GDSF chosen for each cell: geometric mean -0.56 %, worst cell +0.7 %.

pub mod admission;
mod history;
pub mod lanes;
mod order;
mod sharded;
mod shelf;
mod tuner;
mod tuning;

pub use order::Goal;
pub use sharded::{Change, Sharded};
pub use shelf::{Evicted, Shelf};
pub use tuner::Tuner;
pub use tuning::{CANDIDATES, Tuning};
