//! Level 1: decisions. Pure functions from data to a verdict: no clock, no I/O, no
//! async, no logging. What HTTP caching means is all here and nowhere else.

pub mod asked;
pub mod control;
pub mod date;
pub mod door;
pub mod entry;
pub mod fault;
pub mod forward;
pub mod freshness;
pub mod head;
pub mod hop;
pub mod invalidate;
pub mod key;
pub mod ledger;
mod ledger_layer;
pub mod lifetime;
pub mod list;
pub mod normalise;
pub mod outcome;
pub mod partial;
pub mod pieces;
pub mod plan;
pub mod purge;
mod purge_record;
pub mod range;
pub mod respond;
pub mod respond_map;
pub mod respond_text;
pub mod settle;
pub mod site;
pub mod storable;
pub mod straight;
pub mod tags;
pub mod targeted;
#[cfg(test)]
mod tests;
pub mod trailer;
pub mod validate;
pub mod variant;
pub mod vary;
