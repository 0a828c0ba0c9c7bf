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
use crate::store::ledger_file::LedgerFile;

/// Name of the file in the first directory of the disk tier.
const FILE: &str = "purges.brink";

/// The ledger's file.
pub(super) struct PurgeFile(LedgerFile);

/// The ledger as the last run left it, and where it is kept from now on.
pub(super) fn open(config: &Config) -> Result<(Ledger, Option<Arc<PurgeFile>>), NodeError> {
    let Some(directory) = config.disk.directories.first() else {
        return Ok((Ledger::new(), None));
    };
    let path = directory.path.join(FILE);
    let failed = |why| NodeError::Ledger { path: path.display().to_string(), why };
    let (file, restored) = LedgerFile::open(&path).map_err(failed)?;
    if restored.damaged {
        tracing::error!(
            path = %path.display(),
            "the purge ledger is damaged: everything stored before counts as purged"
        );
    }
    let purges = restored.records.iter().filter_map(|(_, bytes)| Purge::decode(bytes).ok());
    let ledger = Ledger::restore(restored.seq, restored.floor, purges.collect());
    Ok((ledger, Some(Arc::new(PurgeFile(file)))))
}

fn encoded(purge: &Purge) -> (u64, Vec<u8>) {
    let mut bytes = Vec::with_capacity(64);
    purge.encode(&mut bytes);
    (purge.seq, bytes)
}

impl Durable for PurgeFile {
    fn append(&self, purges: &[Purge]) -> io::Result<()> {
        self.0.append(&purges.iter().map(encoded).collect::<Vec<_>>())
    }

    fn forgotten(&self, _upto: u64, ledger: &Ledger) -> io::Result<()> {
        let kept: Vec<_> = ledger.kept().iter().map(|purge| encoded(purge)).collect();
        self.0.rewrite(ledger.floor(), ledger.seq(), &kept)
    }
}
