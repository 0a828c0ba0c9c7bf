//! Read buffers between two exchanges, kept by the thread and not by connections.
//!
//! The one used last is used next, while it is still in the processor's caches, and an idle
//! connection holds none.

use std::cell::RefCell;

use bytes::BytesMut;

thread_local! {
    /// The warmest on top.
    static BUFFERS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
pub fn take() -> BytesMut {
    let kept = BUFFERS.try_with(|kept| kept.try_borrow_mut().ok()?.pop());
    kept.ok().flatten().unwrap_or_else(|| BytesMut::with_capacity(FIRST))
}

/// Takes a buffer back, unless somebody still holds a piece of it.
pub fn put(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.try_reclaim(FIRST) && buffer.capacity() <= LARGEST {
        let _ = BUFFERS.try_with(|kept| {
            if let Ok(mut kept) = kept.try_borrow_mut()
                && kept.len() < KEPT_MAX
            {
                kept.push(buffer);
            }
        });
    }
}

/// Bytes of the first read: a head, and often all of a short answer.
pub const FIRST: usize = 8 << 10;
/// Bytes of one read of a long body.
pub const LARGEST: usize = 64 << 10;
/// Buffers a thread keeps.
const KEPT_MAX: usize = 16;
