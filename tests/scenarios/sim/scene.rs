//! What is true in the simulated world: what the origins hold now, and everything they
//! ever said. The judge reads nothing else.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use brink::base::{Clock, Now};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::step::{Fault, HOSTS, Profile, URLS};

/// Everything shared by the world's actors.
pub struct Scene {
    /// The time of node, origins and judge.
    pub clock: Clock,
    /// Moved by every actor that does something; when it rests, so does the world.
    pub activity: AtomicU64,
    /// Tells waiting origins to look again.
    pub released: Notify,
    /// The facts.
    pub facts: Mutex<Facts>,
}

/// The facts.
#[derive(Default)]
pub struct Facts {
    /// A number for each event, rising: what happened before what.
    pub tick: u64,
    /// Starts of the node so far.
    pub run: u32,
    /// Milliseconds that the wall clock was set back, and forward, in all.
    pub slips: u64,
    /// See `slips`.
    pub leaps: u64,
    /// What each URL holds now.
    pub urls: Vec<(Profile, u32)>,
    /// The fault of each host, and for how many requests.
    pub faults: [Option<(Fault, u8)>; HOSTS as usize],
    /// Hosts that answer nothing now.
    pub held: [bool; HOSTS as usize],
    /// All versions, by number.
    pub versions: Vec<Arc<Version>>,
    known: HashMap<(u8, u32, Variant, u16), usize>,
    /// All answers of origins, by number.
    pub replies: Vec<Arc<Reply>>,
    /// Requests that origins saw, by the number of the client's request, and when first.
    pub seen: HashMap<u64, u64>,
    /// Failures of each host in a row as a negative number, or good answers, and whether
    /// it may fail as a whole: the node says so from five failures in a row to ten good
    /// answers in a row, by its own count, which a try repeated within it sets off by a few.
    pub outages: [(i32, bool); HOSTS as usize],
    /// Which version a 304 confirmed to each request.
    pub confirmed: HashMap<u64, usize>,
    /// When the last request was heard that brought the body of each version.
    pub brought: HashMap<usize, u64>,
    /// Last failure of each URL: tick and monotonic time.
    pub failed: HashMap<u8, (u64, u64)>,
}

/// What a version is chosen by: language and kind, if they count.
pub type Variant = (Option<String>, Option<String>);

/// One version of one URL for one kind of client.
pub struct Version {
    /// Its URL.
    pub url: u8,
    /// What the origin says of it.
    pub profile: Profile,
    /// Which clients it is for.
    pub variant: Variant,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Its tag, as sent.
    pub etag: Option<String>,
    /// Its change, Unix time in seconds.
    pub modified: Option<u64>,
}

/// One answer of an origin.
pub struct Reply {
    /// The version it told of.
    pub version: Arc<Version>,
    /// Number of that version.
    pub number: usize,
    /// The client's request that caused it.
    pub request: u64,
    /// Whether that request had credentials.
    pub secret: bool,
    /// Whether that request allowed no storing.
    pub no_store: bool,
    /// Status.
    pub status: u16,
    /// Whether it had a body at all.
    pub body: bool,
    /// When the request was heard.
    pub heard: u64,
    /// When it was said.
    pub said: u64,
    /// When the last of it was sent; zero before.
    pub whole: AtomicU64,
    /// The same by the clocks, and how late it was.
    pub at: Now,
    /// Milliseconds between the two.
    pub delay_ms: u64,
    /// The same from when the first try of that request was heard.
    pub tried_ms: u64,
    /// The node's run.
    pub run: u32,
    /// [`Facts::slips`] and [`Facts::leaps`] then.
    pub steps: (u64, u64),
}

impl Scene {
    /// A world in which each URL holds something.
    pub fn new(clock: Clock) -> Arc<Self> {
        let first = Profile { status: 200, max_age: Some(60), size: 200, ..Profile::default() };
        let facts = Facts { urls: vec![(first, 0); URLS.into()], ..Facts::default() };
        Arc::new(Scene {
            clock,
            activity: AtomicU64::new(0),
            released: Notify::new(),
            facts: Mutex::new(facts),
        })
    }

    /// Something has happened.
    pub fn stir(&self) {
        self.activity.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of the next event.
    pub fn tick(&self) -> u64 {
        let mut facts = self.facts.lock();
        facts.tick += 1;
        facts.tick
    }

    /// Notes what came of a request to a host.
    pub fn note(&self, host: usize, good: bool) {
        let (streak, fails) = &mut self.facts.lock().outages[host];
        *streak = if good { (*streak).max(0) + 1 } else { (*streak).min(0) - 1 };
        *fails = *streak <= -2 || (*fails && *streak < 12);
    }

    /// Notes a failure of `url`.
    pub fn failed(&self, url: u8) {
        let mono = self.clock.now().mono_ms;
        let mut facts = self.facts.lock();
        facts.tick += 1;
        let tick = facts.tick;
        facts.failed.insert(url, (tick, mono));
    }
}

impl Facts {
    /// The fault for the next request to `host`, if any; counts it.
    pub fn next_fault(&mut self, host: usize) -> Option<Fault> {
        let (fault, left) = self.faults[host]?;
        self.faults[host] = (left > 1).then(|| (fault, left - 1));
        Some(fault)
    }

    /// The version of `url` for a request with this language and kind; with another
    /// `status` an error page instead.
    pub fn version(
        &mut self,
        url: u8,
        asked: (Option<String>, Option<String>),
        status: Option<u16>,
    ) -> (usize, Arc<Version>) {
        let (profile, revision) = self.urls[usize::from(url)];
        let varies = |name: &str| profile.vary.is_some_and(|vary| vary.contains(name));
        let variant =
            (asked.0.filter(|_| varies("Accept-Language")), asked.1.filter(|_| varies("X-Kind")));
        let id = (url, revision, variant.clone(), status.unwrap_or(0));
        if let Some(&number) = self.known.get(&id) {
            return (number, self.versions[number].clone());
        }
        let number = self.versions.len();
        let error = |status| Profile { status, size: 40, ..Profile::default() };
        let profile = status.map_or(profile, error);
        let version = Arc::new(Version {
            url,
            profile,
            variant,
            body: body(number, profile.size as usize),
            etag: profile.etag.map(|weak| match weak {
                true => format!("W/\"v{number}\""),
                false => format!("\"v{number}\""),
            }),
            modified: profile.modified.then(|| 1_700_000_000 + number as u64 * 10),
        });
        self.versions.push(version.clone());
        self.known.insert(id, number);
        (number, version)
    }
}

/// The bytes of version `number`: every 16 of them say which version and where.
pub fn body(number: usize, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 16);
    while out.len() < len {
        let block = out.len() / 16;
        out.extend_from_slice(format!("v{number:07}+{block:06}\n").as_bytes());
    }
    out.truncate(len);
    out
}

/// The target and host of a URL.
pub fn target(url: u8) -> (String, String) {
    let host = ["a.test", "b.test"][usize::from(url % HOSTS)];
    let query = if url >= 16 { "?q=1" } else { "" };
    (host.to_owned(), format!("/d{}/{url}{query}", url / 2 % 3))
}
