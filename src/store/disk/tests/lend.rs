//! Records read where they lie: the same bytes, all of them proved, or none.

use std::os::unix::fs::FileExt;

use super::*;

const NAME: &str = "http://a:80/long";
const LEN: usize = 700_001;

/// On a file system that answers from the page cache; segments of 2 MiB.
fn store() -> (tempfile::TempDir, Disk) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.directories[0].capacity = ByteSize::mib(8);
    options.segment = Some(ByteSize::mib(2));
    let disk = open(&options, &clock());
    disk.put(Arc::new(entry(NAME, body(1, LEN))));
    assert!(sync(&disk));
    (dir, disk)
}

fn all_of(lent: &Lent, from: u64) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while from + (out.len() as u64) < lent.body_len() {
        out.extend_from_slice(&lent.read_now(from + out.len() as u64)?);
    }
    Some(out)
}

#[test]
fn what_is_lent_is_what_was_stored_from_any_byte_on() {
    let (_dir, disk) = store();
    let lent = disk.lend(&key(&disk, NAME)).unwrap();
    assert_eq!((lent.body_len(), lent.entry.body.len()), (LEN as u64, 0));
    assert_eq!(lent.entry.tags.len(), 2);
    let whole = body(1, LEN);
    for from in [0, 1, 65_535, 65_536, 65_537, 262_144, 300_000, LEN - 1] {
        assert!(all_of(&lent, from as u64).unwrap() == whole[from..], "{from}");
    }
    assert!(lent.read_now(LEN as u64).is_none());
    // Buffers that are held are not given to somebody else.
    let held: Vec<Bytes> = (0..40).map(|_| lent.read_now(0).unwrap()).collect();
    assert!(held.iter().all(|bytes| whole.starts_with(bytes)));
}

#[test]
fn nothing_is_lent_that_waits_to_be_written_varies_or_is_not_there() {
    let (_dir, disk) = store();
    assert!(disk.lend(&key(&disk, "http://a:80/other")).is_none());
    disk.put(Arc::new(varied(NAME, "de", body(2, 10))));
    assert!(sync(&disk));
    assert!(disk.lend(&key(&disk, NAME)).is_none());
    disk.remove(&key(&disk, NAME));
    assert!(disk.lend(&key(&disk, NAME)).is_none());
}

#[test]
fn a_bit_that_flips_under_a_reader_is_never_handed_out() {
    let (dir, disk) = store();
    let lent = disk.lend(&key(&disk, NAME)).unwrap();
    assert!(lent.read_now(0).is_some());
    let segment = dir.path().join("segments").join("0000000000000001");
    let bytes = std::fs::read(&segment).unwrap();
    let whole = body(1, LEN);
    let start = bytes.windows(64).position(|part| part == &whole[..64]).unwrap();
    let file = std::fs::File::options().write(true).open(&segment).unwrap();
    let at = 400_000;
    file.write_all_at(&[whole[at] ^ 4], (start + at) as u64).unwrap();
    assert!(lent.read_now(300_000).is_none());
    assert_eq!(counter(&disk, "flaws"), 1);
    assert!(disk.lend(&key(&disk, NAME)).is_none(), "it is dropped");
    assert!(get(&disk, NAME).is_none());
}

#[test]
fn what_is_lent_outlives_the_segment_it_lies_in() {
    let (_dir, disk) = store();
    let lent = disk.lend(&key(&disk, NAME)).unwrap();
    for n in 0..20 {
        disk.put(Arc::new(entry(&format!("http://b:80/{n}"), body(n, LEN))));
        assert!(sync(&disk));
    }
    assert!(counter(&disk, "reclaimed") > 0);
    let got = all_of(&lent, 0).unwrap();
    assert!(got == body(1, LEN));
}
