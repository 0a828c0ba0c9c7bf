//! The hit path in pieces: guard, door, key, memory get, plan, ledger verdict, head assembly,
//! and all of them in a row both ways (behind hyper, and for a plain request before it),
//! with the allocations of each counted.
//!
//! divan's own allocator does the counting, so no unsafe code of ours is needed. The
//! pieces are called as `serve` calls them; hyper, the socket and the log are not in
//! here, they are what `benches/peers` measures.
//!
//! Run: `cargo bench --bench hot_path`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use brink::base::{Clock, Now};
use brink::front::Limits;
use brink::front::guard::Guard;
use brink::rules::asked::{Asked, Scheme};
use brink::rules::door::{self, Arrival};
use brink::rules::entry::{Entry, Extent, Slot};
use brink::rules::freshness::{Freshness, LifetimeSource};
use brink::rules::head::Head;
use brink::rules::key::{Key, KeySeed, key_of};
use brink::rules::ledger::Ledger;
use brink::rules::outcome::{Outcome, Source};
use brink::rules::plan::{Plan, Question, plan};
use brink::rules::purge::What;
use brink::rules::respond::{self, Dress};
use brink::rules::site::{Policy, QueryKey};
use brink::rules::{respond_text, straight};
use brink::store::Memory;
use brink::store::memory::MemoryOptions;
use bytes::Bytes;
use divan::{AllocProfiler, Bencher, black_box};
use http::header::HeaderValue;
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use smallvec::SmallVec;

#[global_allocator]
static COUNTING: AllocProfiler = AllocProfiler::system();

/// Objects in the memory tier.
const OBJECTS: u64 = 10_000;

const SEED: KeySeed = KeySeed(7);

const OUTCOME: Outcome = Outcome {
    hit: true,
    fwd: None,
    fwd_status: None,
    ttl: Some(60),
    stored: false,
    collapsed: false,
    detail: None,
    source: Source::Memory,
    fault: None,
};

/// The same request as bytes.
const PLAIN: &[u8] = b"GET /assets/images/photo-7.jpg?size=large HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox\r\n\
    Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/\r\n\r\n";

fn main() {
    divan::main();
}

/// Everything a hit needs.
struct World {
    clock: Clock,
    memory: Memory,
    ledger: Ledger,
    policy: Policy,
    via: HeaderValue,
    parts: Parts,
}

impl World {
    fn new() -> Self {
        let clock = Clock::manual(1_767_225_600_000);
        let memory = Memory::new(&MemoryOptions::default(), None);
        let world = World {
            clock,
            memory,
            ledger: Ledger::new(),
            policy: Policy::default(),
            via: HeaderValue::from_static("1.1 brink"),
            parts: request(7).into_parts().0,
        };
        for n in 0..OBJECTS {
            let asked = admit(&request(n).into_parts().0);
            let key = key_of(SEED, &asked, &QueryKey::All);
            let entry = entry(&key, world.clock.now());
            world.memory.put(&key, Arc::new(entry));
        }
        world
    }

    /// The same with 10,000 purges of every exact kind in the ledger, none of which hits.
    fn purged() -> Self {
        let world = World::new();
        for n in 0..10_000 {
            let what = match n % 4 {
                0 => What::tag(&format!("tag-{n}")),
                1 => What::prefix(&format!("https://www.example.com/other/{n}/"), true),
                2 => What::host(&format!("host-{n}.example.com")),
                _ => {
                    Ok(What::Url(format!("https://www.example.com:443/gone/{n}").as_bytes().into()))
                }
            };
            let what = what.expect("a purge");
            world.ledger.apply(world.ledger.number(vec![what], false, 0));
        }
        assert_eq!(world.ledger.len(), 10_000);
        world
    }

    fn slot(&self, key: &Key) -> Slot {
        self.memory.get(key).expect("a stored object")
    }

    fn question(&self) -> Question<'_> {
        Question {
            method: &self.parts.method,
            headers: &self.parts.headers,
            has_body: false,
            policy: &self.policy,
            now: self.clock.now(),
        }
    }

    fn head(&self, entry: &Entry) -> (StatusCode, HeaderMap) {
        respond::full(entry, &self.dress(&OUTCOME))
    }

    fn text(&self, entry: &Entry, out: &mut Vec<u8>) -> bool {
        respond_text::full(entry, &self.dress(&OUTCOME), out)
    }

    fn dress<'a>(&'a self, outcome: &'a Outcome) -> Dress<'a> {
        let (via, policy, now) = (&self.via, &self.policy, self.clock.now());
        Dress { node: "brink", via, policy, now, outcome }
    }
}

/// A request as a browser sends it.
fn request(n: u64) -> Request<()> {
    Request::get(format!("/assets/images/photo-{n}.jpg?size=large"))
        .header("host", "www.example.com")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox")
        .header("accept", "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5")
        .header("accept-language", "en-US,en;q=0.5")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("referer", "https://www.example.com/")
        .body(())
        .expect("a request")
}

fn admit(parts: &Parts) -> Asked {
    let arrival = Arrival { scheme: Scheme::Https, http2: false, cdn_id: "brink" };
    door::admit(parts, &arrival).expect("a clean request")
}

fn entry(key: &Key, now: Now) -> Entry {
    let fields = [
        ("content-type", "image/jpeg"),
        ("cache-control", "public, max-age=3600"),
        ("etag", "\"5f3a-1c2b\""),
        ("last-modified", "Mon, 01 Dec 2025 00:00:00 GMT"),
        ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("server", "nginx"),
    ];
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.insert(name, HeaderValue::from_static(value));
    }
    Entry {
        key: key.text().into(),
        head: Head::pack(StatusCode::OK, &map, |_| true).expect("a short head"),
        body: SmallVec::from_iter([Bytes::from(vec![7; 1024])]),
        extent: Extent::Whole,
        freshness: Freshness {
            received_mono_ms: now.mono_ms,
            initial_age_ms: 0,
            lifetime_ms: Duration::from_secs(3600).as_millis() as u64,
            while_revalidate_ms: 0,
            if_error_ms: 0,
            always_validate: false,
            never_stale: false,
            immutable: false,
            source: LifetimeSource::MaxAge,
        },
        vary: None,
        tags: Box::default(),
        seq: 0,
        checked_seq: AtomicU64::new(0),
        soft_purged: AtomicBool::new(false),
    }
}

#[divan::bench]
fn the_door(bencher: Bencher<'_, '_>) {
    let world = World::new();
    bencher.bench_local(|| admit(black_box(&world.parts)));
}

#[divan::bench]
fn the_key(bencher: Bencher<'_, '_>) {
    let asked = admit(&request(7).into_parts().0);
    bencher.bench_local(|| key_of(SEED, black_box(&asked), &QueryKey::All));
}

#[divan::bench]
fn the_memory_get(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let key = key_of(SEED, &admit(&world.parts), &QueryKey::All);
    bencher.bench_local(|| world.slot(black_box(&key)));
}

#[divan::bench]
fn the_plan(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let slot = world.slot(&key_of(SEED, &admit(&world.parts), &QueryKey::All));
    bencher.bench_local(|| plan(&world.question(), Some(black_box(&slot))));
}

#[divan::bench]
fn the_ledger_verdict(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let slot = world.slot(&key_of(SEED, &admit(&world.parts), &QueryKey::All));
    bencher.bench_local(|| world.ledger.verdict(black_box(&slot.variants[0])));
}

#[divan::bench]
fn the_head(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let slot = world.slot(&key_of(SEED, &admit(&world.parts), &QueryKey::All));
    bencher.bench_local(|| world.head(black_box(&slot.variants[0])));
}

/// Once for each object after a purge: the look into the ledger's maps.
#[divan::bench]
fn the_first_verdict_after_10000_purges(bencher: Bencher<'_, '_>) {
    let world = World::purged();
    let slot = world.slot(&key_of(SEED, &admit(&world.parts), &QueryKey::All));
    let entry = &slot.variants[0];
    bencher.bench_local(|| {
        entry.checked_seq.store(0, Ordering::Relaxed);
        world.ledger.verdict(black_box(entry))
    });
}

#[divan::bench]
fn a_whole_hit(bencher: Bencher<'_, '_>) {
    hit(bencher, &World::new());
}

#[divan::bench]
fn a_whole_hit_with_10000_purges(bencher: Bencher<'_, '_>) {
    hit(bencher, &World::purged());
}

fn hit(bencher: Bencher<'_, '_>, world: &World) {
    bencher.bench_local(|| {
        let asked = admit(black_box(&world.parts));
        let key = key_of(SEED, &asked, &QueryKey::All);
        let slot = world.slot(&key);
        let Plan::Hit(entry) = plan(&world.question(), Some(&slot)) else {
            unreachable!("a fresh entry is a hit");
        };
        black_box(world.ledger.verdict(&entry));
        (world.head(&entry), entry.body.clone())
    });
}

#[divan::bench]
fn the_guard(bencher: Bencher<'_, '_>) {
    let mut guard = Guard::new((&Limits::default()).into());
    bencher.bench_local(|| guard.read(black_box(PLAIN)).1.is_some());
}

#[divan::bench]
fn the_head_as_text(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let slot = world.slot(&key_of(SEED, &admit(&world.parts), &QueryKey::All));
    let mut out = Vec::with_capacity(2048);
    bencher.bench_local(|| {
        out.clear();
        world.text(black_box(&slot.variants[0]), &mut out)
    });
}

/// From the bytes of a plain request to the bytes of its answer, as `front::straight` and
/// `serve::straight` do it.
#[divan::bench]
fn a_whole_plain_hit(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let mut guard = Guard::new((&Limits::default()).into());
    bencher.bench_local(|| {
        let (_, Some(plain)) = guard.read(black_box(PLAIN)) else { unreachable!("plain") };
        let asked = straight::asked(plain.target, plain.host, Scheme::Https).expect("clean");
        let key = key_of(SEED, &asked, &QueryKey::All);
        let slot = world.memory.look(&key).expect("a stored object");
        let lines = |name: &str, line: &mut dyn FnMut(&[u8])| plain.values(name).for_each(line);
        let headers = straight::selecting(&slot, &world.policy, lines).expect("sound");
        let question = Question { headers: &headers, ..world.question() };
        let Plan::Hit(entry) = plan(&question, Some(&slot)) else {
            unreachable!("a fresh entry is a hit");
        };
        black_box(world.ledger.verdict(&entry));
        let mut out = Vec::with_capacity(2048);
        world.text(&entry, &mut out);
        out.extend_from_slice(&entry.body[0]);
        world.memory.count_hit(&key);
        out
    });
}
