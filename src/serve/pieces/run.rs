//! A run: one range of the origin, judged, copied into the window, cut into pieces.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, response};
use http_body::Body as _;

use super::Ask;
use super::table::Run;
use crate::base::Now;
use crate::origin::OriginBody;
use crate::rules::fault::Fault;
use crate::rules::pieces::{self, Answered, PIECE};
use crate::rules::range::Span;
use crate::rules::settle::{AnswerHead, FillRequest};
use crate::rules::storable::storable;
use crate::serve::ask;
use crate::serve::fill::Held;
use crate::serve::order::{self, Errand};
use crate::store::landed::land;
use crate::store::window::{Broken, Room};
use crate::telemetry::Count;

const CUT: Fault = Fault::BadGateway("the origin's body was cut short");
const LONG: Fault = Fault::BadGateway("the origin's body is longer than its head says");

/// Fetches `wanted`, or all of it if the origin takes no ranges, for whoever reads the run.
pub(super) async fn fetch(ask: Arc<Ask>, mut run: Run, wanted: Span) {
    let shared = &ask.shared;
    shared.telemetry.counters.add(Count::PieceRun, 1);
    let mut whole = ask.whole_only();
    // Twice at most: what cannot be told apart is asked for again without a range.
    for _ in 0..2 {
        let seq = shared.ledger.seq();
        let mut order = ask.order.clone();
        order.errand = errand(&ask, wanted, whole);
        let requested_at = shared.clock.now();
        let (range, answer) = ask::ask(shared, &order).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => return run.fail(Broken::Fault(fault)),
        };
        let (head, body) = answer.response.into_parts();
        let verdict = pieces::judge(&ask.manifest, wanted, head.status, &head.headers);
        let part = match verdict {
            Answered::Part(span) if !whole => (span.first, span.last + 1),
            Answered::Whole => (0, ask.grid.total),
            Answered::Changed => return run.fail(Broken::Changed),
            Answered::Useless if !whole => {
                shared.memos.remember_whole_only(ask.version, requested_at);
                whole = true;
                continue;
            }
            Answered::Part(_) | Answered::Useless | Answered::Refused => {
                return run.fail(Broken::Refused);
            }
        };
        if !may_be_shared(&ask, &order, (range, &head), requested_at) {
            return run.fail(Broken::Refused);
        }
        let only = verdict == Answered::Whole;
        if only && !whole {
            shared.memos.remember_whole_only(ask.version, requested_at);
        }
        if let Some(writer) = run.writer() {
            writer.open(part.0, part.1, only);
        }
        pump(&ask, run, body, part, seq).await;
        return;
    }
}

fn errand(ask: &Ask, wanted: Span, whole: bool) -> Errand {
    let Span { first, last } = wanted;
    match HeaderValue::try_from(format!("bytes={first}-{last}")) {
        Ok(range) if !whole => {
            Errand::FillRange { range, if_range: pieces::validator(&ask.manifest.head) }
        }
        _ => Errand::Fill,
    }
}

/// Whether the rules of storing (RFC 9111 3) allow others to read it.
fn may_be_shared(
    ask: &Ask,
    order: &order::Order,
    (range, head): (Option<HeaderValue>, &response::Parts),
    requested_at: Now,
) -> bool {
    let request = FillRequest {
        method: &http::Method::GET,
        headers: &order.parts.headers,
        has_body: false,
        range: range.as_ref(),
    };
    let received_at = ask.shared.clock.now();
    let answer =
        AnswerHead { status: head.status, headers: &head.headers, requested_at, received_at };
    storable(&request, &answer, order.place.policy()).is_ok()
}

/// Copies `body`, which holds the bytes `start..end`, as long as somebody reads. True if all
/// of it came.
pub(super) async fn pump(
    ask: &Ask,
    mut run: Run,
    mut body: OriginBody,
    (start, end): (u64, u64),
    seq: u64,
) -> bool {
    let mut assembly = Assembly::new(ask, start, seq);
    loop {
        let Some(writer) = run.writer() else { return false };
        let room = poll_fn(|cx| writer.poll_room(cx)).await;
        let (at, stop) = writer.left();
        // A piece that has begun is brought to its end, if that is worth anything.
        if room == Room::Alone && !assembly.is_under_way() {
            run.finish();
            return false;
        }
        if room == Room::Done {
            if at < end {
                run.finish();
                return false;
            }
            return match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(Ok(frame)) if frame.data_ref().is_some_and(|data| data.is_empty()) => continue,
                Some(Ok(frame)) if frame.is_data() => {
                    run.fail(Broken::Fault(LONG));
                    false
                }
                Some(Err(fault)) => {
                    run.fail(Broken::Fault(fault.fault()));
                    false
                }
                Some(Ok(_)) | None => {
                    assembly.store();
                    run.finish();
                    true
                }
            };
        }
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => {
                if let Ok(mut data) = frame.into_data() {
                    if data.len() as u64 > end - at {
                        run.fail(Broken::Fault(LONG));
                        return false;
                    }
                    data.truncate(usize::try_from(stop - at).unwrap_or(usize::MAX));
                    while !data.is_empty() {
                        let now = data.split_to(data.len().min(assembly.room()));
                        writer.push(&now, &mut |chunk| assembly.add(chunk));
                        // The last one waits until the body has ended as it should.
                        if assembly.is_full() && assembly.at < end {
                            assembly.store();
                        }
                    }
                }
            }
            Some(Err(fault)) => {
                run.fail(Broken::Fault(fault.fault()));
                return false;
            }
            None => {
                run.fail(Broken::Fault(CUT));
                return false;
            }
        }
    }
}

/// The piece that is coming in.
struct Assembly<'a> {
    ask: &'a Ask,
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
    fn new(ask: &'a Ask, start: u64, seq: u64) -> Self {
        let held = Held::new(&ask.shared);
        let mut assembly =
            Assembly { ask, seq, at: start, end: start, chunks: Vec::new(), keeping: false, held };
        assembly.next();
        assembly
    }

    fn next(&mut self) {
        self.chunks.clear();
        self.held.release();
        self.end = self.ask.grid.next(self.at);
        self.keeping = self.at.is_multiple_of(PIECE) && self.held.more(self.end - self.at);
    }

    fn room(&self) -> usize {
        usize::try_from(self.end - self.at).unwrap_or(usize::MAX)
    }

    fn is_full(&self) -> bool {
        self.at == self.end
    }

    fn is_under_way(&self) -> bool {
        self.keeping && !self.chunks.is_empty()
    }

    fn add(&mut self, chunk: Bytes) {
        self.at += chunk.len() as u64;
        if self.keeping {
            self.chunks.push(chunk);
        }
    }

    /// Keeps the piece if it is whole, and begins the next.
    fn store(&mut self) {
        if self.keeping && self.is_full() && self.at > 0 {
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
