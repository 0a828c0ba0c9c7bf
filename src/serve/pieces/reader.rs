//! The body of an answer that is kept in pieces: one piece at a time, from wherever it is.
//!
//! Holds one piece, a step of one on disk, or a place in a run's window, and nothing else, so a client costs the
//! same however long the object is. What is in memory is handed out at once; whatever has
//! to be waited for is one boxed future a piece. Any doubt ends the body as an error,
//! which the client sees as a cut (promise P4).

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::Ask;
use super::answer::open_from;
use crate::rules::entry::Entry;
use crate::rules::fault::Fault;
use crate::rules::partial;
use crate::rules::pieces::{self, PIECE};
use crate::rules::range::Span;
use crate::store::disk::Lent;
use crate::store::window::{Broken, Next, Reader};

/// How often in a row a run may give nothing before the body is cut.
const STUCK_MAX: u8 = 3;

const CHANGED: Fault = Fault::BadGateway("the object changed at the origin");
const REFUSED: Fault = Fault::BadGateway("the origin gave no range of the object");

/// Where bytes come from.
pub(in crate::serve) enum Source {
    /// A piece at rest.
    Piece(Arc<Entry>),
    /// A run under way.
    Run(Reader),
}

/// What is to be sent: text between parts, or bytes of the object.
#[derive(Debug)]
pub(in crate::serve) enum Segment {
    /// As it is.
    Text(Bytes),
    /// Of the object.
    Bytes(Span),
}

type Opening = Pin<Box<dyn Future<Output = Result<Source, Broken>> + Send>>;

enum State {
    Looking,
    Opening(Opening),
    Reading(Reader),
    /// A piece that stays on disk, and its number.
    Lent(Box<Lent>, u64),
}

/// The body.
pub(in crate::serve) struct PieceBody {
    ask: Arc<Ask>,
    segments: VecDeque<Segment>,
    /// Bytes of a piece that are next.
    ready: VecDeque<Bytes>,
    /// What is still to be read of the segment under way.
    span: Option<Span>,
    /// Bytes still to be sent.
    left: u64,
    state: State,
    /// A reader that was opened for a later byte.
    hold: Option<Reader>,
    /// Where the last run ended, and how often nothing came.
    ended_at: u64,
    stuck: u8,
    /// Pieces before this one are not asked of the disk as they lie there.
    lend_from: u64,
}

impl PieceBody {
    /// A body of nothing yet; `hold` is a reader of the first run it will come to.
    pub fn new(ask: Arc<Ask>, hold: Option<Reader>) -> Self {
        PieceBody {
            ask,
            segments: VecDeque::new(),
            ready: VecDeque::new(),
            span: None,
            left: 0,
            state: State::Looking,
            hold,
            ended_at: u64::MAX,
            stuck: 0,
            lend_from: 0,
        }
    }

    /// What is to be sent.
    pub fn of(mut self, segments: Vec<Segment>) -> Self {
        let length = |segment: &Segment| match segment {
            Segment::Text(text) => text.len() as u64,
            Segment::Bytes(span) => span.len(),
        };
        self.left = segments.iter().map(length).sum();
        self.segments = segments.into();
        self
    }

    /// Bytes still to be sent.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            if let Some(data) = self.ready.pop_front() {
                self.left = self.left.saturating_sub(data.len() as u64);
                return Poll::Ready(Some(Ok(data)));
            }
            let Some(span) = self.span else {
                match self.segments.pop_front() {
                    None => return Poll::Ready(None),
                    Some(Segment::Text(text)) => self.ready.push_back(text),
                    Some(Segment::Bytes(span)) => self.span = Some(span),
                }
                continue;
            };
            if let Err(fault) = ready!(self.poll_bytes(span, cx)) {
                return Poll::Ready(Some(Err(fault)));
            }
        }
    }

    /// One step towards the first byte of `span`.
    fn poll_bytes(&mut self, span: Span, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        match &mut self.state {
            State::Looking => self.look(span),
            State::Opening(opening) => {
                let opened = ready!(opening.as_mut().poll(cx));
                self.state = State::Looking;
                match opened {
                    Ok(Source::Piece(piece)) => self.take_piece(&piece, span),
                    Ok(Source::Run(reader)) => self.state = State::Reading(reader),
                    Err(why) => return Poll::Ready(Err(fault_of(why))),
                }
            }
            State::Lent(_, n) if *n != span.first / PIECE => self.state = State::Looking,
            State::Lent(lent, n) => match lent.read_now(span.first % PIECE) {
                Some(data) => {
                    self.stuck = 0;
                    self.take(data, span);
                }
                // It has left the page cache, or is not what was written.
                None => {
                    self.lend_from = *n + 1;
                    self.state = State::Looking;
                }
            },
            State::Reading(reader) => match ready!(reader.poll_next(cx)) {
                Next::Data(data) => {
                    self.stuck = 0;
                    self.take(data, span);
                }
                Next::Behind => self.state = State::Looking,
                Next::End => {
                    self.ended_at = span.first;
                    self.state = State::Looking;
                    return Poll::Ready(self.nothing_came(REFUSED));
                }
                Next::Broken(why) => {
                    self.state = State::Looking;
                    let again = matches!(why, Broken::Fault(_));
                    let fault = fault_of(why);
                    return Poll::Ready(if again { self.nothing_came(fault) } else { Err(fault) });
                }
            },
        }
        Poll::Ready(Ok(()))
    }

    /// A run may end anywhere; one after the other that gives nothing is the end.
    fn nothing_came(&mut self, fault: Fault) -> Result<(), Fault> {
        self.stuck += 1;
        if self.stuck > STUCK_MAX { Err(fault) } else { Ok(()) }
    }

    fn look(&mut self, span: Span) {
        let n = span.first / PIECE;
        if let Some(piece) = self.ask.in_memory(n) {
            return self.take_piece(&piece, span);
        }
        if n >= self.lend_from
            && let Some(lent) = self.ask.lent(n)
        {
            self.state = State::Lent(Box::new(lent), n);
            return;
        }
        // Held for this very place, or for a little before it; else it only holds up its run.
        let near = |reader: &Reader| reader.at() <= span.first && span.first - reader.at() <= PIECE;
        if let Some(mut reader) = self.hold.take_if(|reader| near(reader)) {
            reader.skip_to(span.first);
            self.state = State::Reading(reader);
            return;
        }
        self.hold = self.hold.take().filter(|reader| reader.at() > span.first);
        if let Some(reader) = self.ask.shared.runs.follow(self.ask.version, span.first) {
            self.state = State::Reading(reader);
            return;
        }
        let ask = self.ask.clone();
        // An origin that gives less than a piece at a time is followed step by step.
        let short = self.ended_at == span.first;
        let start = if short { span.first } else { pieces::floor(span.first) };
        self.state = State::Opening(Box::pin(async move { open_from(&ask, span, start).await }));
    }

    /// Takes from `piece` what `span` wants of it.
    fn take_piece(&mut self, piece: &Entry, span: Span) {
        let skip = span.first % PIECE;
        let there = piece.body_len().saturating_sub(skip).min(span.len());
        for data in partial::slice(&piece.body, skip, there) {
            self.stuck = 0;
            self.ready.push_back(data);
        }
        self.passed(there, span);
    }

    fn take(&mut self, mut data: Bytes, span: Span) {
        data.truncate(usize::try_from(span.len()).unwrap_or(usize::MAX));
        let length = data.len() as u64;
        self.ready.push_back(data);
        self.passed(length, span);
    }

    fn passed(&mut self, bytes: u64, span: Span) {
        let first = span.first + bytes;
        self.span = (first <= span.last).then_some(Span { first, ..span });
        if self.span.is_none() {
            self.state = State::Looking;
        }
    }
}

fn fault_of(why: Broken) -> Fault {
    match why {
        Broken::Changed => CHANGED,
        Broken::Refused => REFUSED,
        Broken::Fault(fault) => fault,
    }
}
