//! Purges and the disk: sweeps, marks, and what a restart must not bring back.

use super::faults::open_faulty;
use super::*;
use crate::rules::ledger::{Ledger, Verdict};
use crate::rules::purge::What;
use crate::store::disk::faulty::{Fault, Faults, When};

fn tagged(n: u64, tag: &str) -> Arc<Entry> {
    let mut one = entry(&format!("http://a:80/{n}"), body(n, 700));
    one.tags = Box::new([tag.into()]);
    (one.seq, one.checked_seq) = (0, AtomicU64::new(0));
    Arc::new(one)
}

fn purge(ledger: &Ledger, tag: &str, soft: bool) {
    ledger.apply(ledger.number(vec![What::tag(tag).unwrap()], soft, WALL));
}

fn sweep(disk: &Disk, ledger: &Ledger) -> SweepReport {
    disk.sweep(ledger.seq(), &mut |facts| ledger.verdict_of(facts.key, &facts.tags, facts.since))
}

fn verdicts(disk: &Disk, ledger: &Ledger, count: u64) -> Vec<Option<Verdict>> {
    let verdict = |n| {
        let slot = get(disk, &format!("http://a:80/{n}"))?;
        Some(ledger.verdict(&slot.variants[0]))
    };
    (0..count).map(verdict).collect()
}

#[test]
fn a_sweep_drops_what_is_gone_marks_what_is_stale_and_lets_the_ledger_forget() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, options) = (clock(), options(dir.path()));
    let (mut disk, ledger) = (open(&options, &clock), Ledger::new());
    for (n, tag) in [(0, "hard"), (1, "soft"), (2, "other")] {
        disk.put(tagged(n, tag));
    }
    purge(&ledger, "hard", false);
    purge(&ledger, "soft", true);
    let report = sweep(&disk, &ledger);
    let counts = (report.examined, report.dropped, report.softened, report.complete);
    assert_eq!(counts, (3, 1, 1, true));
    ledger.forget(ledger.seq());
    let expected = [None, Some(Verdict::Stale), Some(Verdict::Live)];
    for restarts in 0..3 {
        assert_eq!(verdicts(&disk, &ledger, 3), expected, "after {restarts} restarts");
        if restarts == 0 {
            drop(disk);
        } else {
            disk.close();
        }
        disk = open(&options, &clock);
    }
}

#[test]
fn what_was_written_after_the_sweep_began_is_not_covered_by_its_mark() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, options) = (clock(), options(dir.path()));
    let (disk, ledger) = (open(&options, &clock), Ledger::new());
    disk.put(tagged(0, "a"));
    purge(&ledger, "b", false);
    assert!(sweep(&disk, &ledger).complete);
    // Asked for before the purge, stored after the sweep: nobody has judged it.
    disk.put(tagged(1, "b"));
    assert!(sync(&disk));
    ledger.forget(ledger.seq());
    assert_eq!(verdicts(&disk, &ledger, 2), [Some(Verdict::Live), Some(Verdict::Gone)]);
}

#[test]
fn a_mark_goes_along_when_a_record_moves() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, options) = (clock(), options(dir.path()));
    let (disk, ledger) = (open(&options, &clock), Ledger::new());
    disk.put(tagged(0, "a"));
    purge(&ledger, "b", false);
    assert!(sweep(&disk, &ledger).complete);
    ledger.forget(ledger.seq());
    let mut n = 1;
    while counter(&disk, "reinserted") < 3 {
        assert_eq!(verdicts(&disk, &ledger, 1), [Some(Verdict::Live)], "after {n}");
        disk.put(tagged(n, "a"));
        assert!(sync(&disk));
        n += 1;
    }
    disk.close();
    assert_eq!(verdicts(&open(&options, &clock), &ledger, 1), [Some(Verdict::Live)]);
}

/// Tombstones and marks in a segment that is not given at a start are not known: what they
/// void must not be taken for judged, now or when the segment can be read again.
#[test]
fn what_was_purged_stays_so_whichever_call_failed_when_the_directory_joined() {
    for n in 0..40 {
        let dir = scratch();
        let (clock, options) = (clock(), options(dir.path()));
        let (disk, ledger) = (open(&options, &clock), Ledger::new());
        let fill = |disk: &Disk, from: u64| {
            for n in from..from + 100 {
                disk.put(tagged(n, "other"));
                assert!(sync(disk));
            }
        };
        disk.put(tagged(0, "gone"));
        fill(&disk, 1);
        purge(&ledger, "gone", false);
        assert!(sweep(&disk, &ledger).complete);
        fill(&disk, 101);
        disk.close();
        // It was judged and buried, and so the ledger forgets it.
        ledger.forget(ledger.seq());
        let faults = Arc::new(Faults::default());
        faults.arm(When::Once(n), Fault::Io);
        let disk = open_faulty(&options, &faults);
        assert_ne!(verdicts(&disk, &ledger, 1), [Some(Verdict::Live)], "call {n} failed");
        purge(&ledger, "other", false);
        if sweep(&disk, &ledger).complete {
            ledger.forget(ledger.seq());
        }
        disk.close();
        let disk = open(&options, &clock);
        let left = verdicts(&disk, &ledger, 201);
        let back = left.iter().filter(|found| **found == Some(Verdict::Live)).count();
        assert_eq!(back, 0, "call {n} failed");
    }
}

/// A file that is not removed when its segment is reclaimed is read again at the next start.
#[test]
fn what_was_purged_stays_so_though_files_were_not_removed() {
    for n in (0..300).step_by(3) {
        let dir = scratch();
        let (clock, mut options) = (clock(), options(dir.path()));
        options.faults_max = 1_000_000;
        let faults = Arc::new(Faults::default());
        let (disk, ledger) = (open_faulty(&options, &faults), Ledger::new());
        let mut next = 0;
        let mut fill = |disk: &Disk, counted: &str, until: u64| {
            while counter(disk, counted) < until {
                disk.put(tagged(next, if next == 0 { "gone" } else { "other" }));
                sync(disk);
                next += 1;
                assert!(next < 20_000, "call {n}: the disk goes on");
            }
        };
        // The tombstone lies in a later segment than what it voids.
        fill(&disk, "written_bytes", 80 << 10);
        purge(&ledger, "gone", false);
        assert!(sweep(&disk, &ledger).complete);
        ledger.forget(ledger.seq());
        fill(&disk, "written_bytes", 440 << 10);
        // Somewhere in here the file of a reclaimed segment stays.
        faults.arm(When::Once(n), Fault::Io);
        fill(&disk, "reclaimed", 4);
        faults.disarm();
        drop(disk);
        let disk = open(&options, &clock);
        assert_ne!(verdicts(&disk, &ledger, 1), [Some(Verdict::Live)], "call {n} failed");
    }
}
