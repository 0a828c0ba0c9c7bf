//! The body of an answer, taken from the connection itself (`bare`).
//!
//! Short pieces are copied out of the read buffer, so that they may be kept by whoever gets
//! them; long ones go with their part of it, and the connection makes itself a new one if
//! that is still held when it reads on.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Frame;

use super::bare::{Bare, Phase};
use super::fault::OriginFault;
use super::framing::Framing;

impl Bare {
    /// The next piece of the body, its trailers, or its end.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OriginFault>>> {
        loop {
            if let Some(frame) = self.next_frame().map_err(OriginFault::Odd)? {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.is_over() {
                return Poll::Ready(None);
            }
            match ready!(self.poll_more(cx)) {
                Ok(0) if matches!(self.phase, Phase::UntilClose) => self.finish(),
                Ok(0) => return Poll::Ready(Some(Err(OriginFault::Truncated))),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "origin body");
                    return Poll::Ready(Some(Err(OriginFault::Truncated)));
                }
            }
        }
    }

    /// The body, if it is short, its length was announced, and all of it is here.
    pub fn take_whole(&mut self) -> Option<Bytes> {
        let Phase::Length(left) = self.phase else { return None };
        if left > self.buffer.len().min(COPIED_MAX) as u64 {
            return None;
        }
        let whole = self.take(left as usize);
        self.finish();
        Some(whole)
    }

    /// What of the body is in the buffer.
    fn next_frame(&mut self) -> Result<Option<Frame<Bytes>>, &'static str> {
        let ready = self.buffer.len();
        let take = match &mut self.phase {
            Phase::Trailers(trailers) => {
                let trailers = std::mem::take(&mut **trailers);
                self.finish();
                return Ok(Some(Frame::trailers(trailers)));
            }
            Phase::Length(left) => {
                let take = (*left).min(ready as u64) as usize;
                *left -= take as u64;
                take
            }
            Phase::UntilClose => ready,
            Phase::Chunked(..) => {
                self.advance()?;
                match &mut self.phase {
                    Phase::Chunked(_, data) => std::mem::take(data),
                    // Done without another byte of data: its trailers, or nothing.
                    Phase::Trailers(_) => return self.next_frame(),
                    _ => 0,
                }
            }
            Phase::Idle | Phase::Head | Phase::Done => 0,
        };
        if take == 0 {
            return Ok(None);
        }
        let data = self.take(take);
        if matches!(self.phase, Phase::Length(0)) {
            self.finish();
        }
        // What comes next may be the end, which is then known with the last piece.
        self.advance()?;
        Ok(Some(Frame::data(data)))
    }

    /// Takes in what stands between the buffer's start and the next data of a chunk.
    pub(super) fn advance(&mut self) -> Result<(), &'static str> {
        let Phase::Chunked(chunks, data) = &mut self.phase else { return Ok(()) };
        if *data > 0 {
            return Ok(());
        }
        let (around, next) = chunks.next(&self.buffer)?;
        *data = next;
        let done = chunks.is_done().then(|| chunks.trailers()).transpose()?;
        self.buffer.advance(around);
        match done {
            Some(Some(trailers)) => self.phase = Phase::Trailers(Box::new(trailers)),
            Some(None) => self.finish(),
            None => {}
        }
        Ok(())
    }

    /// Short pieces are copied, long ones go with their part of the buffer.
    fn take(&mut self, length: usize) -> Bytes {
        if length > COPIED_MAX {
            return self.buffer.split_to(length).freeze();
        }
        let piece = Bytes::copy_from_slice(self.buffer.get(..length).unwrap_or_default());
        self.buffer.advance(length);
        piece
    }

    /// The answer has ended. What comes after it is nobody's.
    pub(super) fn finish(&mut self) {
        self.phase = Phase::Done;
        self.keeps &= self.buffer.is_empty() && self.framing != Framing::Close;
    }
}

/// Pieces up to this long are copied.
const COPIED_MAX: usize = 8 << 10;
