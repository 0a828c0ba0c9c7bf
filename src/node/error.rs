//! Why a node does not start.

use crate::store::disk::DiskError;
use crate::{admin, front};

/// Why a node did not start, or a reload was refused.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Listeners.
    #[error(transparent)]
    Front(#[from] front::FrontError),
    /// Certificates.
    #[error(transparent)]
    Certs(#[from] front::CertsError),
    /// The disk tier.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// An origin's settings.
    #[error("origin {name:?}: {why}")]
    Origin {
        /// The origin's name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The file that keeps purges.
    #[error("cannot use the purge ledger {path}: {why}")]
    Ledger {
        /// The file.
        path: String,
        /// What the system says.
        why: std::io::Error,
    },
    /// The admin API.
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
    /// The access log.
    #[error("cannot write the access log: {0}")]
    AccessLog(std::io::Error),
    /// The socket file at which a new process can take over, or the old one there.
    #[error("handover at {path}: {why}")]
    Handover {
        /// The file.
        path: String,
        /// What went wrong.
        why: std::io::Error,
    },
    /// The background runtime.
    #[error("cannot start background threads: {0}")]
    Runtime(std::io::Error),
}
