//! The ledger's file across crashes, rot, removal and other processes.

use super::*;

fn purges(count: u64) -> Vec<(u64, Vec<u8>)> {
    (1..=count).map(|seq| (seq, format!("purge number {seq}").into_bytes())).collect()
}

fn reopened(path: &Path) -> Restored {
    LedgerFile::open(path).unwrap().1
}

#[test]
fn purges_and_floor_come_back_and_a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let (ledger, empty) = LedgerFile::open(&path).unwrap();
    assert_eq!(empty, Restored { made: true, ..Restored::default() });
    ledger.append(&purges(3)).unwrap();
    let held = LedgerFile::open(&path).err().unwrap();
    assert_eq!(held.kind(), io::ErrorKind::WouldBlock);
    drop(ledger);
    let (ledger, found) = LedgerFile::open(&path).unwrap();
    assert_eq!((found.seq, found.floor, found.records), (3, 0, purges(3)));
    ledger.rewrite(2, 3, &purges(3)[2..]).unwrap();
    ledger.append(&[(4, b"four".to_vec())]).unwrap();
    drop(ledger);
    let found = reopened(&path);
    assert_eq!((found.seq, found.floor, found.damaged), (4, 2, false));
    assert_eq!(found.records, [(3, purges(3)[2].1.clone()), (4, b"four".to_vec())]);
}

#[test]
fn a_torn_tail_loses_only_the_call_that_was_not_answered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let mut bytes = header(0, 0).to_vec();
    let mut ends = vec![bytes.len()];
    for (seq, payload) in purges(3) {
        frame(seq, &payload, &mut bytes).unwrap();
        ends.push(bytes.len());
    }
    for len in 0..=bytes.len() {
        std::fs::write(&path, &bytes[..len]).unwrap();
        let whole = ends.iter().filter(|end| **end <= len).count().saturating_sub(1);
        let found = reopened(&path);
        assert!(!found.damaged, "cut at {len}");
        assert_eq!(found.records, purges(whole as u64), "cut at {len}");
        // What is appended after the cut is read again.
        let (ledger, _) = LedgerFile::open(&path).unwrap();
        ledger.append(&[(9, b"nine".to_vec())]).unwrap();
        drop(ledger);
        assert_eq!(reopened(&path).records.len(), whole + 1, "cut at {len}");
    }
}

#[test]
fn a_file_that_was_removed_takes_no_purge_and_is_made_again_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let (ledger, _) = LedgerFile::open(&path).unwrap();
    ledger.append(&purges(2)).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(ledger.append(&purges(3)[2..]).is_err(), "nobody would find it");
    ledger.append(&purges(3)[2..]).unwrap();
    drop(ledger);
    assert_eq!(reopened(&path).records, purges(3));
}

#[test]
fn shortening_keeps_what_was_appended_meanwhile_and_not_yet_applied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let (ledger, _) = LedgerFile::open(&path).unwrap();
    ledger.append(&purges(4)).unwrap();
    // The ledger in memory knows of two, and has forgotten the first.
    ledger.rewrite(1, 2, &purges(2)[1..]).unwrap();
    drop(ledger);
    let found = reopened(&path);
    assert_eq!((found.floor, found.seq), (1, 4));
    assert_eq!(found.records, purges(4)[1..]);
}

#[test]
fn a_released_file_is_the_other_processs_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let (ledger, _) = LedgerFile::open(&path).unwrap();
    ledger.append(&purges(1)).unwrap();
    ledger.release();
    let (other, found) = LedgerFile::open(&path).unwrap();
    assert_eq!(found.records, purges(1));
    assert!(ledger.append(&purges(2)[1..]).is_err() && ledger.rewrite(1, 1, &[]).is_err());
    other.append(&purges(2)[1..]).unwrap();
    drop(other);
    assert_eq!(reopened(&path).records, purges(2));
}

#[test]
fn no_flipped_bit_loses_a_purge_silently() {
    let mut bytes = header(1, 1).to_vec();
    for (seq, payload) in purges(4).split_off(1) {
        frame(seq, &payload, &mut bytes).unwrap();
    }
    let sound = restore(&bytes).unwrap().0;
    assert_eq!((sound.seq, sound.records.len(), sound.damaged), (4, 3, false));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok((found, _)) = restore(&flipped) {
            assert!(found.damaged, "bit {bit}");
            assert!(found.floor >= 4 && found.seq >= 4, "bit {bit}");
        }
    }
}
