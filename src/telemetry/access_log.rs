//! The access log: formatted where the exchange ends, written by one thread.
//!
//! ```text
//! exchange ends -> line appended to this thread's buffer   (no system call, no wait)
//!                     | large enough: wake the writer
//! writer: every 100 ms or when woken: swap each buffer with an empty one, write it
//! ```
//! A thread's buffer is behind a lock that only the writer's swap ever contends for a few
//! nanoseconds. A buffer that is full, because the disk or the pipe is slower than the
//! traffic, drops lines and counts them. A channel with a line an allocation
//! (tracing-appender) was rejected: it costs more and loses lines earlier.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use parking_lot::Mutex;
use thread_local::ThreadLocal;

use super::exchange::Exchange;
pub use super::line::Format;
use super::line::{self, DateCache};

/// Where lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output.
    Stdout,
    /// Appended to this file, which [`AccessLog::reopen`] opens again.
    File(PathBuf),
}

/// Settings of the access log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where lines go. Default: nowhere.
    pub target: Target,
    /// JSON lines or combined. Default: JSON.
    pub format: Format,
    /// Bytes each thread may hold before lines are dropped. Default 1 MiB, at least 64 KiB.
    pub buffer_max: usize,
    /// How long a line may wait before it is written. Default 100 ms.
    pub flush_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            target: Target::Off,
            format: Format::Json,
            buffer_max: 1 << 20,
            flush_every: Duration::from_millis(100),
        }
    }
}

/// A buffer this full wakes the writer before its time.
const WAKE_BYTES: usize = 64 * 1024;

/// The log's handle; dropping the last one writes what is left.
#[derive(Debug)]
pub struct AccessLog {
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Writer {
    shared: Arc<Shared>,
    thread: Thread,
    join: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    format: Format,
    buffer_max: usize,
    buffers: ThreadLocal<Mutex<Buffer>>,
    dropped: AtomicU64,
    failed: AtomicU64,
    reopen: AtomicBool,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct Buffer {
    lines: Vec<u8>,
    dates: DateCache,
    woken: bool,
}

impl AccessLog {
    /// A log that writes nothing.
    pub fn off() -> Self {
        AccessLog { writer: None }
    }

    /// Opens the target and starts the writer thread.
    pub fn start(options: Options) -> io::Result<Self> {
        let mut sink = match &options.target {
            Target::Off => return Ok(AccessLog::off()),
            Target::Stdout => Sink { path: None, out: Box::new(io::stdout()) },
            Target::File(path) => Sink { out: Box::new(open(path)?), path: Some(path.clone()) },
        };
        let shared = Arc::new(Shared {
            format: options.format,
            buffer_max: options.buffer_max.max(WAKE_BYTES),
            buffers: ThreadLocal::new(),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let (own, every) = (Arc::clone(&shared), options.flush_every);
        let join = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_until_stopped(&own, &mut sink, every))?;
        let thread = join.thread().clone();
        Ok(AccessLog { writer: Some(Writer { shared, thread, join: Some(join) }) })
    }

    /// Appends one line to this thread's buffer, or drops it when that is full.
    pub fn write(&self, exchange: &Exchange<'_>) {
        let Some(writer) = &self.writer else { return };
        let shared = &writer.shared;
        let mut guard = shared.buffers.get_or_default().lock();
        let buffer = &mut *guard;
        if buffer.lines.len() >= shared.buffer_max {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        line::write(shared.format, exchange, &mut buffer.dates, &mut buffer.lines);
        let wake = buffer.lines.len() >= WAKE_BYTES && !buffer.woken;
        buffer.woken |= wake;
        drop(guard);
        if wake {
            writer.thread.unpark();
        }
    }

    /// Opens the file again (after a rotation) before the next write.
    pub fn reopen(&self) {
        if let Some(writer) = &self.writer {
            writer.shared.reopen.store(true, Ordering::Release);
            writer.thread.unpark();
        }
    }

    /// Lines dropped so far: buffers full, or the target refused a write.
    pub fn dropped(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| {
            let shared = &writer.shared;
            shared.dropped.load(Ordering::Relaxed) + shared.failed.load(Ordering::Relaxed)
        })
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.shared.stop.store(true, Ordering::Release);
            writer.thread.unpark();
            if let Some(join) = writer.join.take() {
                let _ = join.join();
            }
        }
    }
}

struct Sink {
    path: Option<PathBuf>,
    out: Box<dyn Write + Send>,
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn write_until_stopped(shared: &Shared, sink: &mut Sink, every: Duration) {
    let mut spare = Vec::new();
    loop {
        let last = shared.stop.load(Ordering::Acquire);
        if shared.reopen.swap(false, Ordering::AcqRel) {
            sink.reopen();
        }
        for buffer in shared.buffers.iter() {
            {
                let mut buffer = buffer.lock();
                std::mem::swap(&mut buffer.lines, &mut spare);
                buffer.woken = false;
            }
            if spare.is_empty() {
                continue;
            }
            if let Err(error) = sink.out.write_all(&spare) {
                let lines = memchr::memchr_iter(b'\n', &spare).count() as u64;
                if shared.failed.fetch_add(lines, Ordering::Relaxed) == 0 {
                    tracing::warn!(%error, lines, "access log lines lost");
                }
            }
            spare.clear();
        }
        let _ = sink.out.flush();
        if last {
            return;
        }
        std::thread::park_timeout(every);
    }
}

impl Sink {
    /// Keeps the old file when the new one cannot be opened.
    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => self.out = Box::new(file),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "access log not reopened");
            }
        }
    }
}
