//! A client that sends exactly the bytes it is given and reports exactly what came back.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::answer::{Answer, Framing, Wire, fields_of, framing_of};
use super::{DEADLINE, Ended};

/// The host that every site of the tests answers to.
pub const HOST: &str = "site.test";

/// A byte stream in both directions: TCP, or TLS over it.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One client connection.
pub struct Client {
    tcp: TcpStream,
    wire: Wire<Box<dyn Stream>>,
}

impl Client {
    /// Connects in the clear.
    pub fn connect(addr: SocketAddr) -> Self {
        let tcp = connect(addr);
        let stream = Box::new(tcp.try_clone().expect("a second handle"));
        Client { tcp, wire: Wire::new(stream) }
    }

    /// Over a stream made elsewhere; `tcp` is what is below it.
    pub fn over(tcp: TcpStream, stream: Box<dyn Stream>) -> Self {
        Client { tcp, wire: Wire::new(stream) }
    }

    /// Sends bytes as they are. A peer that has closed is not an error here: what it
    /// answered before is what the test looks at.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let stream = self.wire.inner();
        let _ = stream.write_all(bytes.as_ref()).and_then(|()| stream.flush());
        self
    }

    /// Ends the sending direction, as a client that half-closes does.
    pub fn finish(&mut self) -> &mut Self {
        let _ = self.tcp.shutdown(Shutdown::Write);
        self
    }

    /// Reads one answer to a request that is not HEAD.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.try_answer("GET").expect("an answer, not the end of the connection")
    }

    /// Reads one answer to a request with this method; `None` if the connection ended first.
    pub fn try_answer(&mut self, method: &str) -> Option<Answer> {
        let mut interim = Vec::new();
        loop {
            let head = self.wire.head().expect("an answer before the deadline")?;
            let head = String::from_utf8_lossy(&head).into_owned();
            let status: u16 = head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let fields = fields_of(&head);
            let bare = method == "HEAD" || matches!(status, 101 | 204 | 304);
            let framing = if bare { Framing::Length(0) } else { framing_of(&fields) };
            let (body, ended) = self.wire.body(framing);
            return Some(Answer { status, interim, head, fields, body, ended });
        }
    }

    /// Sends a request with extra header lines (each ended by `\r\n`) and reads its answer.
    #[track_caller]
    pub fn ask(&mut self, method: &str, target: &str, fields: &str) -> Answer {
        self.send(request(method, target, fields));
        self.try_answer(method).expect("an answer, not the end of the connection")
    }

    /// `GET` with extra header lines.
    #[track_caller]
    pub fn get_with(&mut self, target: &str, fields: &str) -> Answer {
        self.ask("GET", target, fields)
    }

    /// `GET`.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Answer {
        self.ask("GET", target, "")
    }

    /// Reads `n` bytes of what comes next, raw.
    pub fn take(&mut self, n: usize) -> (Vec<u8>, Ended) {
        self.wire.exactly(n)
    }

    /// Reads the head of the next answer only, as text.
    #[track_caller]
    pub fn head(&mut self) -> String {
        let head = self.wire.head().expect("a head before the deadline").expect("a head");
        String::from_utf8_lossy(&head).into_owned()
    }

    /// Everything until the node closes; panics if it does not.
    #[track_caller]
    pub fn drain(&mut self) -> Vec<u8> {
        while self.wire.fill().expect("the node closes before the deadline") {}
        self.wire.rest().to_vec()
    }

    /// Asserts that the node closes and says nothing more.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let rest = self.drain();
        assert!(rest.is_empty(), "unexpected: {}", String::from_utf8_lossy(&rest));
    }

    /// Leaves abruptly (RST).
    pub fn reset(self) {
        let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(std::time::Duration::ZERO));
    }
}

/// A request for [`HOST`] with extra header lines.
pub fn request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")
}

/// A TCP connection with the deadlines of the tests.
pub fn connect(addr: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(addr).expect("the node accepts");
    tcp.set_nodelay(true).expect("nodelay");
    tcp.set_read_timeout(Some(DEADLINE)).expect("a read deadline");
    tcp.set_write_timeout(Some(DEADLINE)).expect("a write deadline");
    tcp
}
