//! A process that writes, removes and purges is killed at a random moment, many times.
//!
//! The child is this very test binary, run again with `BRINK_CRASH_DIR` set. Five rounds
//! in the ordinary run; `BRINK_LONG=1 cargo test --lib store::disk::tests::crash` does 200.

use std::io::Write;
use std::process::{Command, Stdio};

use rand::Rng;

use super::*;
use crate::rules::ledger::{Ledger, Verdict};
use crate::rules::purge::{Purge, What};
use crate::store::ledger_file::LedgerFile;

const KEYS: u64 = 200;
const CAPACITY: u64 = 2 << 20;

fn store(path: &Path) -> Options {
    let mut options = options(path);
    options.directories[0].capacity = ByteSize(CAPACITY);
    options.segment = Some(ByteSize::kib(256));
    options
}

fn ledger(path: &Path) -> (LedgerFile, Ledger) {
    let (file, restored) = LedgerFile::open(&path.join("ledger")).unwrap();
    assert!(!restored.damaged);
    let purges = restored.records.iter().map(|(_, bytes)| Purge::decode(bytes).unwrap());
    let ledger = Ledger::restore(restored.seq, restored.floor, purges.collect());
    (file, ledger)
}

/// Body length and content follow from the key and the version in its tag.
fn content(n: u64, version: u64) -> Bytes {
    body(n << 32 | version, (n * 97 % 20_000) as usize)
}

#[test]
fn child() {
    let Some(dir) = std::env::var_os("BRINK_CRASH_DIR") else { return };
    let dir = Path::new(&dir);
    let disk = joined(Disk::open(store(dir), Clock::real()).unwrap());
    let (file, ledger) = ledger(dir);
    let mut acknowledged =
        std::fs::File::options().append(true).create(true).open(dir.join("acknowledged")).unwrap();
    let mut rng = rand::rng();
    loop {
        let (n, version) = (rng.random_range(0..KEYS), rng.random_range(0..1_000));
        let seq = ledger.seq();
        let mut one = entry(&format!("http://a:80/{n}"), content(n, version));
        one.tags = Box::new([format!("k{n}").into(), format!("v{version}").into()]);
        (one.seq, one.checked_seq) = (seq, AtomicU64::new(seq));
        disk.put(Arc::new(one));
        match rng.random_range(0..400) {
            0 => {
                let what = What::tag(&format!("k{n}")).unwrap();
                let purges = ledger.number(vec![what], false, 0);
                let mut bytes = Vec::new();
                purges[0].encode(&mut bytes);
                file.append(&[(purges[0].seq, bytes)]).unwrap();
                ledger.apply(purges);
                // In one write: a kill between number and line end would join two numbers.
                let line = format!("{}\n", ledger.seq());
                acknowledged.write_all(line.as_bytes()).unwrap();
            }
            1..4 => {
                disk.remove(&key(&disk, &format!("http://a:80/{n}")));
            }
            4 => {
                sync(&disk);
            }
            _ => {}
        }
    }
}

#[test]
fn after_kill_9_every_answer_is_exact_or_a_miss_and_purges_hold() {
    let dir = scratch();
    let rounds = if std::env::var_os("BRINK_LONG").is_some() { 200 } else { 5 };
    let (mut hits, mut purged) = (0, 0);
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["store::disk::tests::crash::child", "--exact"])
            .env("BRINK_CRASH_DIR", dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(20..400)));
        child.kill().unwrap();
        child.wait().unwrap();
        let (_file, ledger) = ledger(dir.path());
        let acknowledged =
            std::fs::read_to_string(dir.path().join("acknowledged")).unwrap_or_default();
        let last: u64 = acknowledged.lines().last().map_or(0, |line| line.parse().unwrap());
        let seq = ledger.seq();
        assert!(seq >= last, "round {round}: acknowledged up to {last}, found up to {seq}");
        let disk = joined(Disk::open(store(dir.path()), Clock::real()).unwrap());
        assert!(disk.stats()[0].used_bytes <= CAPACITY, "round {round}");
        for n in 0..KEYS {
            let Some(slot) = get(&disk, &format!("http://a:80/{n}")) else { continue };
            let found = &slot.variants[0];
            let version = found.tags.iter().find_map(|tag| tag.strip_prefix('v')).unwrap();
            let exact = content(n, version.parse().unwrap());
            assert!(bytes_of(found) == exact, "round {round}, key {n}");
            hits += 1;
            let purge = ledger.recent(0).iter().any(|purge| {
                purge.seq > found.seq && purge.what == What::tag(&format!("k{n}")).unwrap()
            });
            if purge {
                assert_eq!(ledger.verdict(found), Verdict::Gone, "round {round}, key {n}");
                purged += 1;
            }
        }
        if round % 3 == 2 {
            disk.close();
        }
    }
    println!("{rounds} rounds, {hits} exact answers, {purged} purged ones refused");
    assert!(hits > 0);
}
