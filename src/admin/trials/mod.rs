//! The admin API as its callers see it: over its socket, with bytes.

mod access;
mod commits;
mod doors;
mod explains;
mod purges;
mod warming;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use smallvec::SmallVec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::handles::{Durable, Handles, Located};
use super::{Address, Admin, Options};
use crate::base::Clock;
use crate::rules::entry::{Entry, Extent};
use crate::rules::freshness::{Freshness, LifetimeSource};
use crate::rules::head::Head;
use crate::rules::key::{Key, KeySeed};
use crate::rules::ledger::Ledger;
use crate::rules::site::{Policy, Site, Sites};
use crate::store::{Memory, MemoryOptions};
use crate::telemetry::Telemetry;

const SEED: KeySeed = KeySeed(7);
const WALL_MS: u64 = 1_795_366_821_000;

/// A node's admin API without the rest of the node.
struct Bench {
    address: SocketAddr,
    handles: Handles,
    token: String,
    admin: Admin,
    _dir: tempfile::TempDir,
}

/// One answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Bench {
    async fn start() -> Bench {
        Bench::with(|_| {}, |_| {}).await
    }

    async fn with(options: impl FnOnce(&mut Options), handles: impl FnOnce(&mut Handles)) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let mut own = Options {
            listen: Address::Tcp(([127, 0, 0, 1], 0).into()),
            token_file: Some(path.clone()),
            ..Options::default()
        };
        options(&mut own);
        let mut lent = lent();
        handles(&mut lent);
        let admin = Admin::start(own, lent.clone()).await.unwrap();
        let Address::Tcp(address) = admin.address().clone() else { panic!("not TCP") };
        let token = std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Bench { address, handles: lent, token, admin, _dir: dir }
    }

    /// Sends bytes and reads to the end of the connection.
    async fn raw(&self, request: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// A call with the token and further header lines, each ended by CR LF.
    async fn call(&self, method: &str, target: &str, more: &str, body: &str) -> Reply {
        let (token, length) = (&self.token, body.len());
        self.raw(&format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             authorization: Bearer {token}\r\ncontent-length: {length}\r\n{more}\r\n{body}"
        ))
        .await
    }

    async fn get(&self, target: &str) -> Reply {
        self.call("GET", target, "", "").await
    }

    async fn post(&self, target: &str, body: &str) -> Reply {
        self.call("POST", target, "content-type: application/json\r\n", body).await
    }

    fn store(&self, url: &str, tags: &[&str]) -> Arc<Entry> {
        let entry = Arc::new(entry(url, tags, self.handles.ledger.seq()));
        self.handles.memory.put(&Key::new(SEED, SmallVec::from_slice(&entry.key)), entry.clone());
        entry
    }
}

fn lent() -> Handles {
    let sites = Sites::new(vec![Site {
        name: "any".to_owned(),
        hosts: ["h", "i"].map(str::to_owned).to_vec(),
        origin: "app".to_owned(),
        host_header: None,
        redirect_https: None,
        rules: Vec::new(),
        policy: Policy::default(),
    }]);
    let telemetry = Telemetry::quiet();
    telemetry.sample.note(1, 100, 1, 60);
    Handles {
        clock: Clock::manual(WALL_MS),
        telemetry,
        memory: Arc::new(Memory::new(&MemoryOptions::default(), None)),
        disk: None,
        ledger: Arc::new(Ledger::new()),
        durable: None,
        locate: Arc::new(move |asked| Located::of(&sites, SEED, asked)),
        groups: Arc::new(Vec::new),
        ready: Arc::new(|| Ok(())),
        warm: None,
        advise: Some(Arc::new(|| Some(serde_json::json!({"advice": []})))),
    }
}

/// An entry with a body of 100 bytes under a key text.
fn entry(key: &str, tags: &[&str], seq: u64) -> Entry {
    Entry {
        key: key.as_bytes().into(),
        head: Head::from_block(StatusCode::OK, Bytes::new()).unwrap(),
        body: SmallVec::from_iter([Bytes::from_static(&[b'x'; 100])]),
        extent: Extent::Whole,
        freshness: Freshness {
            received_mono_ms: crate::base::clock::MONO_BASE_MS,
            initial_age_ms: 0,
            lifetime_ms: 60_000,
            while_revalidate_ms: 0,
            if_error_ms: 0,
            always_validate: false,
            never_stale: false,
            immutable: false,
            source: LifetimeSource::MaxAge,
        },
        vary: None,
        tags: tags.iter().map(|tag| (*tag).into()).collect(),
        seq,
        checked_seq: AtomicU64::new(seq),
        soft_purged: AtomicBool::new(false),
    }
}

/// A ledger file that notes what it was asked, or refuses.
#[derive(Default)]
struct Paper {
    fails: bool,
    written: parking_lot::Mutex<Vec<u64>>,
    forgotten: AtomicU64,
}

impl Durable for Paper {
    fn append(&self, purges: &[crate::rules::purge::Purge]) -> std::io::Result<()> {
        if self.fails {
            return Err(std::io::Error::other("disk full"));
        }
        self.written.lock().extend(purges.iter().map(|purge| purge.seq));
        Ok(())
    }

    fn forgotten(&self, upto: u64, _ledger: &Ledger) -> std::io::Result<()> {
        self.forgotten.store(upto, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }
}
