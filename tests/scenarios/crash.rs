//! Promise P8 behind HTTP: the program is killed (SIGKILL) under load, again and again.
//!
//! Clients fetch and a purger purges while it runs; then it is killed, at a random moment or
//! at the very answer to a purge, and started again on the same directories. Each body says
//! which key and version it is and follows from both byte for byte. A purge raises the
//! version at the origin first, so an answer of an older version after the purge was
//! acknowledged is a purge that was lost.
//!
//! A few rounds in the ordinary run. `BRINK_LONG=1 cargo test --test scenarios crash::` does
//! 200; `BRINK_BINARY=target/release/brink` does them with another build, and
//! `BRINK_ROUNDS` another number. The figures are printed at the end (`-- --nocapture`).

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use rand::Rng;

use crate::support::client::request;
use crate::support::process::{config, long};
use crate::support::reply::ok;
use crate::support::*;

const KEYS: usize = 1_500;
const CLIENTS: usize = 4;
/// Two directories of 64 MiB in segments of 2 MiB: the keys weigh half as much again.
const CAPACITY: u64 = 64 << 20;
const SEGMENT: u64 = 2 << 20;

/// What every body is cut from.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33).to_le_bytes()
    };
    (0..64 << 10).flat_map(next).collect()
});

fn length(key: usize) -> usize {
    1_000 + key * 7_919 % 250_000
}

/// The body of a key in a version: who it is, then bytes that no other one has there.
fn body(key: usize, version: u64) -> Vec<u8> {
    let from = (key * 31 + version as usize * 1_009) % (NOISE.len() - 260_000);
    let mut body = format!("{key} {version}\n").into_bytes();
    body.extend_from_slice(&NOISE[from..from + length(key)]);
    body
}

/// Key and version a body claims to be, if it is that body byte for byte.
fn judged(bytes: &[u8]) -> Option<(usize, u64)> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let (key, version) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let (key, version) = (key.parse().ok()?, version.parse().ok()?);
    (key < KEYS && bytes == body(key, version)).then_some((key, version))
}

/// What outlives the process: versions at the origin, and what purges have promised.
struct World {
    current: Vec<AtomicU64>,
    promised: Vec<AtomicU64>,
    checked: AtomicU64,
    purges: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl World {
    fn new() -> Arc<Self> {
        let zeros = || (0..KEYS).map(|_| AtomicU64::new(0)).collect();
        Arc::new(World {
            current: zeros(),
            promised: zeros(),
            checked: AtomicU64::new(0),
            purges: AtomicU64::new(0),
            wrong: Mutex::default(),
        })
    }

    fn origin(self: &Arc<Self>) -> Origin {
        let world = Arc::clone(self);
        Origin::start(move |seen| {
            let key = key_of(&seen.target);
            let version = world.current[key].load(Ordering::SeqCst);
            let fields =
                format!("Cache-Control: max-age=86400\r\nCache-Tag: k{key}, g{}\r\n", key % 100);
            ok(&fields, body(key, version))
        })
    }

    /// Fetches one key and judges the answer; `None` when the program has gone.
    fn fetch(&self, client: &mut Client, key: usize) -> Option<bool> {
        let promised = self.promised[key].load(Ordering::SeqCst);
        client.send(request("GET", &format!("/o/{key}"), ""));
        let answer = client.try_answer("GET")?;
        if answer.ended != Ended::Clean {
            return None;
        }
        self.checked.fetch_add(1, Ordering::Relaxed);
        let say = |what: String| self.wrong.lock().expect("a list").push(what);
        match judged(&answer.body) {
            _ if answer.status != 200 => say(format!("key {key}: status {}", answer.status)),
            Some((is, version)) if is == key && version >= promised => {}
            Some((is, version)) => {
                let hit = answer.cache_status();
                say(format!("key {key}, promised {promised}: got {is} {version} ({hit})"));
            }
            None => say(format!("key {key}: {} bytes of something else", answer.body.len())),
        }
        Some(answer.is_hit())
    }

    /// Raises versions and purges them, by URL, by tag or by a tag that a hundredth of all
    /// share. `None` when the program has gone: then nothing is promised.
    fn purge(&self, node: &Process) -> Option<()> {
        let key = rand::rng().random_range(0..KEYS);
        let (hit, call): (Vec<usize>, String) = match rand::rng().random_range(0..10) {
            0 => {
                ((key % 100..KEYS).step_by(100).collect(), format!("\"tags\":[\"g{}\"]", key % 100))
            }
            1..5 => (vec![key], format!("\"tags\":[\"k{key}\"]")),
            _ => (vec![key], format!("\"urls\":[\"http://{}/o/{key}\"]", client::HOST)),
        };
        let raise = |key: &usize| (*key, self.current[*key].fetch_add(1, Ordering::SeqCst) + 1);
        let raised: Vec<(usize, u64)> = hit.iter().map(raise).collect();
        let call = format!("{{{call},\"wait_ms\":0}}");
        let (status, text) = node.try_admin("POST", "/v1/purge", &call)?;
        assert_eq!(status, 200, "{text}");
        for (key, version) in raised {
            self.promised[key].fetch_max(version, Ordering::SeqCst);
        }
        self.purges.fetch_add(1, Ordering::Relaxed);
        Some(())
    }

    /// Load and purges until the moment, then SIGKILL.
    fn run_and_kill(&self, node: Process, moment: Duration, at_purge: bool) {
        let over = AtomicBool::new(false);
        let addr = node.addr();
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let Some(mut client) = Process::try_client(addr) else { return };
                    while !over.load(Ordering::Relaxed) {
                        // A third of the requests go to a tenth of the keys.
                        let mut rng = rand::rng();
                        let among = if rng.random_bool(0.3) { KEYS / 10 } else { KEYS };
                        if self.fetch(&mut client, rng.random_range(0..among)).is_none() {
                            return;
                        }
                    }
                });
            }
            let start = brink::base::clock::instant();
            while start.elapsed() < moment && self.purge(&node).is_some() {}
            if at_purge {
                let _ = self.purge(&node);
            }
            node.kill();
            over.store(true, Ordering::Relaxed);
        });
    }

    /// Asks for every key once and answers how many were hits.
    fn check_all(&self, node: &Process) -> u64 {
        let share = |part: usize| {
            let mut client = node.client();
            let keys = (part..KEYS).step_by(CLIENTS);
            keys.filter(|key| self.fetch(&mut client, *key).expect("an answer")).count() as u64
        };
        std::thread::scope(|scope| {
            let parts: Vec<_> = (0..CLIENTS).map(|part| scope.spawn(move || share(part))).collect();
            parts.into_iter().map(|part| part.join().expect("no panic")).sum()
        })
    }
}

fn key_of(target: &str) -> usize {
    target.rsplit('/').next().and_then(|n| n.parse().ok()).filter(|n| *n < KEYS).unwrap_or(0)
}

/// Bytes of the files of a directory's segments, and their number.
fn segments(dir: &Path) -> (u64, usize) {
    let files = std::fs::read_dir(dir.join("segments")).expect("the segments").flatten();
    let sizes: Vec<u64> = files.filter_map(|file| Some(file.metadata().ok()?.len())).collect();
    (sizes.iter().sum(), sizes.len())
}

/// Nothing above the limit, no file that is open but gone, none open twice.
fn nothing_leaks(node: &Process, dirs: &[std::path::PathBuf]) {
    for dir in dirs {
        let (bytes, files) = segments(dir);
        assert!(bytes <= CAPACITY && files as u64 <= CAPACITY / SEGMENT, "{bytes} in {files}");
    }
    let count = || {
        let open = node.open_files();
        let of_ours = open.iter().filter(|name| name.contains("/segments/"));
        let (gone, held): (Vec<_>, Vec<_>) = of_ours.partition(|name| name.contains("(deleted)"));
        let on_disk: usize = dirs.iter().map(|dir| segments(dir).1).sum();
        (gone.len(), held.len(), on_disk, open.len())
    };
    let start = brink::base::clock::instant();
    loop {
        let (gone, held, on_disk, _) = count();
        if gone == 0 && held == on_disk {
            break;
        }
        // Every open segment is one of the directory, and the other way round.
        let open = node.open_files();
        assert!(start.elapsed() < DEADLINE, "{gone} gone, {held} held, {on_disk} there: {open:?}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    // The rest: listeners, runtimes, a few connections. Far below what a leak would reach.
    let (_, held, _, all) = count();
    assert!(all - held < 100, "{} files: {:?}", all - held, node.open_files());
}

fn wait_ready(node: &Process) {
    eventually("the disk has joined", || node.admin("GET", "/readyz", "").0 == 200);
}

#[test]
fn after_kill_9_every_answer_is_exact_or_a_miss_and_purges_hold() {
    let rounds = std::env::var("BRINK_ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds = rounds.unwrap_or(if long() { 200 } else { 3 });
    let dir = tempfile::tempdir().expect("a directory");
    let dirs = [dir.path().join("one"), dir.path().join("two")];
    let world = World::new();
    let origin = world.origin();
    let text = config(
        dir.path(),
        &origin,
        &format!(
            "[memory]\ncapacity = \"4MiB\"\n[disk]\nsegment = \"{SEGMENT}\"\n\
             [[disk.directory]]\npath = {:?}\ncapacity = \"64MiB\"\n\
             [[disk.directory]]\npath = {:?}\ncapacity = \"64MiB\"",
            dirs[0], dirs[1]
        ),
    );
    let mut restarts = Vec::new();
    let mut hits = Vec::new();
    for round in 0..rounds {
        let node = Process::start(dir.path(), &text);
        let moment = Duration::from_millis(rand::rng().random_range(30..1_500));
        world.run_and_kill(node, moment, round % 2 == 1);
        let start = brink::base::clock::instant();
        let node = Process::start(dir.path(), &text);
        node.client().get("/o/0");
        restarts.push(start.elapsed());
        wait_ready(&node);
        hits.push(world.check_all(&node));
        let wrong = world.wrong.lock().expect("a list").clone();
        assert!(wrong.is_empty(), "round {round}: {wrong:#?}");
        nothing_leaks(&node, &dirs);
        if round % 4 == 3 {
            assert!(node.stop().success(), "round {round}: a clean stop between the kills");
        } else {
            node.kill();
        }
    }
    report(&world, restarts, &hits);
    assert!(hits.iter().skip(1).all(|hits| *hits > 0), "warm after a kill: {hits:?}");
}

fn report(world: &World, mut restarts: Vec<Duration>, hits: &[u64]) {
    restarts.sort_unstable();
    let ms = |at: usize| restarts.get(at).map_or(0, |took| took.as_millis());
    let total: u64 = hits.iter().sum();
    println!(
        "{} rounds: {} answers checked, wrong 0; {} purges acknowledged; hits after a restart \
         {:.1} % of {KEYS} keys; first answer after p50 {} ms, max {} ms",
        hits.len(),
        world.checked.load(Ordering::Relaxed),
        world.purges.load(Ordering::Relaxed),
        total as f64 * 100.0 / (hits.len() * KEYS).max(1) as f64,
        ms(restarts.len() / 2),
        ms(restarts.len().saturating_sub(1)),
    );
}
