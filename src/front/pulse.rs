//! How far each connection is: what it waits for, and since when.
//!
//! A timer for each request costs 16 % of the user instructions of a hit (it is made,
//! registered and dropped each time). Instead each connection writes down what it waits
//! for and since when, in coarse time, and one task a thread looks at all of them every
//! tick. A deadline is late by at most a tick; arming one is a store.
//!
//! Everything of a connection runs on one thread, so the atomics are plain loads and
//! stores; they exist because hyper's connection futures must be `Send`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::task::Waker;

use parking_lot::Mutex;

use super::rein::Rein;
use crate::rules::fault::Fault;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// PROXY header or TLS handshake.
    Handshake = 0,
    /// The first byte of a request.
    Idle,
    /// The rest of a request head.
    Head,
    /// The node: no deadline of the client runs.
    Busy,
    /// Bytes of a request body.
    Body,
    /// The client to close, after the last answer.
    Linger,
    /// A tunnel moves bytes.
    Tunnel,
    /// Nothing: the connection has ended.
    Gone,
}

/// What the sweep decided about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    /// Carry on.
    Fine = 0,
    /// Answer 408, then close.
    AnswerTimeout,
    /// Make the request body fail.
    FailBody,
    /// End as if the client had closed: nothing is owed to it.
    Close,
    /// Drop the connection at once.
    Abort,
}

/// What became of an upgrade the client asked for (HTTP/1 only).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Upgrade {
    /// Nobody asked.
    None = 0,
    /// Asked, not answered: bytes after the request wait.
    Asked,
    /// Asked by a request with a body: ignored.
    Ignored,
    /// Answered 101: bytes pass without being looked at.
    Tunnel,
}

/// One connection's state, shared by its I/O wrapper, its service and the sweep.
#[derive(Debug)]
pub(crate) struct Pulse {
    pub(super) now: Arc<AtomicU64>,
    pub(super) phase: AtomicU8,
    pub(super) since: AtomicU64,
    pub(super) verdict: AtomicU8,
    pub(super) upgrade: AtomicU8,
    pub(super) draining: AtomicBool,
    pub(super) ends_by_close: AtomicBool,
    pub(super) body_bytes: AtomicU64,
    pub(super) body_waited: AtomicU64,
    pub(super) write_since: AtomicU64,
    pub(super) write_waited: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) exchanges: AtomicU32,
    pub(super) finished: AtomicU32,
    pub(super) partial: AtomicU64,
    pub(super) upload_begun: AtomicU64,
    pub(super) upload_moved: AtomicU64,
    pub(super) waker: Mutex<Option<Waker>>,
    pub(super) fault: Mutex<Option<Fault>>,
    /// HTTP/2 exchanges that are not over.
    pub(super) reins: Mutex<Vec<Arc<Rein>>>,
}

impl Pulse {
    pub(super) fn new(now: Arc<AtomicU64>, draining: bool) -> Self {
        Pulse {
            since: AtomicU64::new(now.load(Relaxed)),
            now,
            phase: AtomicU8::new(Phase::Handshake as u8),
            verdict: AtomicU8::new(Verdict::Fine as u8),
            upgrade: AtomicU8::new(Upgrade::None as u8),
            draining: AtomicBool::new(draining),
            ends_by_close: AtomicBool::new(false),
            body_bytes: AtomicU64::new(0),
            body_waited: AtomicU64::new(0),
            write_since: AtomicU64::new(0),
            write_waited: AtomicU64::new(0),
            written: AtomicU64::new(0),
            exchanges: AtomicU32::new(0),
            finished: AtomicU32::new(0),
            partial: AtomicU64::new(0),
            upload_begun: AtomicU64::new(0),
            upload_moved: AtomicU64::new(0),
            waker: Mutex::new(None),
            fault: Mutex::new(None),
            reins: Mutex::default(),
        }
    }

    /// Coarse milliseconds; never zero.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Handshake,
            1 => Phase::Idle,
            2 => Phase::Head,
            3 => Phase::Busy,
            4 => Phase::Body,
            5 => Phase::Linger,
            6 => Phase::Tunnel,
            _ => Phase::Gone,
        }
    }

    /// Begins a wait; its deadline runs from now.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.since.store(self.now(), Relaxed);
    }

    /// Begins a wait unless it already runs.
    pub(crate) fn wait_for(&self, phase: Phase) {
        if self.phase.load(Relaxed) != phase as u8 {
            self.enter(phase);
        }
    }

    /// A new request: its body and its answer are measured from zero.
    pub(crate) fn begin_exchange(&self) {
        self.enter(Phase::Busy);
        self.body_bytes.store(0, Relaxed);
        self.body_waited.store(0, Relaxed);
        self.write_waited.store(0, Relaxed);
        self.written.store(0, Relaxed);
    }

    /// Body bytes came; the wait for them, if one ran, is added up.
    pub(crate) fn body_progress(&self, bytes: usize) {
        if self.phase() == Phase::Body {
            let waited = self.now().saturating_sub(self.since.load(Relaxed));
            self.body_waited.store(self.body_waited.load(Relaxed) + waited, Relaxed);
            self.enter(Phase::Busy);
        }
        self.body_bytes.store(self.body_bytes.load(Relaxed) + bytes as u64, Relaxed);
    }

    /// The client does not take bytes.
    pub(crate) fn write_blocked(&self) {
        if self.write_since.load(Relaxed) == 0 {
            self.write_since.store(self.now(), Relaxed);
        }
    }

    /// The client took bytes (or there are none to take).
    pub(crate) fn write_progress(&self, bytes: usize) {
        let since = self.write_since.load(Relaxed);
        if since != 0 {
            let waited = self.now().saturating_sub(since);
            self.write_waited.store(self.write_waited.load(Relaxed) + waited, Relaxed);
            self.write_since.store(0, Relaxed);
        }
        self.written.store(self.written.load(Relaxed) + bytes as u64, Relaxed);
    }

    /// One more exchange is open on an HTTP/2 connection.
    pub(crate) fn exchange_opened(&self) {
        self.exchanges.store(self.exchanges.load(Relaxed) + 1, Relaxed);
        self.wait_for(Phase::Busy);
    }

    /// One less; `whole`: its answer was complete.
    pub(crate) fn exchange_closed(&self, whole: bool) {
        let left = self.exchanges.load(Relaxed).saturating_sub(1);
        self.exchanges.store(left, Relaxed);
        self.finished.store(self.finished.load(Relaxed) + u32::from(whole), Relaxed);
        if left == 0 && self.phase() == Phase::Busy {
            self.enter(Phase::Idle);
        }
    }

    /// How many exchanges were finished since this was last asked.
    pub(crate) fn take_finished(&self) -> u32 {
        let finished = self.finished.load(Relaxed);
        self.finished.store(0, Relaxed);
        finished
    }

    /// An HTTP/2 DATA frame went out: the connection is not idle.
    pub(crate) fn data_sent(&self) {
        if self.phase() == Phase::Idle {
            self.enter(Phase::Idle);
        }
    }

    /// HTTP/2 request bodies: whether one is being received, and the bytes of it that came.
    pub(crate) fn uploads(&self, open: bool, bytes: usize) {
        if !open {
            self.upload_begun.store(0, Relaxed);
            return;
        }
        if self.upload_begun.load(Relaxed) == 0 {
            self.upload_begun.store(self.now(), Relaxed);
            self.upload_moved.store(self.now(), Relaxed);
            self.body_bytes.store(0, Relaxed);
        }
        if bytes > 0 {
            self.upload_moved.store(self.now(), Relaxed);
            self.body_bytes.store(self.body_bytes.load(Relaxed) + bytes as u64, Relaxed);
        }
    }

    /// Whether the client is in the middle of an HTTP/2 frame or header block.
    pub(crate) fn partial(&self, partial: bool) {
        match (partial, self.partial.load(Relaxed)) {
            (true, 0) => self.partial.store(self.now(), Relaxed),
            (false, since) if since != 0 => self.partial.store(0, Relaxed),
            _ => {}
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self.verdict.load(Relaxed) {
            0 => Verdict::Fine,
            1 => Verdict::AnswerTimeout,
            2 => Verdict::FailBody,
            3 => Verdict::Close,
            _ => Verdict::Abort,
        }
    }

    pub(crate) fn set_verdict(&self, verdict: Verdict) {
        self.verdict.store(verdict as u8, Relaxed);
    }

    pub(crate) fn upgrade(&self) -> Upgrade {
        match self.upgrade.load(Relaxed) {
            0 => Upgrade::None,
            1 => Upgrade::Asked,
            2 => Upgrade::Ignored,
            _ => Upgrade::Tunnel,
        }
    }

    pub(crate) fn set_upgrade(&self, upgrade: Upgrade) {
        self.upgrade.store(upgrade as u8, Relaxed);
    }

    /// The newest answer has no length and its client knows no chunks: a clean close would
    /// be its end, so a cut has to be a reset.
    pub(crate) fn set_ends_by_close(&self, so: bool) {
        self.ends_by_close.store(so, Relaxed);
    }

    pub(crate) fn ends_by_close(&self) -> bool {
        self.ends_by_close.load(Relaxed)
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// The node stops: an idle connection gets a moment for one more request.
    pub(super) fn drain(&self) {
        self.draining.store(true, Relaxed);
        if self.phase() == Phase::Idle {
            self.enter(Phase::Idle);
        }
        self.wake();
    }

    /// The refusal that the synthetic request stands for.
    pub(crate) fn set_fault(&self, fault: Fault) {
        *self.fault.lock() = Some(fault);
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        *self.fault.lock()
    }

    /// Who is woken when the sweep decides something.
    pub(crate) fn set_waker(&self, waker: Waker) {
        *self.waker.lock() = Some(waker);
    }

    pub(crate) fn wake(&self) {
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
