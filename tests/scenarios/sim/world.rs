//! The world: a node between scripted origins and clients, on a disk in memory and a clock
//! that only moves when told, and one step after the other.
//!
//! One thread runs node, origins and clients, and nothing waits for a timer: the world
//! rests when nobody has done anything for a while of mere yielding. Only the disk's
//! writer has a thread; after each step the world waits until it has nothing to do.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use brink::base::Clock;
use brink::config::Config;
use brink::node::NodeError;
use brink::node::core::Core;
use brink::node::seams::Seams;
use brink::store::disk::State;
use tokio::runtime::Runtime;

use super::alike::{self, Heard};
use super::client::{Clients, Told};
use super::device::{Disk, Platter};
use super::dice::Dice;
use super::judge::Judge;
use super::law::Plan;
use super::origin::Origins;
use super::scene::{Scene, target};
use super::setup::{self, DISK, MEMORY};
use super::step::{Ask, DiskFault, Step, URLS, What};
use super::ways::Way;
use crate::support::node::START_MS;

/// Yields without any activity after which the world rests.
const CALM: u32 = 16;

/// A running world.
pub struct World {
    scene: Arc<Scene>,
    platter: Arc<Platter>,
    dir: tempfile::TempDir,
    dice: Dice,
    seed: u64,
    memory: u64,
    plan: u8,
    clients: Clients,
    /// What has been found.
    pub judge: Judge,
    /// Fingerprint of everything that clients were told.
    pub trace: u64,
    /// What they were told, if that is wanted.
    pub heard: Option<Heard>,
    node: Option<(Core, Runtime)>,
    disk_faulty: u8,
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What is wrong.
    pub what: String,
    /// The URL it happened to, if it was one.
    pub url: Option<u8>,
}

impl World {
    /// A new world, in which everybody goes the same `way`, or each client its own.
    pub fn new(seed: u64, way: Option<Way>) -> Self {
        World::with_memory(seed, way, MEMORY)
    }

    /// The same with a memory tier of `memory` bytes.
    pub fn with_memory(seed: u64, way: Option<Way>, memory: u64) -> Self {
        let mut world = World {
            scene: Scene::new(Clock::manual(START_MS)),
            platter: Arc::default(),
            dir: tempfile::tempdir().expect("a directory for identity and ledger"),
            dice: Dice::new(seed.wrapping_add(1)),
            seed,
            memory,
            plan: 0,
            clients: Clients::new(way),
            judge: Judge::default(),
            trace: 0,
            heard: None,
            node: None,
            disk_faulty: 0,
        };
        let identity = brink::store::disk::identity::Identity {
            seed: brink::rules::key::KeySeed(seed ^ 0x1234),
            id: 7,
        };
        std::fs::create_dir_all(world.path()).expect("the disk's directory");
        identity.write(&world.path()).expect("the identity");
        world.start();
        world
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    fn config(&self) -> Config {
        setup::config(self.seed, (self.plan, self.memory), self.dir.path(), &self.path())
    }

    fn start(&mut self) {
        self.scene.facts.lock().run += 1;
        self.clients.part();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let platter = self.platter.clone();
        let seams = Seams {
            device: Some(Arc::new(move |_, _| Arc::new(Disk(platter.clone())))),
            upstream: Some(Arc::new(Origins(self.scene.clone()))),
        };
        let (config, clock) = (self.config(), self.scene.clock.clone());
        let mut built = None;
        // A sweep of the node before may not have let go of the ledger's file yet.
        patient("the node starts", || {
            let (clock, seams) = (clock.clone(), seams.clone());
            built = match runtime.block_on(async { Core::build(&config, clock, seams) }) {
                Ok(core) => Some(core),
                Err(NodeError::Ledger { .. }) => None,
                Err(error) => panic!("no start: {error}"),
            };
            built.is_some()
        });
        let core = built.expect("a node");
        if let Some(disk) = &core.shared().disk {
            patient("the disk joins", || disk.ready());
        }
        self.node = Some((core, runtime));
    }

    fn node(&self) -> &(Core, Runtime) {
        self.node.as_ref().expect("a running node")
    }

    /// Takes one step and judges what came of it.
    pub fn step(&mut self, step: &Step) -> Result<(), Violation> {
        self.scene.clock.advance(std::time::Duration::from_millis(7));
        if self.disk_faulty > 0 {
            self.disk_faulty -= 1;
            if self.disk_faulty == 0 {
                self.platter.set_fault(None);
            }
        }
        match step {
            Step::Ask(ask) => drop(self.ask(ask)),
            Step::Burst { ask, clients } => return self.burst(ask, *clients),
            Step::Change { url, profile } => {
                let mut facts = self.scene.facts.lock();
                let place = &mut facts.urls[usize::from(*url)];
                *place = (*profile, place.1 + 1);
            }
            Step::Fault { host, fault, times } => {
                self.scene.facts.lock().faults[usize::from(*host)] = Some((*fault, *times));
            }
            Step::Hold { host } => self.scene.facts.lock().held[usize::from(*host)] = true,
            Step::Release { host } => self.release(&[*host]),
            Step::Advance { ms } => {
                self.scene.clock.advance(std::time::Duration::from_millis(*ms));
            }
            Step::Wall { ms } => self.set_wall(*ms),
            Step::Purge { what, soft } => self.purge(*what, *soft),
            Step::Disk(fault) => {
                self.platter.set_fault(Some(*fault));
                self.disk_faulty = 4;
                if *fault == DiskFault::Syncs {
                    // A sync that fails gives up a segment, and with it tombstones that an
                    // earlier one had made durable, until they are written again.
                    self.judge.synced = 0;
                }
            }
            Step::PutBack => {
                if let Some(disk) = &self.node().0.shared().disk
                    && disk.put_back(0)
                {
                    patient("the disk joins again", || disk.ready());
                }
            }
            Step::Crash { power } => self.crash(*power),
            Step::Restart => {
                self.end()?;
                if let Some(disk) = &self.node().0.shared().disk {
                    disk.close();
                }
                self.drop_node();
                self.start();
            }
            Step::Reload { plan } => {
                self.plan = *plan;
                let config = self.config();
                self.node().0.reload(&config).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        self.rest()
    }

    fn ask(&mut self, ask: &Ask) -> u64 {
        let (core, runtime) = self.node.as_ref().expect("a running node");
        let _inside = runtime.enter();
        self.judge.plans.push(self.plan);
        self.clients.send(&self.scene, core, self.plan, ask)
    }

    /// Several clients at once; if nothing stands in the way, the origin is asked once.
    fn burst(&mut self, ask: &Ask, clients: u8) -> Result<(), Violation> {
        let began = self.scene.tick();
        let quiet = self.node().0.shared().flights.is_empty();
        let ids: Vec<u64> = (0..clients)
            .map(|client| self.ask(&Ask { client: client % super::step::CLIENTS, ..ask.clone() }))
            .collect();
        self.rest()?;
        let facts = self.scene.facts.lock();
        let asked = ids.iter().filter(|id| facts.seen.contains_key(id)).count();
        let Some(reply) = facts.replies.iter().rev().find(|reply| ids.contains(&reply.request))
        else {
            return Ok(());
        };
        // The clients come one after the other, and the first may be done before the last has
        // come: then it counts that the answer lasts, and that memory lets it in.
        let lasting = super::law::lifetime_ms(reply, &Plan::default()) > 60_000
            && !super::law::always_asked(reply)
            && reply.version.body.len() <= 4096;
        let plain = reply.version.profile.vary.is_none()
            && reply.version.profile.age.is_none()
            && reply.status == 200
            && super::law::shareable(reply)
            && !Plan::of(self.plan).passes(ask.url);
        // Nobody waits for anybody where an answer was of no use to others lately, whoever got
        // it: it may have been for a refresh that no client waited for.
        let lately = self.scene.clock.now().mono_ms.saturating_sub(121_000);
        let before = facts.replies.iter().any(|reply| {
            reply.version.url == ask.url && reply.at.mono_ms > lately && !super::law::of_use(reply)
        });
        let quiet = quiet && facts.failed.get(&ask.url).is_none_or(|failed| failed.0 < began);
        if quiet && lasting && plain && !before && asked > 2 {
            let what = format!("{asked} of {clients} requests of a burst reached the origin");
            return Err(Violation { what, url: None });
        }
        Ok(())
    }

    fn release(&self, hosts: &[u8]) {
        for host in hosts {
            self.scene.facts.lock().held[usize::from(*host)] = false;
        }
        self.scene.released.notify_waiters();
    }

    fn set_wall(&self, ms: i64) {
        let now = self.scene.clock.now().wall_ms;
        self.scene.clock.step_wall(now.saturating_add_signed(ms));
        let mut facts = self.scene.facts.lock();
        match ms < 0 {
            true => facts.slips += ms.unsigned_abs(),
            false => facts.leaps += ms.unsigned_abs(),
        }
    }

    fn purge(&mut self, what: What, soft: bool) {
        let url = |url: u8| {
            let (host, path) = target(url);
            format!("{host}{path}")
        };
        let items = match what {
            What::Url(number) => format!("\"urls\":[\"http://{}\"]", url(number)),
            What::Prefix(number) => {
                let whole = url(number);
                let end = whole.rfind('/').map_or(whole.len(), |at| at + 1);
                format!("\"prefixes\":[\"{}\"]", &whole[..end])
            }
            What::Tag(tag) => format!("\"tags\":[\"t{tag}\"]"),
            What::Host(host) => format!("\"hosts\":[\"{}\"]", target(host).0),
            What::Everything => "\"everything\":true".to_owned(),
            What::Pattern(digit) => {
                format!("\"pattern\":\"/[0-9]*{digit}(\\\\?.*)?$\"")
            }
        };
        let text = format!("{{{items},\"soft\":{soft},\"wait_ms\":30000}}");
        let request = Request::post("/v1/purge")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("authorization", "Bearer simulated-token-of-the-world")
            .body(Body::from(text.clone()))
            .expect("a request");
        let at = self.scene.tick();
        let (core, runtime) = self.node();
        let api = core.api().expect("the admin API");
        let answer = runtime.block_on(api.call(request));
        assert_eq!(answer.status().as_u16(), 200, "a purge: {text}");
        self.judge.purges.push((what, soft, at));
    }

    /// Drops the node, and waits until its last thread has let go of the disk.
    fn drop_node(&mut self) {
        let disk = self.node().0.shared().disk.as_ref().map(Arc::downgrade);
        self.node = None;
        patient("the node ends", || disk.as_ref().is_none_or(|disk| disk.strong_count() == 0));
    }

    fn crash(&mut self, power: bool) {
        self.drop_node();
        if power {
            self.platter.cut_power(&mut self.dice);
        }
        self.platter.set_fault(None);
        self.disk_faulty = 0;
        self.clients.told.lock().clear();
        self.clients.open.store(0, Ordering::Relaxed);
        self.judge.crashed();
        self.start();
    }

    /// Lets everything that can happen happen, then judges.
    fn rest(&mut self) -> Result<(), Violation> {
        let sync = self.disk_faulty == 0 && self.dice.percent(10);
        let (core, runtime) = self.node();
        runtime.block_on(calm(&self.scene));
        if let Some(disk) = &core.shared().disk {
            patient("the disk's writer rests", || {
                disk.stats().iter().all(|one| one.queued_bytes == 0 || one.state != State::Ready)
            });
            if sync && runtime.block_on(disk.sync()) {
                self.judge.synced = self.scene.tick();
            }
        }
        self.limits()?;
        let mut all: Vec<Told> = std::mem::take(&mut *self.clients.told.lock());
        // Followers of one fetch are woken in an order that tokio draws by lot.
        all.sort_by_key(|told| told.id);
        for told in all {
            self.clients.learn(&told);
            let facts = self.scene.facts.lock();
            self.trace = alike::fold(self.trace, &told);
            if let Some(heard) = &mut self.heard {
                heard.insert(told.id, alike::gist(&told));
            }
            self.judge
                .judge(&facts, &told)
                .map_err(|what| Violation { what: told.tell(&what), url: Some(told.ask.url) })?;
        }
        Ok(())
    }

    fn limits(&self) -> Result<(), Violation> {
        let shared = self.node().0.shared();
        let wrong = |what: String| Err(Violation { what, url: None });
        if shared.memory.bytes() > self.memory {
            return wrong(format!("memory tier of {} bytes", shared.memory.bytes()));
        }
        if self.platter.used() > DISK {
            return wrong(format!("disk tier of {} bytes", self.platter.used()));
        }
        Ok(())
    }

    /// Ends all faults; then everybody is answered and nothing is left over.
    pub fn end(&mut self) -> Result<(), Violation> {
        self.scene.facts.lock().faults = Default::default();
        self.platter.set_fault(None);
        self.release(&[0, 1]);
        self.rest()?;
        for url in 0..URLS {
            self.ask(&Ask::plain(0, url));
        }
        self.rest()?;
        let open = self.clients.open.load(Ordering::Relaxed);
        let flights = self.node().0.shared().flights.len();
        if open + flights > 0 {
            let what = format!("left over: {open} requests, {flights} fetches");
            return Err(Violation { what, url: None });
        }
        Ok(())
    }
}

/// Yields until nobody does anything any more.
async fn calm(scene: &Scene) {
    let mut calm = 0;
    let mut seen = scene.activity.load(Ordering::Relaxed);
    while calm < CALM {
        tokio::task::yield_now().await;
        let now = scene.activity.load(Ordering::Relaxed);
        calm = if now == seen { calm + 1 } else { 0 };
        seen = now;
    }
}

/// Waits for another thread.
fn patient(what: &str, condition: impl FnMut() -> bool) {
    crate::support::eventually(what, condition);
}
