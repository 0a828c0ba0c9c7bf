//! The floor of the comparison: a bare epoll loop that answers fixed bytes.
//!
//! It looks at the target only to pick one of three ready-made answers (1 KiB, 64 KiB,
//! 10 MiB), parses nothing else, keeps no log, and never times out: what is left is the
//! kernel's cost of a request. No server that does its work can beat it by much.

use std::collections::HashMap;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

const LISTENER: u64 = u64::MAX;

/// One connection: what is left to write.
struct Client {
    stream: TcpStream,
    answer: usize,
    left: usize,
    queued: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("usage: floor PORT")?.parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let answers = [answer(1 << 10), answer(64 << 10), answer(10 << 20)];
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let readable = epoll::EventFlags::IN;
    epoll::add(&poll, &listener, epoll::EventData::new_u64(LISTENER), readable)?;
    let mut clients: HashMap<u64, Client> = HashMap::new();
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        match epoll::wait(&poll, spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue, // a tracer came or went
            waited => waited?,
        };
        for event in &events {
            let id = event.data.u64();
            if id == LISTENER {
                accept(&listener, &poll, &mut clients)?;
            } else if let Some(client) = clients.get_mut(&id)
                && !serve(client, &answers, &poll, id).unwrap_or(false)
            {
                clients.remove(&id);
            }
        }
    }
}

fn answer(size: usize) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nCache-Control: max-age=3600\r\n\
         Content-Type: application/octet-stream\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n"
    )
    .into_bytes();
    bytes.resize(bytes.len() + size, b'x');
    bytes
}

fn accept(
    listener: &TcpListener,
    poll: &OwnedFd,
    clients: &mut HashMap<u64, Client>,
) -> Result<(), Box<dyn Error>> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let id = stream.as_raw_fd() as u64;
        epoll::add(poll, &stream, epoll::EventData::new_u64(id), epoll::EventFlags::IN)?;
        clients.insert(id, Client { stream, answer: 0, left: 0, queued: 0 });
    }
    Ok(())
}

/// Reads what is there and writes what is owed; false when the client has gone.
fn serve(
    client: &mut Client,
    answers: &[Vec<u8>; 3],
    poll: &OwnedFd,
    id: u64,
) -> Result<bool, Box<dyn Error>> {
    let mut bytes = [0; 16 * 1024];
    if client.left == 0 {
        match client.stream.read(&mut bytes) {
            Ok(0) => return Ok(false),
            Ok(n) => {
                let request = &bytes[..n];
                client.queued = request.windows(4).filter(|four| four == b"\r\n\r\n").count();
                client.answer = match request.get(5..8) {
                    Some(b"64k") => 1,
                    Some(b"10m") => 2,
                    _ => 0,
                };
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
    let whole = &answers[client.answer];
    let was_blocked = client.left > 0;
    loop {
        if client.left == 0 {
            if client.queued == 0 {
                break;
            }
            client.queued -= 1;
            client.left = whole.len();
        }
        match client.stream.write(&whole[whole.len() - client.left..]) {
            Ok(n) => client.left -= n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    let is_blocked = client.left > 0;
    if is_blocked != was_blocked {
        let flags = if is_blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
        epoll::modify(poll, &client.stream, epoll::EventData::new_u64(id), flags)?;
    }
    Ok(true)
}
