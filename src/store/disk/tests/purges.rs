//! Purges and the disk: sweeps, marks, and what a restart must not bring back.

use super::*;
use crate::rules::ledger::{Ledger, Verdict};
use crate::rules::purge::What;

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
