//! Purges that survive a crash: the ledger's file beside the disk tier.
//!
//! Without a disk tier nothing that a purge could miss outlives the process, so nothing is
//! written. With one, the file stands in its first directory and is synced before a purge
//! is acknowledged; after a restart the ledger begins where the file ends.

use std::io;
use std::sync::Arc;

use super::NodeError;
use crate::admin::Durable;
use crate::config::Config;
use crate::rules::ledger::Ledger;
use crate::rules::purge::Purge;
use crate::store::ledger_file::{LedgerFile, Restored};

/// Name of the file in the first directory of the disk tier.
const FILE: &str = "purges.brink";

/// The ledger's file.
pub(super) struct PurgeFile(LedgerFile);

/// The ledger as the last run left it, and where it is kept from now on. `kept` says that
/// there are directories of an earlier run: if their ledger is lost, nobody knows what of
/// their contents was purged, so all of it counts as purged. The new numbers then begin at
/// `now_ms`, Unix time, because no count of purges ever came near it.
pub(super) fn open(
    config: &Config,
    kept: bool,
    now_ms: u64,
) -> Result<(Ledger, Option<Arc<PurgeFile>>), NodeError> {
    let Some(directory) = config.disk.directories.first() else {
        return Ok((Ledger::new(), None));
    };
    let path = directory.path.join(FILE);
    let failed = |why| NodeError::Ledger { path: path.display().to_string(), why };
    let (file, mut restored) = LedgerFile::open(&path).map_err(failed)?;
    if kept && restored.made {
        restored = Restored { seq: now_ms, floor: now_ms, damaged: true, ..Restored::default() };
        file.rewrite(now_ms, now_ms, &[]).map_err(failed)?;
    }
    if restored.damaged {
        tracing::error!(
            path = %path.display(),
            "the purge ledger is damaged or lost: everything stored before counts as purged"
        );
    }
    let purges = restored.records.iter().filter_map(|(_, bytes)| Purge::decode(bytes).ok());
    let ledger = Ledger::restore(restored.seq, restored.floor, purges.collect());
    Ok((ledger, Some(Arc::new(PurgeFile(file)))))
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
