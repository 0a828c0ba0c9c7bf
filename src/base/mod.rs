//! Level 0: what everything may use and what uses nothing: time, units, limits.

pub mod clock;
pub mod units;

pub use clock::{Clock, Now};
pub use units::ByteSize;
