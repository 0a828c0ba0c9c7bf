//! An origin of one large object that counts the bytes it gives away.
//!
//! Every byte tells its own offset and version, so a byte in the wrong place or of the
//! wrong version is seen wherever it turns up.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Gate;

/// Bytes written at a time.
const STEP: u64 = 64 << 10;

/// How the object looks from outside.
#[derive(Clone)]
pub struct Look {
    /// Number of the version: it is in every byte.
    pub version: u8,
    /// Length in bytes.
    pub total: u64,
    /// Fields of every answer, each line with its end.
    pub fields: String,
    /// Whether `Range` is honoured.
    pub ranges: bool,
    /// Whether lengths are announced.
    pub lengths: bool,
}

impl Look {
    /// Version `version` of `total` bytes with a strong tag, fresh for an hour.
    pub fn tagged(version: u8, total: u64) -> Self {
        let fields = format!("ETag: \"v{version}\"\r\nCache-Control: max-age=3600\r\n");
        Look { version, total, fields, ranges: true, lengths: true }
    }
}

/// What one request wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Method.
    pub method: String,
    /// `Range` as sent.
    pub range: Option<String>,
    /// `If-Range` as sent.
    pub if_range: Option<String>,
    /// `If-None-Match` as sent.
    pub if_none_match: Option<String>,
}

struct Shared {
    look: Mutex<Look>,
    wishes: Mutex<Vec<Wish>>,
    sent: AtomicU64,
    /// Bodies stop here until the gate opens.
    pause_at: Mutex<Option<(u64, Gate)>>,
    /// Bodies break off here, once.
    cut_at: Mutex<Option<u64>>,
    down: AtomicBool,
}

/// The origin.
pub struct Film {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

/// The byte at `offset` of `version`.
pub fn byte(version: u8, offset: u64) -> u8 {
    (offset ^ (offset >> 8) ^ (offset >> 16)) as u8 ^ version.wrapping_mul(0x5d)
}

/// The bytes `first..=last` of `version`.
pub fn bytes(version: u8, first: u64, last: u64) -> Vec<u8> {
    (first..=last).map(|offset| byte(version, offset)).collect()
}

impl Film {
    /// Starts it.
    pub fn start(look: Look) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the origin");
        let addr = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            look: Mutex::new(look),
            wishes: Mutex::default(),
            sent: AtomicU64::new(0),
            pause_at: Mutex::new(None),
            cut_at: Mutex::new(None),
            down: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = accepting.clone();
                std::thread::spawn(move || shared.talk(stream));
            }
        });
        Film { addr, shared }
    }

    /// From now on it looks like this.
    pub fn become_(&self, look: Look) {
        *self.shared.look.lock().unwrap_or_else(PoisonError::into_inner) = look;
    }

    /// Body bytes written so far (the kernel may hold some of them).
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Every request so far.
    pub fn wishes(&self) -> Vec<Wish> {
        self.shared.wishes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The values of `Range` of all requests so far.
    pub fn ranges(&self) -> Vec<Option<String>> {
        self.wishes().into_iter().map(|wish| wish.range).collect()
    }

    /// Bodies stop at this offset until the gate that is returned opens.
    pub fn pause_at(&self, offset: u64) -> Gate {
        let gate = Gate::default();
        let pause = Some((offset, gate.clone()));
        *self.shared.pause_at.lock().unwrap_or_else(PoisonError::into_inner) = pause;
        gate
    }

    /// The next body that comes to this offset breaks off there.
    pub fn cut_at(&self, offset: u64) {
        *self.shared.cut_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(offset);
    }

    /// From now on every answer is a 503.
    pub fn go_down(&self) {
        self.shared.down.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn talk(&self, stream: TcpStream) -> Option<()> {
        let mut writer = stream.try_clone().ok()?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).ok()? == 0 {
                    return None;
                }
            }
            self.answer(&head, &mut writer)?;
        }
    }

    fn answer(&self, head: &str, writer: &mut TcpStream) -> Option<()> {
        let field = |wanted: &str| {
            let pairs = head.lines().filter_map(|line| line.split_once(':'));
            let mut found = pairs.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.next().map(|(_, value)| value.trim().to_owned())
        };
        let wish = Wish {
            method: head.split(' ').next().unwrap_or_default().to_owned(),
            range: field("range"),
            if_range: field("if-range"),
            if_none_match: field("if-none-match"),
        };
        self.wishes.lock().ok()?.push(wish.clone());
        let look = self.look.lock().ok()?.clone();
        if self.down.load(Ordering::SeqCst) {
            return writer.write_all(b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n").ok();
        }
        let tag = look.fields.lines().find_map(|line| line.strip_prefix("ETag: "));
        if tag.is_some() && wish.if_none_match.as_deref() == tag {
            let head = format!("HTTP/1.1 304 Not Modified\r\n{}\r\n", look.fields);
            return writer.write_all(head.as_bytes()).ok();
        }
        let modified = look.fields.lines().find_map(|line| line.strip_prefix("Last-Modified: "));
        let same = wish.if_range.is_none()
            || wish.if_range.as_deref() == tag
            || wish.if_range.as_deref() == modified;
        let span = wish.range.as_deref().filter(|_| look.ranges && same);
        let whole = (0, look.total - 1);
        let (first, last) = match span.map(|range| span_of(range, look.total)) {
            None => whole,
            Some(Some(span)) => span,
            Some(None) => {
                let head = format!(
                    "HTTP/1.1 416 No\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n\r\n",
                    look.total
                );
                return writer.write_all(head.as_bytes()).ok();
            }
        };
        let line = match span {
            None => "200 OK\r\n".to_owned(),
            Some(_) => format!(
                "206 Partial Content\r\nContent-Range: bytes {first}-{last}/{}\r\n",
                look.total
            ),
        };
        let length = match look.lengths {
            true => format!("Content-Length: {}\r\n", last + 1 - first),
            false => "Connection: close\r\n".to_owned(),
        };
        let head = format!("HTTP/1.1 {line}{length}{}\r\n", look.fields);
        writer.write_all(head.as_bytes()).ok()?;
        if wish.method == "HEAD" {
            return Some(());
        }
        self.body(&look, (first, last), writer)?;
        look.lengths.then_some(())
    }

    fn body(&self, look: &Look, (first, last): (u64, u64), writer: &mut TcpStream) -> Option<()> {
        let mut at = first;
        while at <= last {
            let pause = self.pause_at.lock().ok()?.clone();
            let cut = *self.cut_at.lock().ok()?;
            let mut end = last + 1;
            for stop in [pause.as_ref().map(|(stop, _)| *stop), cut].into_iter().flatten() {
                if stop > at {
                    end = end.min(stop);
                }
            }
            if let Some((_, gate)) = pause.filter(|(stop, _)| *stop == at) {
                gate.pass();
            }
            if cut == Some(at) {
                *self.cut_at.lock().ok()? = None;
                return None;
            }
            end = end.min(at + STEP);
            writer.write_all(&bytes(look.version, at, end - 1)).ok()?;
            self.sent.fetch_add(end - at, Ordering::SeqCst);
            at = end;
        }
        Some(())
    }
}

fn span_of(range: &str, total: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let length: u64 = last.parse().ok()?;
        return Some((total.saturating_sub(length), total - 1));
    }
    let first: u64 = first.parse().ok()?;
    let last = if last.is_empty() { total - 1 } else { last.parse().ok()? };
    (first < total).then_some((first, last.min(total - 1)))
}
