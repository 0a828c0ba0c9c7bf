//! What an engine gives up, and what a sweep leaves of a slot: the words between the memory
//! tier and its engines.

use std::sync::Arc;

use crate::rules::entry::Slot;

/// What was given up for want of room, or never let in.
#[derive(Clone, Debug)]
pub struct Victim {
    /// All variants of the key.
    pub slot: Slot,
    /// How often it was found while it was here. Zero also when it was never let in.
    pub hits: u32,
}

/// What a sweep decides about one slot.
#[derive(Clone, Debug)]
pub enum Keep {
    /// Nothing changes.
    Whole,
    /// These variants stay; an empty slot is removed.
    Only(Slot),
    /// The slot goes.
    Nothing,
}

/// Called with each victim, on the thread that made the room. It must not block and must
/// not call back into the memory tier.
pub type OnEvict = Arc<dyn Fn(Victim) + Send + Sync>;
