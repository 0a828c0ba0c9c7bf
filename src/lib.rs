//! Brink: an edge caching CDN node.
//!
//! One binary terminates TLS, answers from a sharded memory cache and a disk cache, and asks
//! the origin only when it must. This page is the map; each module's own page says what it
//! is for, why it is so, and what was rejected.
//!
//! # The journey of one request
//!
//! ```text
//!  client                                                                        origin
//!    │  bytes                                                                       ▲
//!    ▼                                                                              │
//!  front ── accept ─ TLS ─ guard ─ hyper,h2┐                                       origin
//!    ▲                                    ▼                                         ▲
//!    │       serve: Received > Routed > Keyed > LookedUp > PLAN                     │
//!    │                                    │                  │                      │
//!    │   Delivering <──── Hit ────────────┤                  ├─ Pass ───────────────┤
//!    │   Delivering + refresh <─ StaleHit ┤                  │                      │
//!    │   Answering <───── Refuse ─────────┘                  ▼                      │
//!    │                                        Joining ─ Lead ─► fetch ── SETTLE ◄───┘
//!    │                                           └ Follow ─┐        │
//!    └──────────── Delivering <──── Spool ◄────────────────┴────────┴─► store
//! ```
//!
//! Two verdicts decide everything, and both are pure functions in [`rules`]:
//! [`rules::plan`] before the origin is asked, [`rules::settle`] with its answer. A fetch is
//! owned by a `Lead`, which the flight table ([`serve::flights`]) hands out once per key; its
//! body goes through a [`store::spool`], which any number of readers follow at their own
//! speed and which ends cleanly only if the origin's body did.
//!
//! An object above the policy's `pieces_from` has no spool: its head is a manifest, its
//! bytes are pieces of 1 MiB with keys of their own ([`rules::pieces`]), and what is missing
//! comes in runs of neighbouring pieces through a [`store::window`].
//!
//! # Layers
//!
//! Imports go down only, never sideways; `tests/tidy.rs` enforces it.
//!
//! | level | module | what |
//! |---|---|---|
//! | 0 | [`base`] | clock, sizes, durations |
//! | 1 | [`rules`] | every decision of HTTP caching, and the purge ledger; pure |
//! | 2 | [`telemetry`] | counters, access log, heavy hitters, live tail |
//! | 3 | [`store`] | memory tier, disk tier, spool and window, the ledger's file |
//! | 3 | [`origin`] | groups of servers: pools, health, retry, discovery, strict answers |
//! | 3 | [`front`] | listeners, TLS, HTTP/1 and HTTP/2 connections, limits, drain |
//! | 4 | [`serve`] | the journey of one exchange |
//! | 4 | [`admin`] | purge, explain, statistics: the API on a listener of its own |
//! | 4 | [`lab`] | hit-ratio laboratory: traces, simulation, curves |
//! | 5 | [`config`] | the TOML file and the flags as one typed, checked snapshot |
//! | 6 | [`node`] | a running node: built, reloaded, drained |
//! | 7 | [`cli`] | the verbs of the command line |
//!
//! # Threads
//!
//! One current-thread runtime a core serves connections, each with its own SO_REUSEPORT
//! listener; fetches run on the thread of the client that started them, so a miss wakes no
//! other core. A small background runtime has the admin API, health checks and name
//! lookups. The disk tier has a writer and a few readers a directory. A hit takes no lock
//! that is held across I/O, copies no body and waits for nobody.
//!
//! # Where the plan was bent
//!
//! - The spool stands in `store`, the fill that writes it in `serve`: a spool knows nothing
//!   of origins.
//! - Variants of a key live in one slot, judged by their own `Vary` each (RFC 9111 4.1),
//!   instead of an index from secondary keys: one get finds all of them, and a purge by URL
//!   is one removal.
//! - Two nodes of one name may stand behind each other, so `CDN-Loop` (RFC 8586) carries a
//!   number of the process beside the name.

pub mod admin;
pub mod base;
pub mod cli;
pub mod config;
pub mod front;
pub mod lab;
pub mod node;
pub mod origin;
pub mod rules;
pub mod serve;
pub mod store;
pub mod telemetry;
