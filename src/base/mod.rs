//! Level 0: what everything may use and what uses nothing: time, units, limits,
//! byte streams.

pub mod clock;
pub mod stream;
pub mod units;

pub use clock::{Clock, Now};
pub use stream::Stream;
pub use units::ByteSize;
