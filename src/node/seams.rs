//! What stands in for the world outside, where somebody else plays it.
//!
//! Rejected: a trait for each part of a node with a production type behind it; three seams
//! (clock, device, upstream) are all that a world outside of the process needs.

use std::sync::Arc;

use crate::origin::Upstream;
use crate::store::disk::device::Device;

/// Gives the device to use for the disk directory of that number in place of the real one.
pub type Wrap = Arc<dyn Fn(usize, Arc<dyn Device>) -> Arc<dyn Device> + Send + Sync>;

/// What stands in for the world outside; the default is the real one.
#[derive(Clone, Default)]
pub struct Seams {
    /// In place of disks.
    pub device: Option<Wrap>,
    /// In place of sockets to origins.
    pub upstream: Option<Arc<dyn Upstream>>,
}
