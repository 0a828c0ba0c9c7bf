//! Bodies at rest: exact memory of our own for what has come in.
//!
//! A cache that gives up large objects for small ones all day leaves holes in any heap: with
//! sizes from 200 B to 1.6 MB a third of the tier's size was lost in them, with two
//! allocators. So long bodies get anonymous mappings of their own, which go back to the
//! system when they are given up (6 % lost), and everything that only passes through on the
//! way is of one size. What a disk hit brings up lies in memory just the same, so it is read
//! into such a mapping too: on the heap it cost 60 MiB in a tier of 128. Mappings cost a
//! system call that also brings the pages, once a fill; short bodies stay on the heap. If the
//! system gives no mapping (their number is bounded), the heap serves.

use bytes::Bytes;
use memmap2::{MmapMut, MmapOptions};
use smallvec::SmallVec;

use crate::rules::entry::BODY_MAPPED_MIN;

/// Bodies from this length on lie in mappings; the weight of an entry knows it too.
const MAPPED_MIN: usize = BODY_MAPPED_MIN as usize;

/// Bodies up to this size are put into one buffer, which is cheapest to send; longer ones
/// are cut, because one copy of all would hold up the runtime.
pub const ONE_BUFFER_BYTES: u64 = 16 << 20;

/// Length of the buffers of longer ones.
const CUT_BYTES: usize = 1 << 20;

/// Puts the pieces of a body of `total` bytes into buffers of exact size. `exact` says that
/// the pieces are all of one exact buffer already; then a single one stays as it is.
pub fn land(pieces: Vec<Bytes>, total: u64, exact: bool) -> SmallVec<[Bytes; 1]> {
    if pieces.is_empty() || (exact && pieces.len() == 1) {
        return pieces.into_iter().collect();
    }
    let mut left = total as usize;
    let size_max = if total <= ONE_BUFFER_BYTES { left } else { CUT_BYTES };
    let mut out = SmallVec::new();
    let mut buffer = Buffer::new(size_max.min(left));
    for piece in pieces {
        let mut rest: &[u8] = &piece;
        while !rest.is_empty() {
            rest = buffer.fill(rest);
            if buffer.is_full() {
                left = left.saturating_sub(buffer.size);
                let next = Buffer::new(size_max.min(left));
                out.push(std::mem::replace(&mut buffer, next).into_bytes());
                if left == 0 {
                    return out;
                }
            }
        }
    }
    if buffer.filled > 0 {
        out.push(buffer.into_bytes());
    }
    out
}

/// A buffer of `len` bytes whose content `fill` makes in place, for what is read from disk.
///
/// # Errors
/// What `fill` says.
pub fn filled<E>(len: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Bytes, E> {
    match mapping(len) {
        Some(mut map) => {
            fill(&mut map)?;
            Ok(Bytes::from_owner(map))
        }
        None => {
            let mut heap = vec![0; len];
            fill(&mut heap)?;
            Ok(Bytes::from(heap))
        }
    }
}

/// Memory of its own for a long body. All of it will be written, so all of it is asked for
/// at once: one call instead of a page fault for every 4 KiB.
fn mapping(len: usize) -> Option<MmapMut> {
    if len < MAPPED_MIN {
        return None;
    }
    MmapOptions::new().len(len).populate().map_anon().ok()
}

struct Buffer {
    memory: Memory,
    size: usize,
    filled: usize,
}

enum Memory {
    Heap(Vec<u8>),
    Mapped(MmapMut),
}

impl Buffer {
    fn new(size: usize) -> Self {
        let memory = match mapping(size) {
            Some(map) => Memory::Mapped(map),
            None => Memory::Heap(Vec::with_capacity(size)),
        };
        Buffer { memory, size, filled: 0 }
    }

    fn is_full(&self) -> bool {
        self.filled == self.size
    }

    /// Takes what fits and returns the rest.
    fn fill<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let (now, later) = data.split_at(data.len().min(self.size - self.filled));
        match &mut self.memory {
            Memory::Heap(heap) => heap.extend_from_slice(now),
            Memory::Mapped(map) => {
                if let Some(place) = map.get_mut(self.filled..self.filled + now.len()) {
                    place.copy_from_slice(now);
                }
            }
        }
        self.filled += now.len();
        later
    }

    fn into_bytes(self) -> Bytes {
        match self.memory {
            Memory::Heap(mut heap) => {
                heap.shrink_to_fit();
                Bytes::from(heap)
            }
            Memory::Mapped(map) => {
                let mut bytes = Bytes::from_owner(map);
                bytes.truncate(self.filled);
                bytes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pieces(data: &[u8], size: usize) -> Vec<Bytes> {
        data.chunks(size).map(Bytes::copy_from_slice).collect()
    }

    #[test]
    fn bodies_of_any_length_land_whole() {
        let lengths = [1, 4095, MAPPED_MIN - 1, MAPPED_MIN, MAPPED_MIN + 1, 3 << 20];
        for length in lengths {
            let data: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            for size in [1000, 64 << 10, length] {
                let landed = land(in_pieces(&data, size), length as u64, false);
                assert_eq!(landed.len(), 1, "{length} in {size}");
                assert_eq!(landed.concat(), data, "{length} in {size}");
            }
        }
    }

    #[test]
    fn what_is_read_in_place_is_all_of_it_or_the_error() {
        for length in [0, 1, MAPPED_MIN - 1, MAPPED_MIN, 1 << 20] {
            let read = filled(length, |place| {
                place.fill(7);
                Ok::<(), ()>(())
            });
            assert!(read.unwrap() == vec![7; length], "{length}");
            assert_eq!(filled(length, |_| Err(length)), Err(length));
        }
    }

    #[test]
    fn long_bodies_are_cut_and_an_exact_single_piece_stays() {
        let total = ONE_BUFFER_BYTES as usize + 3;
        let data: Vec<u8> = (0..total).map(|i| i as u8).collect();
        let landed = land(in_pieces(&data, 100_000), total as u64, false);
        assert_eq!((landed.len(), landed.concat() == data), (17, true));
        let one = Bytes::from_static(b"exact");
        let kept = land(vec![one.clone()], 5, true);
        assert_eq!(kept[0].as_ptr(), one.as_ptr());
        assert!(land(Vec::new(), 0, false).is_empty());
    }
}
