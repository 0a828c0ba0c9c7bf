//! The part of a ready answer that comes bit by bit: a window of what is next.
//!
//! A long body is not all at hand when its head is written: it is pulled as the client takes
//! it, never more than a window ahead, so that a client costs the same however long the
//! object is. What is in the window leaves in one `writev`, and nothing is copied. A body that
//! breaks off ends the connection, because its head has promised more (RFC 9112 6.3).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use smallvec::{Array, SmallVec};

use super::Ready;

/// What comes next.
#[derive(Debug, Default)]
pub(super) struct Coming {
    parts: VecDeque<Bytes>,
    held: usize,
    ended: bool,
}

impl Coming {
    /// Takes in what is there and fits. `Pending` only if there is nothing to write and more
    /// is to come.
    pub(super) fn poll_fill<R: Ready>(
        &mut self,
        ready: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.ended && self.held < WINDOW_BYTES {
            match ready.poll_more(cx) {
                Poll::Ready(Some(Ok(part))) => {
                    self.held += part.len();
                    self.parts.push_back(part);
                }
                Poll::Ready(Some(Err(fault))) => {
                    return Poll::Ready(Err(io::Error::other(fault.reason())));
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending if self.held == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Appends what is in the window, as far as there is room.
    pub(super) fn slices<'a, A>(&'a self, out: &mut SmallVec<A>, max: usize)
    where
        A: Array<Item = IoSlice<'a>>,
    {
        let room = max.saturating_sub(out.len());
        let parts = self.parts.iter().filter(|part| !part.is_empty());
        out.extend(parts.take(room).map(|part| IoSlice::new(part)));
    }

    /// `taken` bytes of the window have left.
    pub(super) fn advance(&mut self, mut taken: usize) {
        self.held = self.held.saturating_sub(taken);
        while let Some(first) = self.parts.front_mut() {
            let now = taken.min(first.len());
            first.advance(now);
            taken -= now;
            if !first.is_empty() {
                return;
            }
            self.parts.pop_front();
        }
    }
}

/// Bytes from which on no more are taken in.
const WINDOW_BYTES: usize = 512 << 10;
