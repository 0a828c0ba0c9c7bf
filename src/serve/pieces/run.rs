//! A run: ranges of the origin, each judged, copied into the window, cut into pieces.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, response};
use http_body::Body as _;

use super::answer::gap_end;
use super::table::Run;
use super::{Ask, assembly::Assembly};
use crate::base::Now;
use crate::origin::OriginBody;
use crate::rules::fault::Fault;
use crate::rules::pieces::{self, Answered, PIECE};
use crate::rules::range::Span;
use crate::rules::settle::{AnswerHead, FillRequest};
use crate::rules::storable::storable;
use crate::serve::ask;
use crate::serve::order::{Errand, Order};
use crate::store::window::{Broken, Room, Writer};
use crate::telemetry::Count;

const CUT: Fault = Fault::BadGateway("the origin's body was cut short");
const LONG: Fault = Fault::BadGateway("the origin's body is longer than its head says");

/// An answer of the origin that has been judged to be of this object.
pub(super) struct Came {
    /// The bytes `start..end` of it.
    pub part: (u64, u64),
    pub body: OriginBody,
    /// The ledger's number when it was asked for.
    pub seq: u64,
    /// It is the one stream that there is.
    pub only: bool,
}

/// Fetches `wanted`, or all of it if the origin takes no ranges, for whoever reads the run.
pub(super) async fn fetch(ask: Arc<Ask>, run: Run, wanted: Span) {
    let (stretch, whole) = (pieces::stride(wanted, 0), ask.whole_only());
    let came = match question(&ask, stretch, whole).await {
        // What cannot be told apart is asked for again without a range.
        Ok(None) if !whole => question(&ask, stretch, true).await,
        other => other,
    };
    let came = match came {
        Ok(Some(came)) => came,
        Ok(None) => return run.fail(Broken::Refused),
        Err(why) => return run.fail(why),
    };
    let end = if came.only { came.part.1 } else { wanted.last + 1 };
    go_on(&ask, run, came, end).await;
}

/// Copies what came, and asks for more and copies that, up to `end`, as long as somebody
/// reads. True if all of it came.
pub(super) async fn go_on(ask: &Ask, mut run: Run, mut came: Came, end: u64) -> bool {
    let start = came.part.0;
    if let Some(writer) = run.writer() {
        writer.open(start, end, came.only);
    }
    let mut assembly = Assembly::new(ask, start, came.seq);
    loop {
        let Some(writer) = run.writer() else { return false };
        match pump(writer, &mut assembly, &mut came).await {
            Ok(true) => {}
            Ok(false) => {
                run.finish();
                return false;
            }
            Err(fault) => {
                run.fail(Broken::Fault(fault));
                return false;
            }
        }
        if came.part.1 >= end {
            run.finish();
            return true;
        }
        came = match more(ask, writer, start, came.part.1).await {
            Ok(Some(next)) => next,
            Ok(None) | Err(Broken::Refused) => {
                run.finish();
                return false;
            }
            Err(why) => {
                run.fail(why);
                return false;
            }
        };
        assembly.asked_at(came.seq);
    }
}

/// The next stretch of a run that began at `start` and has come to `at`. `None` if it ends
/// here: nobody reads, or what follows is held, or the origin gives something else by now,
/// which whoever reads on finds out by himself.
async fn more(ask: &Ask, writer: &mut Writer, start: u64, at: u64) -> Result<Option<Came>, Broken> {
    let room = poll_fn(|cx| writer.poll_room(cx)).await;
    let n = at / PIECE;
    if room != Room::Yes || (at.is_multiple_of(PIECE) && ask.at_rest(n)) {
        return Ok(None);
    }
    let (_, stop) = writer.left();
    let rest = Span { first: at, last: gap_end(n, stop - 1, |n| ask.at_rest(n)) };
    let came = question(ask, pieces::stride(rest, at - start), false).await?;
    Ok(came.filter(|came| came.part.0 == at && !came.only))
}

/// Asks for `stretch`, or for all of it, and judges the head of the answer. `None` if the
/// origin cannot be asked for ranges.
async fn question(ask: &Ask, stretch: Span, whole: bool) -> Result<Option<Came>, Broken> {
    let shared = &ask.shared;
    shared.telemetry.counters.add(Count::PieceRun, 1);
    let seq = shared.ledger.seq();
    let mut order = ask.order.clone();
    order.errand = errand(ask, stretch, whole);
    let requested_at = shared.clock.now();
    let (range, answer) = ask::ask(shared, &order).await;
    let (head, body) = answer.map_err(Broken::Fault)?.response.into_parts();
    let verdict = pieces::judge(&ask.manifest, stretch, head.status, &head.headers);
    let part = match verdict {
        Answered::Part(span) if !whole => (span.first, span.last + 1),
        Answered::Whole => (0, ask.grid.total),
        Answered::Changed => return Err(Broken::Changed),
        Answered::Useless if !whole => {
            shared.memos.remember_whole_only(ask.version, requested_at);
            return Ok(None);
        }
        Answered::Part(_) | Answered::Useless | Answered::Refused => return Err(Broken::Refused),
    };
    if !may_be_shared(ask, &order, (range, &head), requested_at) {
        return Err(Broken::Refused);
    }
    let only = verdict == Answered::Whole;
    if only && !whole {
        shared.memos.remember_whole_only(ask.version, requested_at);
    }
    Ok(Some(Came { part, body, seq, only }))
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
    order: &Order,
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

/// Copies what came as long as somebody reads. True if all of it came.
async fn pump(
    writer: &mut Writer,
    assembly: &mut Assembly<'_>,
    came: &mut Came,
) -> Result<bool, Fault> {
    let end = came.part.1;
    loop {
        let room = poll_fn(|cx| writer.poll_room(cx)).await;
        let (at, stop) = writer.left();
        // A piece that has begun is brought to its end, if that is worth anything.
        if room == Room::Alone && !assembly.is_under_way() {
            return Ok(false);
        }
        if room == Room::Done && at < end {
            return Ok(false);
        }
        match poll_fn(|cx| Pin::new(&mut came.body).poll_frame(cx)).await {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if data.len() as u64 > end - at {
                    return Err(LONG);
                }
                copy(data, writer, assembly, (stop, end));
            }
            Some(Err(fault)) => return Err(fault.fault()),
            None if at < end => return Err(CUT),
            None => {
                assembly.store();
                return Ok(true);
            }
        }
    }
}

/// Copies `data`, which lies before `end`, up to `stop`.
fn copy(
    mut data: Bytes,
    writer: &mut Writer,
    assembly: &mut Assembly<'_>,
    (stop, end): (u64, u64),
) {
    let (at, _) = writer.left();
    data.truncate(usize::try_from(stop - at).unwrap_or(usize::MAX));
    while !data.is_empty() {
        let now = data.split_to(data.len().min(assembly.room()));
        writer.push(&now, &mut |chunk| assembly.add(chunk));
        // The last one waits until the body has ended as it should.
        if assembly.is_full() && assembly.at() < end {
            assembly.store();
        }
    }
}
