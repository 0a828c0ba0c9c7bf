//! What makes a directory a Brink store: its identity file and its lock.
//!
//! ```text
//! DIR/identity    64 bytes: magic "BRKi", version, key seed, directory id, checksum
//! DIR/segments/   the device: segment files with hex names; locked while in use
//! ```
//! The key seed belongs to the records: with another one none of their hashes is found
//! again. All directories of a node share it, so it can be told before any has joined.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::device::RealDevice;
use super::format::{Flaw, HEADER, checked, sealed};
use super::wire::Cursor;
use crate::rules::key::KeySeed;

const MAGIC: [u8; 4] = *b"BRKi";
const VERSION: u16 = 1;

/// Why a directory is refused. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process has it.
    #[error("disk directory {path} is in use by another process")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It is a store of another version, or the file is something else.
    #[error("disk directory {path}: identity file: {flaw}; empty the directory or use another")]
    Identity {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        flaw: Flaw,
    },
    /// It was filled with another key seed than the other directories.
    #[error("disk directory {path} belongs to another store; empty it or use another")]
    Seed {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be used.
    #[error("disk directory {path}: {error}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What is kept in the identity file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Seed of the key hash.
    pub seed: KeySeed,
    /// Random; what keys are spread by, so that the order of directories does not matter.
    pub id: u64,
}

impl Identity {
    fn encode(&self) -> [u8; HEADER] {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.seed.0.to_le_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        out.resize(HEADER - 4, 0);
        sealed(out)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let mut cursor = checked(bytes.get(..HEADER).ok_or(Flaw::Length)?, MAGIC, VERSION)?;
        let fields = |cursor: &mut Cursor<'_>| {
            cursor.take(2)?;
            Some(Identity { seed: KeySeed(cursor.u64()?), id: cursor.u64()? })
        };
        fields(&mut cursor).ok_or(Flaw::Length)
    }

    /// Reads the identity of the store at `path`; `None` if there is none yet.
    ///
    /// # Errors
    /// [`DiskError::Identity`] or [`DiskError::Io`].
    pub fn read(path: &Path) -> Result<Option<Self>, DiskError> {
        let mut bytes = Vec::new();
        match File::open(path.join("identity")).map(|file| file.take(4096)) {
            Ok(mut file) => file.read_to_end(&mut bytes).map_err(|error| io_error(path, error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(path, error)),
        };
        Self::decode(&bytes)
            .map(Some)
            .map_err(|flaw| DiskError::Identity { path: path.to_owned(), flaw })
    }

    /// Writes the identity so that it is there whole or not at all.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), DiskError> {
        let write = || {
            let new = path.join("identity.new");
            let mut file = File::create(&new)?;
            file.write_all(&self.encode())?;
            file.sync_all()?;
            std::fs::rename(new, path.join("identity"))?;
            File::open(path)?.sync_all()
        };
        write().map_err(|error| io_error(path, error))
    }
}

/// Opens and locks the segment directory of the store at `path`.
///
/// # Errors
/// [`DiskError::Locked`] or [`DiskError::Io`].
pub fn open_locked(path: &Path) -> Result<RealDevice, DiskError> {
    let device = RealDevice::open(&path.join("segments")).map_err(|error| io_error(path, error))?;
    device.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => DiskError::Locked { path: path.to_owned() },
        _ => io_error(path, error),
    })?;
    Ok(device)
}

/// The segment directory of the store at `path` for later: see [`RealDevice::absent`].
pub fn absent(path: &Path) -> RealDevice {
    RealDevice::absent(&path.join("segments"))
}

fn io_error(path: &Path, error: io::Error) -> DiskError {
    DiskError::Io { path: path.to_owned(), error }
}
