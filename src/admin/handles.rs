//! What the rest of the node lends the admin API.
//!
//! Closures and small traits instead of the types behind them: `serve` and `admin` are
//! neighbours, and tests lend fakes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use crate::base::Clock;
use crate::origin::Group;
use crate::rules::asked::Asked;
use crate::rules::key::{Key, KeySeed, key_of};
use crate::rules::ledger::Ledger;
use crate::rules::purge::Purge;
use crate::rules::site::{Policy, Rule, Site, Sites};
use crate::store::{Disk, Memory};
use crate::telemetry::Telemetry;

/// Where a request belongs.
#[derive(Clone, Debug)]
pub struct Located {
    /// The site.
    pub site: Arc<Site>,
    /// Index of the rule that matched, if one did.
    pub rule: Option<usize>,
    /// The key it is stored under.
    pub key: Key,
    /// What keys are hashed with.
    pub seed: KeySeed,
}

impl Located {
    /// Finds site, rule and key as a request does.
    pub fn of(sites: &Sites, seed: KeySeed, asked: &Asked) -> Option<Located> {
        let (site, policy, rule) = sites.route(asked)?;
        let rule = rule.and_then(|name| site.rules.iter().position(|rule| rule.name == name));
        let key = key_of(seed, asked, &policy.query);
        Some(Located { site: site.clone(), rule, key, seed })
    }

    /// The rule that matched.
    pub fn rule(&self) -> Option<&Rule> {
        self.rule.and_then(|index| self.site.rules.get(index))
    }

    /// The policy that applies.
    pub fn policy(&self) -> &Policy {
        self.rule().map_or(&self.site.policy, |rule| &rule.policy)
    }
}

/// Keeps purges across a crash. Both calls may block; they run off the event loop.
pub trait Durable: Send + Sync {
    /// Returns when the purges will survive a crash.
    fn append(&self, purges: &[Purge]) -> io::Result<()>;
    /// A sweep has judged everything stored in every tier: what is older than `upto` may
    /// be left out. `ledger` has forgotten it already.
    fn forgotten(&self, upto: u64, ledger: &Ledger) -> io::Result<()>;
}

/// What came of warming one URL.
#[derive(Clone, Debug)]
pub struct Warmed {
    /// Status of the answer.
    pub status: u16,
    /// Body bytes fetched or found.
    pub bytes: u64,
    /// Whether it was in the cache already.
    pub hit: bool,
    /// The body, if it was asked for.
    pub body: Vec<u8>,
}

/// A fetch that warms, under way.
pub type Warming = Pin<Box<dyn Future<Output = Result<Warmed, String>> + Send>>;

/// Fetches one URL through the cache, as a client would, and keeps a body of at most so
/// many bytes; a longer one is an error, but for zero, which keeps nothing.
pub type WarmFetch = dyn Fn(http::Uri, usize) -> Warming + Send + Sync;

/// Everything lent.
#[derive(Clone)]
pub struct Handles {
    /// Time.
    pub clock: Clock,
    /// Counters, access log, heavy hitters, live tail.
    pub telemetry: Telemetry,
    /// The memory tier.
    pub memory: Arc<Memory>,
    /// The disk tier, if there is one.
    pub disk: Option<Arc<Disk>>,
    /// Purges in memory.
    pub ledger: Arc<Ledger>,
    /// Purges on disk; `None` keeps them in memory only.
    pub durable: Option<Arc<dyn Durable>>,
    /// Finds site, rule and key of a request (see [`Located::of`]).
    pub locate: Arc<dyn Fn(&Asked) -> Option<Located> + Send + Sync>,
    /// The origin groups in use now.
    pub groups: Arc<dyn Fn() -> Vec<Arc<Group>> + Send + Sync>,
    /// Whether the node takes traffic; the error says what it waits for.
    pub ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// Warms a URL; `None` where there is nobody to do it.
    pub warm: Option<Arc<WarmFetch>>,
    /// Reckons with the sample what other sizes would do; may take a second. `None` from it:
    /// nothing was sampled yet.
    pub advise: Option<Arc<dyn Fn() -> Option<serde_json::Value> + Send + Sync>>,
}
