//! The seam between the disk tier and the kernel: one directory of segment files.
//!
//! Everything the tier does to a disk goes through [`Device`] and [`DeviceFile`], so that
//! tests can fail the n-th call, tear a write or flip a bit (`faulty.rs`) under the very
//! code that runs in production. Calls block, except [`DeviceFile::read_now`], which
//! answers from the page cache or not at all. io_uring was put off: with the page cache
//! fast path only real disk reads reach the pool, and its setup is often forbidden in
//! containers.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{AtFlags, FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

/// A directory on a disk. Names are the tier's own hex names, never anything of a URL.
pub trait Device: Send + Sync + 'static {
    /// Makes a new file of `len` bytes, its space reserved. Fails if the name exists.
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DeviceFile>>;
    /// Opens an existing regular file; symbolic links are refused.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DeviceFile>>;
    /// Gives a file its final name, in one step. Nothing has that name before.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; its space is free when the last reader is done.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// All names in the directory.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes creations and removals durable.
    fn sync(&self) -> io::Result<()>;
    /// Lets the directory go: another process may have it, its file system may be
    /// unmounted. All calls fail until [`Device::reopen`].
    fn release(&self);
    /// Finds the directory again by its path and takes it for this process: what was
    /// mounted or made there since is used. Nothing changes if it is the same one.
    fn reopen(&self) -> io::Result<()>;
}

/// An open file of a [`Device`].
pub trait DeviceFile: Send + Sync + 'static {
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills as much of `buf` as one call gives, from `offset`; 0 is the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The same if it can be done without waiting for the disk, else
    /// [`io::ErrorKind::WouldBlock`].
    fn read_now(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of `buf` at `offset`.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes the file's data durable.
    fn sync(&self) -> io::Result<()>;
    /// Makes `len` bytes from `offset` read as zeros while keeping them reserved.
    fn zero(&self, offset: u64, len: u64) -> io::Result<()>;
    /// The same while giving them back to the file system;
    /// [`io::ErrorKind::Unsupported`] where it does not take them.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Bytes that it takes up, which holes make less than its length.
    fn held(&self) -> io::Result<u64>;
}

/// Reads exactly `buf.len()` bytes.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] at the end of the file, and what the device says.
pub fn read_full(file: &dyn DeviceFile, buf: &mut [u8], offset: u64) -> io::Result<()> {
    full(buf.len(), |done| {
        let rest = buf.get_mut(done..).unwrap_or_default();
        file.read_at(rest, offset + done as u64)
    })
}

/// Reads exactly `buf.len()` bytes without waiting for the disk.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if that cannot be done, and what the device says.
pub fn read_full_now(file: &dyn DeviceFile, buf: &mut [u8], offset: u64) -> io::Result<()> {
    full(buf.len(), |done| {
        let rest = buf.get_mut(done..).unwrap_or_default();
        file.read_now(rest, offset + done as u64)
    })
}

/// Writes all of `buf`.
///
/// # Errors
/// What the device says; a device that takes nothing is [`io::ErrorKind::UnexpectedEof`].
pub fn write_full(file: &dyn DeviceFile, buf: &[u8], offset: u64) -> io::Result<()> {
    full(buf.len(), |done| file.write_at(buf.get(done..).unwrap_or_default(), offset + done as u64))
}

fn full(len: usize, mut step: impl FnMut(usize) -> io::Result<usize>) -> io::Result<()> {
    let mut done = 0;
    while done < len {
        match step(done) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A directory of this machine. Files are opened under its handle, so renaming a parent
/// does not lead elsewhere.
pub struct RealDevice {
    path: PathBuf,
    dir: Mutex<Option<Arc<OwnedFd>>>,
}

impl RealDevice {
    /// Opens `path`, making it (mode 0700) if it is not there.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let dir = Mutex::new(Some(Arc::new(open_dir(path)?)));
        Ok(RealDevice { path: path.to_owned(), dir })
    }

    /// A directory that cannot be opened now; [`Device::reopen`] tries again.
    pub fn absent(path: &Path) -> Self {
        RealDevice { path: path.to_owned(), dir: Mutex::new(None) }
    }

    /// Takes the directory for this process. Held until the device is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process has it.
    pub fn lock(&self) -> io::Result<()> {
        Ok(rustix::fs::flock(&self.dir()?, FlockOperation::NonBlockingLockExclusive)?)
    }

    fn dir(&self) -> io::Result<Arc<OwnedFd>> {
        let released = || io::Error::other("the directory has been let go");
        self.dir.lock().clone().ok_or_else(released)
    }

    fn open_with(&self, name: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.dir()?, name, flags, mode)?)
    }
}

impl Device for RealDevice {
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DeviceFile>> {
        let fd = self.open_with(name, OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR)?;
        let reserved = match rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, len) {
            // Where space cannot be reserved the file is sparse and ENOSPC comes later.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => rustix::fs::ftruncate(&fd, len),
            other => other,
        };
        if let Err(error) = reserved {
            let _ = self.remove(name);
            return Err(error.into());
        }
        Ok(Arc::new(RealFile { fd }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DeviceFile>> {
        Ok(Arc::new(RealFile { fd: self.open_with(name, OFlags::empty(), Mode::empty())? }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let dir = self.dir()?;
        Ok(rustix::fs::renameat(&dir, from, &dir, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.dir()?, name, AtFlags::empty())?)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.dir()?)? {
            if let Ok(name) = entry?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.dir()?)?)
    }

    fn release(&self) {
        // The lock goes with the last handle, which a call under way may still hold.
        *self.dir.lock() = None;
    }

    fn reopen(&self) -> io::Result<()> {
        let found = open_dir(&self.path)?;
        let now = rustix::fs::fstat(&found)?;
        let mut own = self.dir.lock();
        if let Some(dir) = own.as_deref() {
            let old = rustix::fs::fstat(dir)?;
            if (old.st_dev, old.st_ino) == (now.st_dev, now.st_ino) {
                return Ok(());
            }
        }
        rustix::fs::flock(&found, FlockOperation::NonBlockingLockExclusive)?;
        *own = Some(Arc::new(found));
        Ok(())
    }
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    std::fs::create_dir_all(path)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

struct RealFile {
    fd: OwnedFd,
}

impl DeviceFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.fd)?.st_size.max(0) as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pread(&self.fd, buf, offset)?)
    }

    fn read_now(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut parts = [io::IoSliceMut::new(buf)];
        match rustix::io::preadv2(&self.fd, &mut parts, offset, ReadWriteFlags::NOWAIT) {
            // A kernel or file system without RWF_NOWAIT: the pool does it.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            other => Ok(other?),
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwrite(&self.fd, buf, offset)?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.fd)?)
    }

    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        let call = |flags| rustix::fs::fallocate(&self.fd, flags, offset, len);
        match call(FallocateFlags::ZERO_RANGE) {
            Err(Errno::OPNOTSUPP) => {
                call(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE)?;
                Ok(call(FallocateFlags::empty())?)
            }
            other => Ok(other?),
        }
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.fd, flags, offset, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
            other => Ok(other?),
        }
    }

    fn held(&self) -> io::Result<u64> {
        // The unit is 512 bytes, whatever the file system's is.
        Ok((rustix::fs::fstat(&self.fd)?.st_blocks.max(0) as u64).saturating_mul(512))
    }
}
