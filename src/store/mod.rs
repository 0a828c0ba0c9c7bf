//! Level 3: what is stored, in memory and on disk, and what is given up for what.

pub mod disk;
pub mod landed;
pub mod ledger_file;
mod mapped;
pub mod memory;
pub mod policy;
pub mod spool;
pub mod window;

pub use disk::Disk;
pub use memory::{Keep, Memory, MemoryOptions, MemoryPolicy, Victim};
