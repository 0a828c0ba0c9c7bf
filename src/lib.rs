//! Brink: an edge caching CDN node.

pub mod base;
pub mod rules;
pub mod store;
