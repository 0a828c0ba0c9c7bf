//! The scripted origin: records every byte that reaches it and answers by a function.
//!
//! It reads requests with a reader of its own that is strict and dumb: what it cannot
//! frame it records as [`Seen::broken`], so a test can say "nothing reached the origin"
//! or "the origin did not take the cut POST for a whole one".

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::answer::{Framing, Wire, field, fields_of, framing_of, head_end};
use super::reply::{Reply, Step};
use super::{DEADLINE, Ended};

/// One request as it reached the origin.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Place in the order of arrival over all connections, from 0.
    pub n: usize,
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// The method.
    pub method: String,
    /// The target as sent.
    pub target: String,
    /// Request line and fields as sent, without the empty line.
    pub head: String,
    /// Field names as sent, and values.
    pub fields: Vec<(String, String)>,
    /// The decoded body.
    pub body: Vec<u8>,
    /// Whether the body ended as its framing said.
    pub ended: Ended,
}

impl Seen {
    /// The value of a field; several are joined with `, `.
    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.fields, name)
    }
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    wires: Vec<Vec<u8>>,
}

struct Shared {
    log: Mutex<Log>,
    moved: Condvar,
    script: Box<Script>,
    early: bool,
}

/// A listening origin.
pub struct Origin {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Origin {
    /// Answers each request, read whole, with what `script` says.
    pub fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::launch(Box::new(script), false)
    }

    /// Answers when the head is there, before it reads the body.
    pub fn start_early(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::launch(Box::new(script), true)
    }

    fn launch(script: Box<Script>, early: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the origin");
        let addr = listener.local_addr().expect("its address");
        let shared =
            Arc::new(Shared { log: Mutex::default(), moved: Condvar::new(), script, early });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                let connection = {
                    let mut log = shared.lock();
                    log.wires.push(Vec::new());
                    log.wires.len() - 1
                };
                std::thread::spawn(move || {
                    let _ = shared.talk(stream, connection);
                });
            }
        });
        Origin { addr, shared }
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// How many requests so far.
    pub fn count(&self) -> usize {
        self.shared.lock().seen.len()
    }

    /// The `n`th request, from 0; waits for it.
    pub fn request(&self, n: usize) -> Seen {
        self.wait_for(n + 1);
        self.shared.lock().seen[n].clone()
    }

    /// Everything received, a connection each, byte for byte.
    pub fn wires(&self) -> Vec<Vec<u8>> {
        self.shared.lock().wires.clone()
    }

    /// Everything received on all connections as text.
    pub fn wire_text(&self) -> String {
        self.wires().iter().map(|wire| String::from_utf8_lossy(wire).into_owned()).collect()
    }

    /// Waits until `n` requests have arrived.
    pub fn wait_for(&self, n: usize) {
        self.wait_until(&format!("{n} requests at the origin"), |log| log.seen.len() >= n);
    }

    fn wait_until(&self, what: &str, met: impl Fn(&Log) -> bool) {
        let log = self.shared.lock();
        let (log, _) = self
            .shared
            .moved
            .wait_timeout_while(log, DEADLINE, |log| !met(log))
            .unwrap_or_else(PoisonError::into_inner);
        assert!(met(&log), "never happened: {what}; there were {}", log.seen.len());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one connection until it ends.
    fn talk(&self, stream: TcpStream, connection: usize) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE * 3))?;
        let mut writer = stream.try_clone()?;
        let mut wire = Wire::new(Tap { stream: stream.try_clone()?, shared: self, connection });
        while let Some(head) = wire.head()? {
            let mut seen = parse(&head, connection);
            if !self.early {
                self.read_body(&mut wire, &mut seen);
            }
            let n = {
                let mut log = self.lock();
                seen.n = log.seen.len();
                log.seen.push(seen.clone());
                seen.n
            };
            self.moved.notify_all();
            let reply = (self.script)(&seen);
            if !self.play(reply, &mut writer, &mut wire)? {
                return Ok(());
            }
            if self.early {
                self.read_body(&mut wire, &mut seen);
                self.lock().seen[n] = seen.clone();
                self.moved.notify_all();
            }
            if seen.ended != Ended::Clean {
                return Ok(());
            }
        }
        Ok(())
    }

    fn read_body<R: Read>(&self, wire: &mut Wire<R>, seen: &mut Seen) {
        let framing = match framing_of(&seen.fields) {
            Framing::UntilClose => Framing::Length(0),
            other => other,
        };
        (seen.body, seen.ended) = wire.body(framing);
    }

    /// Runs the steps; false when the connection is over.
    fn play<R: Read>(
        &self,
        reply: Reply,
        writer: &mut TcpStream,
        wire: &mut Wire<R>,
    ) -> std::io::Result<bool> {
        for step in reply.steps {
            match step {
                Step::Send(bytes) => writer.write_all(&bytes)?,
                Step::Wait(gate) => gate.pass(),
                Step::Open(gate) => gate.open(),
                Step::Cut => {
                    writer.shutdown(Shutdown::Write)?;
                    wire.discard();
                    return Ok(false);
                }
                Step::Reset => {
                    socket2::SockRef::from(&*writer).set_linger(Some(Duration::ZERO))?;
                    return Ok(false);
                }
                Step::Hold => {
                    wire.discard();
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Copies what is read into the log.
struct Tap<'a> {
    stream: TcpStream,
    shared: &'a Shared,
    connection: usize,
}

impl Read for Tap<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.stream.read(into)?;
        self.shared.lock().wires[self.connection].extend_from_slice(&into[..n]);
        Ok(n)
    }
}

fn parse(head: &[u8], connection: usize) -> Seen {
    debug_assert!(head_end(head).is_none());
    let text = String::from_utf8_lossy(head).into_owned();
    let mut words = text.lines().next().unwrap_or("").split(' ').map(str::to_owned);
    Seen {
        n: 0,
        connection,
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        fields: fields_of(&text),
        head: text,
        body: Vec::new(),
        ended: Ended::Cut,
    }
}
