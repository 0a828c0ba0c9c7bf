//! What waits to be written to one directory, bounded in bytes, readable meanwhile.
//!
//! A response is found here from the moment it is admitted until its record is whole on
//! disk and in the index; both changes happen under this lock, and so does a removal, so
//! a key removed while its record is being written does not come back. When the bound is
//! reached new writes are shed: a slow disk costs hits later, never requests now.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;

use super::marks::Mark;
use super::payload::Payload;

/// One thing for the writer to do.
#[derive(Debug)]
pub enum Job {
    /// Write this.
    Put {
        /// Key hash.
        hash: u128,
        /// Variant fingerprint.
        variant: u32,
        /// The content.
        payload: Payload,
    },
    /// Write a tombstone.
    Bury {
        /// Key hash.
        hash: u128,
        /// The variant, or [`ALL_VARIANTS`].
        variant: u32,
    },
    /// Write everything before it, then send serial and offset of the end of the log.
    Position(tokio::sync::oneshot::Sender<(u64, u64)>),
    /// Write this mark.
    Judged(Mark),
    /// Make everything before it durable, then send.
    Sync(tokio::sync::oneshot::Sender<bool>),
}

/// In a tombstone: the key with all its variants.
pub const ALL_VARIANTS: u32 = u32::MAX;

/// What the writer is told to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write what comes.
    Run,
    /// Join again after having been out.
    PutBack,
    /// Write what is queued, leave a checkpoint, end.
    Close,
    /// End at once, as a crash would.
    Abort,
}

/// What the writer gets.
#[derive(Debug)]
pub enum Next {
    /// A job.
    Job(Job),
    /// Nothing to do: a good time to flush.
    Idle,
    /// Something else than [`Command::Run`] and nothing left that it would still write.
    Command(Command),
}

/// The queue.
pub struct WriteQueue {
    inner: Mutex<Inner>,
    wake: Condvar,
    max: u64,
}

#[derive(Default)]
struct Inner {
    jobs: VecDeque<Job>,
    bytes: u64,
    pending: HashMap<u128, SmallVec<[Payload; 1]>>,
    command: Option<Command>,
    missed: Vec<u128>,
    missed_too_many: bool,
}

/// Removals remembered while a directory is not in service; beyond, it starts empty.
const MISSED_MAX: usize = 1 << 20;

impl WriteQueue {
    /// A queue of at most `max` bytes.
    pub fn new(max: u64) -> Self {
        WriteQueue { inner: Mutex::default(), wake: Condvar::new(), max }
    }

    /// Queues a write. False if there is no room: the write is shed.
    pub fn put(&self, hash: u128, variant: u32, payload: Payload) -> bool {
        let mut inner = self.inner.lock();
        let cost = payload.cost();
        if inner.bytes + cost > self.max || inner.command.is_some() {
            return false;
        }
        inner.bytes += cost;
        inner.pending.entry(hash).or_default().insert(0, payload.clone());
        inner.jobs.push_back(Job::Put { hash, variant, payload });
        drop(inner);
        self.wake.notify_one();
        true
    }

    /// Removes a variant of a key or [`ALL_VARIANTS`]: what waits under it is void, `index`
    /// drops what is on disk and says whether there was any, and a tombstone is queued if
    /// anything may be on disk. With `serving` false (asked under the lock) it is remembered
    /// for [`WriteQueue::join`].
    pub fn remove(
        &self,
        hash: u128,
        variant: u32,
        serving: impl FnOnce() -> bool,
        index: impl FnOnce() -> bool,
    ) -> bool {
        let mut inner = self.inner.lock();
        let waited = inner.void(hash, variant);
        let held = index();
        if !serving() {
            inner.miss(hash);
        } else if waited || held {
            inner.jobs.push_back(Job::Bury { hash, variant });
            self.wake.notify_one();
        }
        waited || held
    }

    /// Queues a job that takes no room.
    pub fn order(&self, job: Job) {
        self.inner.lock().jobs.push_back(job);
        self.wake.notify_one();
    }

    /// What waits under a key, newest first.
    pub fn pending(&self, hash: u128) -> SmallVec<[Payload; 1]> {
        self.inner.lock().pending.get(&hash).cloned().unwrap_or_default()
    }

    /// The next job, or [`Next::Idle`] after `patience` without one.
    pub fn next(&self, patience: Duration) -> Next {
        let mut inner = self.inner.lock();
        loop {
            match inner.command {
                Some(command) if command != Command::Close || inner.jobs.is_empty() => {
                    return Next::Command(command);
                }
                _ => {}
            }
            if let Some(job) = inner.jobs.pop_front() {
                return Next::Job(job);
            }
            if self.wake.wait_for(&mut inner, patience).timed_out() {
                return Next::Idle;
            }
        }
    }

    /// Waits for a command other than [`Command::Run`]. Writes are thrown away meanwhile,
    /// and what they would have replaced or buried is remembered for [`WriteQueue::join`].
    pub fn wait_command(&self) -> Command {
        let mut inner = self.inner.lock();
        loop {
            for job in std::mem::take(&mut inner.jobs) {
                if let Job::Put { hash, .. } | Job::Bury { hash, .. } = job {
                    inner.miss(hash);
                }
            }
            inner.pending.clear();
            inner.bytes = 0;
            if let Some(command) = inner.command {
                return command;
            }
            self.wake.wait(&mut inner);
        }
    }

    /// Whether a write has not been voided by a removal.
    pub fn wants(&self, hash: u128, payload: &Payload) -> bool {
        let inner = self.inner.lock();
        inner.pending.get(&hash).is_some_and(|list| list.iter().any(|other| other.same(payload)))
    }

    /// A write has reached the disk (`publish` puts it into the index) or has failed
    /// (`publish` does nothing). `publish` is not called, and the answer
    /// is false, if the write has been voided.
    pub fn finish(&self, hash: u128, payload: &Payload, publish: impl FnOnce()) -> bool {
        let mut inner = self.inner.lock();
        let Some(list) = inner.pending.get_mut(&hash) else { return false };
        let Some(at) = list.iter().position(|other| other.same(payload)) else { return false };
        list.remove(at);
        if list.is_empty() {
            inner.pending.remove(&hash);
        }
        inner.bytes = inner.bytes.saturating_sub(payload.cost());
        publish();
        true
    }

    /// Tells the writer what to be. [`Command::Abort`] is final.
    pub fn command(&self, command: Command) {
        let mut inner = self.inner.lock();
        if inner.command != Some(Command::Abort) {
            inner.command = (command != Command::Run).then_some(command);
        }
        drop(inner);
        self.wake.notify_all();
    }

    /// The writer has begun to join again: forgets [`Command::PutBack`].
    pub fn joining(&self) {
        let mut inner = self.inner.lock();
        if inner.command == Some(Command::PutBack) {
            inner.command = None;
        }
    }

    /// Whether removals were missed that the disk does not know of.
    pub fn has_missed(&self) -> bool {
        let inner = self.inner.lock();
        inner.missed_too_many || !inner.missed.is_empty()
    }

    /// Whether so many removals were missed that what is on disk cannot be trusted.
    pub fn missed_too_many(&self) -> bool {
        self.inner.lock().missed_too_many
    }

    /// Ends joining: `bury` gets each removal that was missed, then `ready` is called, all
    /// under the lock, and tombstones are queued.
    pub fn join(&self, mut bury: impl FnMut(u128), ready: impl FnOnce()) {
        let mut inner = self.inner.lock();
        inner.missed_too_many = false;
        for hash in std::mem::take(&mut inner.missed) {
            bury(hash);
            inner.jobs.push_back(Job::Bury { hash, variant: ALL_VARIANTS });
        }
        ready();
    }

    /// Bytes waiting.
    pub fn bytes(&self) -> u64 {
        self.inner.lock().bytes
    }

    /// Jobs waiting.
    pub fn len(&self) -> usize {
        self.inner.lock().jobs.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    /// Forgets what waits; whether there was any.
    fn void(&mut self, hash: u128, variant: u32) -> bool {
        let Some(list) = self.pending.get_mut(&hash) else { return false };
        let before = list.len();
        let bytes = &mut self.bytes;
        list.retain(|payload| {
            let goes = variant == ALL_VARIANTS || payload.variant() == variant;
            if goes {
                *bytes = bytes.saturating_sub(payload.cost());
            }
            !goes
        });
        let any = list.len() < before;
        if list.is_empty() {
            self.pending.remove(&hash);
        }
        any
    }

    fn miss(&mut self, hash: u128) {
        if self.missed.len() < MISSED_MAX {
            self.missed.push(hash);
        } else {
            self.missed_too_many = true;
        }
    }
}

impl Payload {
    /// Whether both are the very same thing in memory.
    fn same(&self, other: &Payload) -> bool {
        match (self, other) {
            (Payload::Entry(one), Payload::Entry(two)) => Arc::ptr_eq(one, two),
        }
    }
}
