//! An open-loop load generator: requests at a fixed rate, whether or not answers keep up.
//!
//! ```text
//! pace PORT TARGET RATE SECONDS CONNECTIONS
//! ```
//! Every request has a time at which it is due, and its latency runs from then: one that must
//! wait for a free connection, or for the generator itself, is counted as late as it is
//! (no coordinated omission). It turns without sleeping, so it needs a core of its own; what
//! it sent is printed beside the quantiles, because at some rate that core is full. h2load
//! could pace a third of that.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use brink::base::clock::instant;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// One connection: when the request on it was due, and what has come of its answer.
struct Client {
    stream: TcpStream,
    due: Instant,
    got: Vec<u8>,
}

struct Plan {
    port: u16,
    target: String,
    rate: f64,
    seconds: f64,
    connections: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [port, target, rate, seconds, connections] = given.as_slice() else {
        return Err("usage: pace PORT TARGET RATE SECONDS CONNECTIONS".into());
    };
    let plan = Plan {
        port: port.parse()?,
        target: target.clone(),
        rate: rate.parse()?,
        seconds: seconds.parse()?,
        connections: connections.parse()?,
    };
    let (mut latencies, spent) = run(&plan)?;
    latencies.sort_unstable();
    let quantile = |q: f64| {
        let at = (latencies.len() as f64 * q) as usize;
        latencies.get(at.min(latencies.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    println!(
        "{{\"requests\": {}, \"rate\": {:.0}, \"p50_us\": {}, \"p99_us\": {}, \"p999_us\": {}}}",
        latencies.len(),
        latencies.len() as f64 / spent.as_secs_f64(),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999)
    );
    Ok(())
}

/// Sends everything and returns the latencies in microseconds, and how long it took.
fn run(plan: &Plan) -> Result<(Vec<u32>, Duration), Box<dyn Error>> {
    let request = format!("GET {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", plan.target, plan.port);
    let total = (plan.rate * plan.seconds) as u64;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let start = instant();
    let mut clients = Vec::new();
    for id in 0..plan.connections {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, plan.port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(id as u64);
        epoll::add(&poll, &stream, data, epoll::EventFlags::IN)?;
        clients.push(Client { stream, due: start, got: Vec::new() });
    }
    let mut free: VecDeque<usize> = (0..clients.len()).collect();
    let mut latencies = Vec::with_capacity(total as usize);
    let mut events = Vec::with_capacity(256);
    let (start, mut sent) = (instant(), 0u64);
    while (latencies.len() as u64) < total {
        let now = instant();
        if now.duration_since(start).as_secs_f64() > 2.0 * plan.seconds + 1.0 {
            break;
        }
        while sent < total && !free.is_empty() {
            let due = start + Duration::from_secs_f64(sent as f64 / plan.rate);
            if due > now {
                break;
            }
            let Some(id) = free.pop_front() else { break };
            clients[id].due = due;
            clients[id].stream.write_all(request.as_bytes())?;
            sent += 1;
        }
        events.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&poll, spare_capacity(&mut events), Some(&at_once))?;
        for event in &events {
            let id = event.data.u64() as usize;
            if clients[id].read()? {
                let latency = instant().duration_since(clients[id].due);
                latencies.push(latency.as_micros().min(u128::from(u32::MAX)) as u32);
                free.push_back(id);
            }
        }
    }
    Ok((latencies, start.elapsed()))
}

impl Client {
    /// Reads what is there; whether the answer is whole.
    fn read(&mut self) -> Result<bool, Box<dyn Error>> {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(n) => self.got.extend_from_slice(&bytes[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let Some(head) = self.got.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(false);
        };
        if !self.got.starts_with(b"HTTP/1.1 200") {
            return Err("an answer is not 200".into());
        }
        let length = content_length(&self.got[..head]).ok_or("an answer has no length")?;
        let whole = self.got.len() >= head + 4 + length;
        if whole {
            self.got.clear();
        }
        Ok(whole)
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(head).ok()?;
    let field = text.lines().filter_map(|line| line.split_once(':'));
    let mut found = field.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    found.next()?.1.trim().parse().ok()
}
