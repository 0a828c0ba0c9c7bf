//! Status and header fields of a stored response, packed into one block.

use bytes::Bytes;
use http::StatusCode;

/// A packed head.
#[derive(Clone, Debug)]
pub struct Head {
    /// The stored status.
    pub status: StatusCode,
    block: Bytes,
}

impl Head {
    /// Bytes it occupies.
    pub fn weight(&self) -> usize {
        self.block.len()
    }
}
