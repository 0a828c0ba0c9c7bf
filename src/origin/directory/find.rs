//! Opens files beneath the root, with the kernel's own guard.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::options::Symlinks;

/// What a path leads to.
#[derive(Debug)]
pub enum Found {
    /// A regular file.
    File(File, std::fs::Metadata),
    /// A directory.
    Directory,
    /// Nothing that may be served.
    Nothing,
    /// Something that this process may not read.
    Forbidden,
}

/// Opens the root itself; links on the way to it are the operator's business.
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens `path` (relative, may be empty) beneath `root`. Errors are the disk's, not the
/// request's.
pub fn open(root: &OwnedFd, path: &str, symlinks: Symlinks) -> io::Result<Found> {
    let path = if path.is_empty() { "." } else { path };
    // Non-blocking, because somebody may have put a FIFO there.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = match symlinks {
        Symlinks::Never => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        Symlinks::Inside => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        Symlinks::Anywhere => ResolveFlags::NO_MAGICLINKS,
    };
    // EAGAIN: a rename raced with `..` inside a link; the kernel asks to try again.
    let mut opened = rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), resolve);
    for _ in 0..RACES_MAX {
        if !matches!(opened, Err(rustix::io::Errno::AGAIN)) {
            break;
        }
        opened = rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), resolve);
    }
    use rustix::io::Errno;
    let file = match opened {
        Ok(descriptor) => File::from(descriptor),
        Err(
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::XDEV
            | Errno::NAMETOOLONG
            | Errno::NXIO
            | Errno::INVAL
            | Errno::AGAIN,
        ) => return Ok(Found::Nothing),
        Err(Errno::ACCESS | Errno::PERM) => return Ok(Found::Forbidden),
        Err(error) => return Err(error.into()),
    };
    let about = file.metadata()?;
    Ok(match about.file_type() {
        kind if kind.is_file() => Found::File(file, about),
        kind if kind.is_dir() => Found::Directory,
        _ => Found::Nothing,
    })
}

/// Tries after a race with a rename.
const RACES_MAX: usize = 8;
