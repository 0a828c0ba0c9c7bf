//! Purges that survive a crash: the ledger's file beside the disk tier.
//!
//! Without a disk tier nothing that a purge could miss outlives the process, so nothing is
//! written. With one, the file stands in its first directory and is synced before a purge
//! is acknowledged; after a restart the ledger begins where the file ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::NodeError;
use crate::admin::Durable;
use crate::config::Config;
use crate::rules::ledger::Ledger;
use crate::rules::purge::Purge;
use crate::store::ledger_file::{LedgerFile, Restored};

/// Name of the file in the first directory of the disk tier.
const FILE: &str = "purges.brink";

/// The ledger's file.
pub(super) struct PurgeFile(LedgerFile);

/// The ledger as the last run left it, and where it is kept from now on: in the first
/// directory that takes it. Where a directory could not be used for a while there may be
/// two files; the one with the higher number is the newer, and the only one that stays.
/// `kept` says that there are directories of an earlier run: if their ledger is lost,
/// nobody knows what of their contents was purged, so all of it counts as purged. The new
/// numbers then begin at `now_ms`, Unix time, because no count of purges ever came near it.
pub(super) fn open(
    config: &Config,
    kept: bool,
    now_ms: u64,
) -> Result<(Ledger, Option<Arc<PurgeFile>>), NodeError> {
    if config.disk.directories.is_empty() {
        return Ok((Ledger::new(), None));
    }
    let mut found = files(config)?;
    let newest = found.iter().filter(|one| !one.restored.made);
    let mut restored = match newest.max_by_key(|one| one.restored.seq) {
        Some(newest) => newest.restored.clone(),
        None if kept => {
            Restored { seq: now_ms, floor: now_ms, damaged: true, ..Default::default() }
        }
        None => Restored::default(),
    };
    if restored.damaged {
        let text = "the purge ledger is damaged or lost: everything stored before is purged";
        tracing::error!("{text}");
    }
    let own = found.remove(0);
    if own.restored != restored {
        let why = |why| failed(&own.path, why);
        own.file.rewrite(restored.floor, restored.seq, &restored.records).map_err(why)?;
    }
    for older in found {
        let _ = std::fs::remove_file(&older.path);
    }
    let records = std::mem::take(&mut restored.records);
    let purges = records.iter().filter_map(|(_, bytes)| Purge::decode(bytes).ok());
    let ledger = Ledger::restore(restored.seq, restored.floor, purges.collect());
    Ok((ledger, Some(Arc::new(PurgeFile(own.file)))))
}

/// A ledger's file that was found, or made.
struct Found {
    path: PathBuf,
    file: LedgerFile,
    restored: Restored,
}

/// The files there are, at least one. A directory that cannot be used is passed over, as
/// the disk tier does; a file that another process has, or a later version wrote, is not.
fn files(config: &Config) -> Result<Vec<Found>, NodeError> {
    let mut found = Vec::new();
    let mut trouble = None;
    for directory in &config.disk.directories {
        let path = directory.path.join(FILE);
        if !found.is_empty() && !path.exists() {
            continue;
        }
        match LedgerFile::open(&path) {
            Ok((file, restored)) => found.push(Found { path, file, restored }),
            Err(why) => match why.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Unsupported => {
                    return Err(failed(&path, why));
                }
                _ => trouble = trouble.or(Some(failed(&path, why))),
            },
        }
    }
    match trouble {
        Some(trouble) if found.is_empty() => Err(trouble),
        _ => Ok(found),
    }
}

fn failed(path: &Path, why: io::Error) -> NodeError {
    NodeError::Ledger { path: path.display().to_string(), why }
}

/// Whether a directory of the disk tier was used before.
pub(super) fn kept(config: &Config) -> bool {
    config.disk.directories.iter().any(|own| own.path.join("identity").exists())
}

fn encoded(purge: &Purge) -> (u64, Vec<u8>) {
    let mut bytes = Vec::with_capacity(64);
    purge.encode(&mut bytes);
    (purge.seq, bytes)
}

impl PurgeFile {
    /// Lets another process have the file.
    pub(super) fn release(&self) {
        self.0.release();
    }
}

impl Durable for PurgeFile {
    fn append(&self, purges: &[Purge]) -> io::Result<()> {
        self.0.append(&purges.iter().map(encoded).collect::<Vec<_>>())
    }

    fn forgotten(&self, _upto: u64, ledger: &Ledger) -> io::Result<()> {
        // The number first: what is applied after it was read may or may not be in `kept`,
        // and what is in neither the file keeps.
        let seq = ledger.seq();
        let kept: Vec<_> = ledger.kept().iter().map(|purge| encoded(purge)).collect();
        self.0.rewrite(ledger.floor(), seq, &kept)
    }
}
