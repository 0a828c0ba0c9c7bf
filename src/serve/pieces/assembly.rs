//! The bytes of a run cut into pieces: one of them is held until it is whole.

use std::sync::Arc;

use bytes::Bytes;

use super::Ask;
use crate::rules::pieces::{self, PIECE};
use crate::serve::fill::Held;
use crate::store::landed::land;

/// The piece that is coming in.
pub(super) struct Assembly<'a> {
    ask: &'a Ask,
    /// The ledger's number when the bytes to come were asked for, and when those of the piece
    /// under way were.
    asked_at: u64,
    seq: u64,
    at: u64,
    /// Where the piece ends.
    end: u64,
    chunks: Vec<Bytes>,
    /// It began at its first byte and there was room for it.
    keeping: bool,
    held: Held<'a>,
}

impl<'a> Assembly<'a> {
    /// Nothing yet of the piece at `start`.
    pub fn new(ask: &'a Ask, start: u64, seq: u64) -> Self {
        let mut assembly = Assembly {
            ask,
            asked_at: seq,
            seq,
            at: start,
            end: start,
            chunks: Vec::new(),
            keeping: false,
            held: Held::new(&ask.shared),
        };
        assembly.next();
        assembly
    }

    /// What comes from now on was asked for at this number of the ledger.
    pub fn asked_at(&mut self, seq: u64) {
        self.asked_at = seq;
        if !self.is_under_way() {
            self.seq = seq;
        }
    }

    /// Offset of the next byte.
    pub fn at(&self) -> u64 {
        self.at
    }

    fn next(&mut self) {
        self.chunks.clear();
        self.seq = self.asked_at;
        self.held.release();
        self.end = self.ask.grid.next(self.at);
        self.keeping = self.at.is_multiple_of(PIECE) && self.held.more(self.end - self.at);
    }

    /// Bytes to the end of the piece.
    pub fn room(&self) -> usize {
        usize::try_from(self.end - self.at).unwrap_or(usize::MAX)
    }

    /// Whether the piece has come to its end.
    pub fn is_full(&self) -> bool {
        self.at == self.end
    }

    /// Whether some of a piece that is to be kept is here.
    pub fn is_under_way(&self) -> bool {
        self.keeping && !self.chunks.is_empty()
    }

    /// Takes the next bytes, not more than there is room for.
    pub fn add(&mut self, chunk: Bytes) {
        self.at += chunk.len() as u64;
        if self.keeping {
            self.chunks.push(chunk);
        }
    }

    /// Keeps the piece and begins the next, if it is whole: the rest may come with another
    /// answer.
    pub fn store(&mut self) {
        if !self.is_full() {
            return;
        }
        if self.keeping && self.at > 0 {
            let first = pieces::floor(self.at - 1);
            let body = land(std::mem::take(&mut self.chunks), self.at - first, false);
            let Ask { shared, manifest, .. } = self.ask;
            let n = first / PIECE;
            if let Some((key, piece)) = pieces::piece(shared.seed, manifest, n, body, self.seq) {
                shared.store_piece(&key, Arc::new(piece));
            }
        }
        self.next();
    }
}
