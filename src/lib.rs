//! Brink: an edge caching CDN node.

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
