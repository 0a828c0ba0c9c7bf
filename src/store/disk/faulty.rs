//! A device that fails on purpose, around a real one: the disk's side of every fault test.
//!
//! Calls are counted over all files of the device. A fault is armed for the n-th call from
//! now, or for all calls from then on, so a test can walk through every call that an
//! operation makes (curl's "torture"). Part of the library, not of one test, because the
//! unit tests, the scenarios and the simulation share it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;

use super::device::{Device, DeviceFile};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails with EIO.
    Io,
    /// The call fails with ENOSPC.
    Full,
    /// A write takes only half; a read gives only half. Other calls succeed.
    Short,
    /// A write takes half and then fails with EIO, leaving the half on disk.
    Torn,
    /// One bit of what is read or written is flipped, at this position modulo its length.
    BitFlip(usize),
    /// The call takes this long and succeeds.
    Slow(Duration),
    /// The call does not return before [`Faults::disarm`], then it succeeds. A read that does
    /// not wait says that it would have to.
    Hang,
}

/// When it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At the n-th call from now, 0 being the next one.
    Once(u64),
    /// At every call from the n-th from now on.
    From(u64),
}

/// The faults of one device; shared with the test.
#[derive(Debug, Default)]
pub struct Faults(Mutex<State>, Condvar);

#[derive(Debug, Default)]
struct State {
    calls: u64,
    hanging: u64,
    armed: Option<(u64, bool, Fault)>,
}

impl Faults {
    /// Arms one fault in place of the one before.
    pub fn arm(&self, when: When, fault: Fault) {
        let mut state = self.0.lock();
        state.armed = Some(match when {
            When::Once(n) => (state.calls + n, false, fault),
            When::From(n) => (state.calls + n, true, fault),
        });
    }

    /// Everything works again.
    pub fn disarm(&self) {
        self.0.lock().armed = None;
        self.1.notify_all();
    }

    /// Calls that hang now.
    pub fn hanging(&self) -> u64 {
        self.0.lock().hanging
    }

    fn hang(&self) {
        let mut state = self.0.lock();
        state.hanging += 1;
        self.1.wait_while(&mut state, |state| state.armed.is_some());
        state.hanging -= 1;
    }

    /// Calls made so far.
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    fn next(&self) -> Option<Fault> {
        let mut state = self.0.lock();
        let call = state.calls;
        state.calls += 1;
        let (at, lasting, fault) = state.armed?;
        (call == at || (lasting && call > at)).then_some(fault)
    }

    /// For calls that move no bytes.
    fn plain(&self) -> io::Result<()> {
        match self.next() {
            Some(Fault::Io | Fault::Torn) => Err(Errno::IO.into()),
            Some(Fault::Full) => Err(Errno::NOSPC.into()),
            Some(Fault::Slow(time)) => {
                std::thread::sleep(time);
                Ok(())
            }
            Some(Fault::Hang) => {
                self.hang();
                Ok(())
            }
            Some(Fault::Short | Fault::BitFlip(_)) | None => Ok(()),
        }
    }
}

/// A [`Device`] with [`Faults`].
pub struct FaultyDevice {
    inner: Arc<dyn Device>,
    faults: Arc<Faults>,
}

impl FaultyDevice {
    /// Puts `faults` between the tier and `inner`.
    pub fn new(inner: Arc<dyn Device>, faults: Arc<Faults>) -> Self {
        FaultyDevice { inner, faults }
    }

    fn file(&self, inner: Arc<dyn DeviceFile>) -> Arc<dyn DeviceFile> {
        Arc::new(FaultyFile { inner, faults: Arc::clone(&self.faults) })
    }
}

impl Device for FaultyDevice {
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DeviceFile>> {
        self.faults.plain()?;
        Ok(self.file(self.inner.create(name, len)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DeviceFile>> {
        self.faults.plain()?;
        Ok(self.file(self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.faults.plain()?;
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.plain()?;
        self.inner.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.faults.plain()?;
        self.inner.list()
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.plain()?;
        self.inner.sync()
    }

    fn release(&self) {
        self.inner.release();
    }

    fn reopen(&self) -> io::Result<()> {
        self.faults.plain()?;
        self.inner.reopen()
    }
}

struct FaultyFile {
    inner: Arc<dyn DeviceFile>,
    faults: Arc<Faults>,
}

impl FaultyFile {
    fn read(
        &self,
        buf: &mut [u8],
        waits: bool,
        call: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        match self.faults.next() {
            Some(Fault::Io | Fault::Torn) => Err(Errno::IO.into()),
            Some(Fault::Full) => Err(Errno::NOSPC.into()),
            Some(Fault::Short) => {
                let half = buf.len().div_ceil(2);
                call(buf.get_mut(..half).unwrap_or_default())
            }
            Some(Fault::BitFlip(at)) => {
                let read = call(buf)?;
                flip(buf.get_mut(..read).unwrap_or_default(), at);
                Ok(read)
            }
            Some(Fault::Slow(time)) => {
                std::thread::sleep(time);
                call(buf)
            }
            Some(Fault::Hang) if !waits => Err(io::ErrorKind::WouldBlock.into()),
            Some(Fault::Hang) => {
                self.faults.hang();
                call(buf)
            }
            None => call(buf),
        }
    }
}

impl DeviceFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.faults.plain()?;
        self.inner.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read(buf, true, |buf| self.inner.read_at(buf, offset))
    }

    fn read_now(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read(buf, false, |buf| self.inner.read_now(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let half = || buf.get(..buf.len().div_ceil(2)).unwrap_or_default();
        match self.faults.next() {
            Some(Fault::Io) => Err(Errno::IO.into()),
            Some(Fault::Full) => Err(Errno::NOSPC.into()),
            Some(Fault::Short) => self.inner.write_at(half(), offset),
            Some(Fault::Torn) => {
                self.inner.write_at(half(), offset)?;
                Err(Errno::IO.into())
            }
            Some(Fault::BitFlip(at)) => {
                let mut bytes = buf.to_vec();
                flip(&mut bytes, at);
                self.inner.write_at(&bytes, offset)
            }
            Some(Fault::Slow(time)) => {
                std::thread::sleep(time);
                self.inner.write_at(buf, offset)
            }
            Some(Fault::Hang) => {
                self.faults.hang();
                self.inner.write_at(buf, offset)
            }
            None => self.inner.write_at(buf, offset),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.plain()?;
        self.inner.sync()
    }

    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        self.faults.plain()?;
        self.inner.zero(offset, len)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.faults.plain()?;
        self.inner.punch(offset, len)
    }

    fn held(&self) -> io::Result<u64> {
        self.faults.plain()?;
        self.inner.held()
    }
}

fn flip(bytes: &mut [u8], at: usize) {
    let bits = bytes.len() * 8;
    if bits > 0 {
        let bit = at % bits;
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
    }
}
