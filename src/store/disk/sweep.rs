//! Walks over everything stored: to free what purges have hit, and to list.
//!
//! A purge is in effect before any sweep, because every lookup is judged by the ledger;
//! the sweep frees the room and lets the ledger forget. Keys and tags are only on disk,
//! so a walk reads the head of every record, a 256th of the index at a time in the order
//! of the disk: no list of all objects is ever held. All of this blocks; it belongs on a
//! thread of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::directory::{Directory, Segment};
use super::format::{Header, Kind};
use super::index::Place;
use super::marks::Mark;
use super::meta::{self, Facts};
use super::payload::Payload;
use super::queue::Job;
use super::reader::{Wait, read_meta, read_record};
use super::{Disk, Member};
use crate::rules::ledger::Verdict;

/// Tombstones queued before the writer is waited for.
const BURIALS: u64 = 4096;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Records looked at.
    pub examined: u64,
    /// Records dropped.
    pub dropped: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Records written again as stale.
    pub softened: u64,
    /// Everything stored when it began has been judged, durably. Otherwise (a directory
    /// out or joining, a fault) the ledger must not forget.
    pub complete: bool,
}

impl Disk {
    /// Has `judge` look at every record. What is `Gone` is dropped for good, what is
    /// `Stale` is written again as stale, and all others are marked as judged up to
    /// `upto`, the ledger's number from before the call. Blocks.
    pub fn sweep(&self, upto: u64, judge: &mut dyn FnMut(&Facts<'_>) -> Verdict) -> SweepReport {
        let mut report = SweepReport { complete: true, ..SweepReport::default() };
        for member in &self.members {
            member.sweep(upto, judge, &mut report);
        }
        report
    }

    /// Shows `visit` every record with its bytes on disk until it answers false. Blocks.
    pub fn walk(&self, visit: &mut dyn FnMut(&Facts<'_>, u64) -> bool) {
        for member in self.members.iter().filter(|member| member.dir.is_ready()) {
            let on = member.walk(&mut |seen| visit(&seen.facts, seen.place.len()));
            if !on {
                return;
            }
        }
    }
}

/// One record of a walk.
struct Seen<'a> {
    segment: &'a Segment,
    place: Place,
    print: u64,
    header: Header,
    facts: Facts<'a>,
}

impl Member {
    fn walk(&self, visit: &mut dyn FnMut(&Seen<'_>) -> bool) -> bool {
        let dir = &self.dir;
        for part in 0..dir.index.parts() {
            for (print, place) in dir.index.part(part) {
                let Some(segment) = dir.segments.at(place.slot()) else { continue };
                let (header, meta) = match read_meta(&segment, place) {
                    Ok(read) => read,
                    Err(error) => {
                        dir.unreadable(error, print, place);
                        continue;
                    }
                };
                if !matches!(header.kind, Kind::Entry | Kind::Piece) {
                    continue;
                }
                let Some(mut facts) = meta::decode_facts(&meta) else { continue };
                facts.since = facts.since.max(dir.marks.judged(&header, place.offset()));
                if !visit(&Seen { segment: &segment, place, print, header, facts }) {
                    return false;
                }
            }
        }
        true
    }

    fn sweep(
        &self,
        upto: u64,
        judge: &mut dyn FnMut(&Facts<'_>) -> Verdict,
        report: &mut SweepReport,
    ) {
        let dir = &self.dir;
        let Some((serial, offset)) = self.ask(Job::Position) else {
            report.complete = false;
            return;
        };
        self.walk(&mut |seen| {
            report.examined += 1;
            match judge(&seen.facts) {
                Verdict::Live => {}
                // Whether a piece may be used is said by its manifest.
                Verdict::Stale if seen.header.kind == Kind::Piece => {}
                Verdict::Stale if soften(dir, seen, upto) => report.softened += 1,
                Verdict::Stale | Verdict::Gone => {
                    if dir.index.remove_exact(seen.print, seen.place) {
                        let Header { hash, variant, .. } = seen.header;
                        dir.queue.order(Job::Bury { hash, variant });
                        report.dropped += 1;
                        report.bytes += seen.place.len();
                        if report.dropped.is_multiple_of(BURIALS) {
                            self.ask(Job::Position);
                        }
                    }
                }
            }
            dir.is_ready()
        });
        // The mark says that what is gone was buried: it must not be on the disk before that
        // is so.
        let durable = || dir.is_ready() && self.ask(Job::Sync) == Some(true);
        let buried = durable();
        if buried {
            dir.queue.order(Job::Judged(Mark { upto, serial, offset }));
        }
        if buried && durable() {
            dir.marks.add(Mark { upto, serial, offset });
        } else {
            report.complete = false;
        }
    }

    /// Gives the writer a job and waits for its answer.
    fn ask<T>(&self, job: impl FnOnce(tokio::sync::oneshot::Sender<T>) -> Job) -> Option<T> {
        if !self.dir.is_ready() {
            return None;
        }
        let (sender, answer) = tokio::sync::oneshot::channel();
        self.dir.queue.order(job(sender));
        answer.blocking_recv().ok()
    }
}

/// Writes a record again, marked stale. False if that cannot be done.
fn soften(dir: &Directory, seen: &Seen<'_>, upto: u64) -> bool {
    let Header { hash, variant, .. } = seen.header;
    if dir.queue.pending(hash).iter().any(|waits| waits.variant() == variant) {
        // A newer one is on its way and will replace it.
        return true;
    }
    let Ok(record) = read_record(seen.segment, seen.place, Wait::Yes) else { return false };
    let now = dir.clock.now();
    let judged = record.header.judged.max(upto);
    let Some(entry) = meta::decode(&record.meta, record.body, judged, now, dir.run) else {
        return false;
    };
    entry.soft_purged.store(true, Ordering::Release);
    dir.queue.put(hash, variant, Payload::Entry(Arc::new(entry)))
}
