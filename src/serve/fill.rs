//! Filling the cache: the origin's body into a spool, the spool into an entry.
//!
//! The entry becomes visible only when the body ended as its framing said and has the
//! length its head announced (promise P4). Anything else fails the spool, which every
//! reader sees as an abort. A body that grows past what may be stored keeps flowing to
//! those who read it, in a bounded window, and leaves the table so that nobody else joins.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body::Body as _;
use smallvec::SmallVec;

use super::Shared;
use super::flights::{Lead, Progress};
use super::order::{Client, tell};
use super::pieces;
use crate::origin::OriginBody;
use crate::rules::entry::Entry;
use crate::rules::fault::Fault;
use crate::rules::key::Key;
use crate::rules::settle::Storable;
use crate::store::spool::{Spool, Writer};

const CUT: Fault = Fault::BadGateway("the origin's body was cut short");

/// What a fill owns besides the answer.
pub(super) struct Filling {
    pub lead: Lead,
    pub key: Key,
    /// The origin's status.
    pub status: u16,
    pub client: Client,
    /// Largest body kept, by the site's policy.
    pub limit: u64,
    /// A body whose length was not announced is cut into pieces if it is longer than this.
    pub pieces_from: u64,
}

/// Streams `body` to the flight's readers and stores it when it is whole.
pub(super) async fn fill(
    shared: &Arc<Shared>,
    filling: Filling,
    storable: Storable,
    body: OriginBody,
) {
    let Filling { lead, key, status, client, limit, pieces_from } = filling;
    shared.memos.refresh_worked(key.hash());
    let seq = lead.seq();
    let limit = limit.min(shared.options.object_max);
    let (spool, mut writer) = Spool::new(storable.expected_len);
    let reader = spool.reader();
    let Some(head) = head_alone(&storable, &key, seq) else { return };
    for piece in &storable.prefix {
        writer.push(piece);
    }
    let progress = Progress::Shared { head: Arc::new(head), spool, fwd_status: status };
    tell(&lead, progress, reader, client);
    let held = Held::new(shared);
    let Some(body) = pump(body, writer, (limit, held), &lead).await else { return };
    if lead.is_doomed() {
        return;
    }
    let announced = storable.expected_len.is_some();
    if let Some(entry) = storable.into_entry(&key, body, seq) {
        match !announced && entry.is_whole() && entry.body_len() > pieces_from && status == 200 {
            true => pieces::split(shared, &key, entry),
            false => shared.store(&key, Arc::new(entry)),
        }
        shared.memos.forget_uncacheable(key.hash());
    }
}

/// Stores a body that is here already, and answers with what is stored.
pub(super) fn at_once(shared: &Shared, filling: Filling, storable: Storable, whole: Bytes) {
    let Filling { lead, key, status, client, .. } = filling;
    shared.memos.refresh_worked(key.hash());
    let body = if whole.is_empty() { SmallVec::new() } else { SmallVec::from_iter([whole]) };
    let Some(entry) = storable.into_entry(&key, body, lead.seq()) else {
        return tell(&lead, Progress::Failed(CUT), None, client);
    };
    let entry = Arc::new(entry);
    if !lead.is_doomed() {
        shared.store(&key, entry.clone());
        shared.memos.forget_uncacheable(key.hash());
    }
    tell(&lead, Progress::Landed { entry, fwd_status: status }, None, client);
}

/// The entry to be, without its body: what followers need to know of it.
fn head_alone(storable: &Storable, key: &Key, seq: u64) -> Option<Entry> {
    let mut head = storable.clone();
    head.expected_len = None;
    head.into_entry(key, SmallVec::new(), seq)
}

/// This fill's share of what all fills hold.
pub(super) struct Held<'a> {
    shared: &'a Shared,
    bytes: u64,
}

impl<'a> Held<'a> {
    /// No share yet.
    pub fn new(shared: &'a Shared) -> Self {
        Held { shared, bytes: 0 }
    }

    /// Whether `bytes` more may be held.
    pub fn more(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        let all = self.shared.filling.fetch_add(bytes, Ordering::Relaxed) + bytes;
        all <= self.shared.options.fills_max
    }

    /// Gives the share back.
    pub fn release(&mut self) {
        self.shared.filling.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

/// Copies the body over. `None` if it failed or grew past `limit`.
async fn pump(
    mut body: OriginBody,
    mut writer: Writer,
    (limit, mut held): (u64, Held<'_>),
    lead: &Lead,
) -> Option<SmallVec<[Bytes; 1]>> {
    let mut keeping = true;
    loop {
        if !poll_fn(|cx| writer.poll_room(cx)).await {
            // Not stored and nobody reads: give the connection up.
            writer.fail(CUT);
            return None;
        }
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => {
                // Trailers are not stored: merging them needs knowledge of each field
                // (RFC 9110 6.5.1).
                if let Ok(data) = frame.into_data() {
                    writer.push(&data);
                    if keeping && (writer.written() > limit || !held.more(data.len() as u64)) {
                        keeping = false;
                        lead.leave_table();
                        writer.keep_window_only();
                        held.release();
                    }
                }
            }
            Some(Err(fault)) => {
                writer.fail(fault.fault());
                return None;
            }
            None => return writer.finish(),
        }
    }
}
