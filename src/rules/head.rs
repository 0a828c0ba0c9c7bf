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
    /// Takes back what [`Head::block`] gave, read from disk behind a checksum. `None` if
    /// it is not a block this version writes; nothing later may panic on its content.
    pub fn from_block(status: StatusCode, block: Bytes) -> Option<Self> {
        Some(Head { status, block })
    }

    /// The packed fields, as the disk tier stores them.
    pub fn block(&self) -> &Bytes {
        &self.block
    }

    /// Bytes it occupies.
    pub fn weight(&self) -> usize {
        self.block.len()
    }
}
