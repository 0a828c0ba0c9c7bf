//! The serving threads: started, drained and joined.
//!
//! Drain: stop accepting (after taking what the kernel had queued, which a close would
//! reset), say so on every connection (`Connection: close`, GOAWAY), give idle HTTP/1
//! connections a moment for a request already on its way, and at the deadline abort.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::accept::{self, Thread};
use super::bound::{Bound, FrontError};
use super::gate::Gate;
use super::options::Options;
use super::stats::StatsReading;
use super::sweep::Wheel;
use super::tls::TlsParts;
use super::{Handler, Stats};

/// A serving front. Dropping it does not stop it; `drain` does.
#[derive(Debug)]
pub struct Running {
    threads: Vec<JoinHandle<()>>,
    wheels: Vec<Arc<Wheel>>,
    gate: Arc<Gate>,
    stop: CancellationToken,
    abort: CancellationToken,
    sockets: Vec<(Arc<str>, TcpListener)>,
}

/// Starts a thread for each of `threads`, the sockets of one thread each.
pub(crate) fn start<H, M>(
    (options, threads): (Options, Vec<Vec<Bound>>),
    tls: TlsParts,
    gate: Arc<Gate>,
    make: M,
) -> Result<Running, FrontError>
where
    H: Handler,
    M: Fn(usize) -> H + Send + Sync + 'static,
{
    let options = Arc::new(options);
    let make = Arc::new(make);
    let mut running = Running {
        threads: Vec::new(),
        wheels: Vec::new(),
        gate: Arc::clone(&gate),
        stop: CancellationToken::new(),
        abort: CancellationToken::new(),
        sockets: Vec::new(),
    };
    for (index, bound) in threads.into_iter().enumerate() {
        for Bound { options, socket } in &bound {
            let copy = socket.try_clone().map_err(FrontError::Thread)?;
            running.sockets.push((Arc::clone(&options.name), copy));
        }
        let wheel = Wheel::new(options.deadlines.clone(), Arc::clone(&gate.stats));
        running.wheels.push(Arc::clone(&wheel));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(FrontError::Thread)?;
        let (make, options, gate, tls) =
            (Arc::clone(&make), Arc::clone(&options), Arc::clone(&gate), tls.clone());
        let (stop, abort) = (running.stop.clone(), running.abort.clone());
        let body = move || {
            runtime.block_on(async move {
                let handler = make(index);
                let thread = Arc::new(Thread { handler, options, gate, wheel, tls });
                accept::run(thread, bound, stop, abort).await;
            });
        };
        let thread = std::thread::Builder::new().name(format!("front-{index}")).spawn(body);
        running.threads.push(thread.map_err(FrontError::Thread)?);
    }
    Ok(running)
}

impl Running {
    /// Open client connections now.
    pub fn connections(&self) -> usize {
        self.gate.open()
    }

    /// The counters, now.
    pub fn stats(&self) -> StatsReading {
        self.gate.stats.read()
    }

    /// The live counters, for exposition.
    pub fn live_stats(&self) -> Arc<Stats> {
        Arc::clone(&self.gate.stats)
    }

    /// Copies of all listening sockets by listener name, to hand to a new process.
    pub fn sockets(&self) -> std::io::Result<Vec<(Arc<str>, TcpListener)>> {
        let copy =
            |(name, socket): &(Arc<str>, TcpListener)| Ok((Arc::clone(name), socket.try_clone()?));
        self.sockets.iter().map(copy).collect()
    }

    /// Stops accepting and asks every connection to end. Returns at once.
    pub fn stop(&mut self) {
        self.sockets.clear();
        self.stop.cancel();
    }

    /// Stops, waits until the last connection has ended or `deadline` has passed, then
    /// aborts what is left and joins the threads. Returns how many were aborted. Blocks:
    /// call it outside of an async runtime or from its blocking pool.
    pub fn drain(mut self, deadline: Duration) -> usize {
        self.stop();
        let start = crate::base::clock::instant();
        while self.gate.open() > 0 && start.elapsed() < deadline {
            if self.threads.iter().all(JoinHandle::is_finished) {
                break;
            }
            std::thread::sleep(POLL);
        }
        let left = self.gate.open();
        for wheel in &self.wheels {
            wheel.abort();
        }
        self.abort.cancel();
        for thread in self.threads {
            let _ = thread.join();
        }
        left
    }
}

/// How often a drain looks whether it is done.
const POLL: Duration = Duration::from_millis(10);
