//! Mappings that long bodies lie in, with a few kept for the next ones.
//!
//! A new mapping costs a system call, a page fault or its like for every 4 KiB, and a third
//! call when it is given up: 27 us for 128 KiB, six times what copying into it costs. A cache
//! that is full gives one up for each that it takes, so the last few megabytes of them wait
//! here. What is taken holds bytes of another body until it is written over: whoever takes
//! one shows only what has been written, which `store::landed` sees to.
//!
//! The number of mappings is bounded below what the system allows (65,530 areas by default),
//! because behind that limit the allocator and the runtime get no memory either.

use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::{MmapMut, MmapOptions};
use parking_lot::Mutex;

/// Bytes of mappings that wait, at most, and their number.
const SPARE_BYTES: usize = 8 << 20;
const SPARE_MAX: usize = 64;
/// Mappings in use and waiting, at most.
const MAPPINGS_MAX: usize = 40_000;
const PAGE: usize = 4096;

/// Oldest first.
static SPARE: Mutex<Vec<MmapMut>> = Mutex::new(Vec::new());
static MAPPINGS: AtomicUsize = AtomicUsize::new(0);

/// Bytes in a mapping of their own, which goes back when they are given up.
#[derive(Debug)]
pub(super) struct Mapped {
    /// `None` only while it is being dropped.
    map: Option<MmapMut>,
    len: usize,
}

impl Mapped {
    /// Room for `len` bytes, with anything in it. `None` if there is no mapping to be had.
    pub(super) fn new(len: usize) -> Option<Self> {
        let map = spare(len).or_else(|| fresh(len))?;
        Some(Mapped { map: Some(map), len })
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.map.as_ref().and_then(|map| map.get(..self.len)).unwrap_or_default()
    }
}

impl AsMut<[u8]> for Mapped {
    fn as_mut(&mut self) -> &mut [u8] {
        self.map.as_mut().and_then(|map| map.get_mut(..self.len)).unwrap_or_default()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // Unmapping is slow: outside of the lock.
        let gone = self.map.take().map(keep).unwrap_or_default();
        MAPPINGS.fetch_sub(gone.len(), Ordering::Relaxed);
    }
}

/// One that waits and is at most a sixteenth longer.
fn spare(len: usize) -> Option<MmapMut> {
    let mut spare = SPARE.lock();
    let fits = |map: &MmapMut| (len..=len + len / 16 + PAGE).contains(&map.len());
    let at = spare.iter().rposition(fits)?;
    Some(spare.remove(at))
}

fn fresh(len: usize) -> Option<MmapMut> {
    if MAPPINGS.fetch_add(1, Ordering::Relaxed) < MAPPINGS_MAX {
        // All of it will be written: all pages at once.
        let options = MmapOptions::new().len(len.next_multiple_of(PAGE)).populate().map_anon();
        if let Ok(map) = options {
            return Some(map);
        }
    }
    MAPPINGS.fetch_sub(1, Ordering::Relaxed);
    None
}

/// Lets a mapping wait; returns those that have to go for it.
fn keep(map: MmapMut) -> Vec<MmapMut> {
    if map.len() > SPARE_BYTES / 4 {
        return vec![map];
    }
    let mut spare = SPARE.lock();
    spare.push(map);
    let mut bytes: usize = spare.iter().map(|map| map.len()).sum();
    let mut gone = 0;
    for map in spare.iter() {
        if bytes <= SPARE_BYTES && spare.len() - gone <= SPARE_MAX {
            break;
        }
        bytes -= map.len();
        gone += 1;
    }
    spare.drain(..gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_hold_the_same_memory_and_what_waits_is_bounded() {
        let mut held: Vec<(u8, Mapped)> = Vec::new();
        for round in 0..400usize {
            let len = 100_000 + round * 7_919 % 300_000;
            let mut one = Mapped::new(len).expect("a mapping");
            assert_eq!(one.as_ref().len(), len);
            one.as_mut().fill(round as u8);
            held.push((round as u8, one));
            if held.len() > 20 {
                let (mark, gone) = held.swap_remove(round * 31 % 20);
                assert!(gone.as_ref().iter().all(|byte| *byte == mark), "round {round}");
            }
        }
        assert!(held.iter().all(|(mark, one)| one.as_ref().iter().all(|byte| byte == mark)));
        drop(held);
        let spare = SPARE.lock();
        assert!(spare.len() <= SPARE_MAX);
        assert!(spare.iter().map(|map| map.len()).sum::<usize>() <= SPARE_BYTES);
    }

    #[test]
    fn one_much_longer_is_not_taken_for_a_short_body() {
        drop(Mapped::new(1 << 20));
        let short = Mapped::new(200 << 10).expect("a mapping");
        let map = short.map.as_ref().expect("it");
        assert!(map.len() <= (200 << 10) * 17 / 16 + PAGE);
    }
}
