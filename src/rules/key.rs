//! The cache key: canonical text and its 128-bit keyed hash.
//!
//! The text is `scheme://host:port/path?query` with what the site's key options say of
//! the query. It is kept in every entry and compared on every hit, so a collision of the
//! hash is a miss and never somebody else's answer. Built in one pass; short keys stay
//! on the stack.

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The random seed of the hash: one a node, kept with the disk cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySeed(pub u64);

/// Text and hash of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    hash: u128,
    text: SmallVec<[u8; 160]>,
}

impl Key {
    /// Hashes `text`.
    pub fn new(seed: KeySeed, text: SmallVec<[u8; 160]>) -> Self {
        Key { hash: xxh3_128_with_seed(&text, seed.0), text }
    }

    /// The 128-bit hash that tables are keyed by.
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// The canonical text.
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_changes_the_hash_and_the_text_stays() {
        let text = || SmallVec::from_slice(b"https://a:443/x");
        let (one, two) = (Key::new(KeySeed(1), text()), Key::new(KeySeed(2), text()));
        assert_ne!(one.hash(), two.hash());
        assert_eq!(one.text(), two.text());
    }
}
