//! A new process takes over from an old one without a lost request.
//!
//! ```text
//! new                         old (answers on the socket file `node.handover`)
//!  |-- "brink 1" ------------->|
//!  |<-- listening sockets -----|  the same sockets, not new ones: what the kernel has
//!  |    configuration checked  |  queued on them is lost by nobody
//!  |-- "store" --------------->|  admin pauses, memory is emptied and kept empty, disk and
//!  |<-- "yours" ---------------|  ledger are closed: from here on only the new one purges
//!  |    opens the store, serves|
//!  |-- "serving" ------------->|  drains, as on SIGTERM, and ends
//!  |<-- "bye" -----------------|
//! ```
//! Whatever fails before "store" leaves the old process as it was. A process that fails
//! after it leaves the old one serving from the origin alone; it says so, because then
//! somebody must act. Rejected: SO_REUSEPORT of two processes (closing the old sockets
//! resets connections that were queued on them), and environment variables with numbers of
//! descriptors (turning a number into a socket is unsafe code).

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::front::ListenerOptions;

/// Longest wait for the other side: it may have a queue of writes to finish.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Listening sockets handed over at most.
const SOCKETS_MAX: usize = 4096;
/// Milliseconds that a stop waits for the thread, which may be talking to a process.
const END_TRIES: u32 = 100;
/// Name under which the admin listener is handed over; listeners are called otherwise.
const ADMIN: &str = "\0admin";

const HELLO: &[u8; 8] = b"brink 1\n";
const STORE: &[u8; 8] = b"store  \n";
const YOURS: &[u8; 8] = b"yours  \n";
const SERVING: &[u8; 8] = b"serving\n";
const BYE: &[u8; 8] = b"bye    \n";

/// What a new process got from the old one.
pub(super) struct Taken {
    stream: UnixStream,
    sockets: Vec<(String, OwnedFd)>,
}

impl Taken {
    /// Asks the process that answers at `path` for its sockets; `None` if nobody does.
    pub(super) fn ask(path: &Path) -> io::Result<Option<Taken>> {
        let mut stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => return Ok(None),
                _ => return Err(error),
            },
        };
        limit(&stream)?;
        stream.write_all(HELLO)?;
        let mut sockets = Vec::new();
        while let Some((name, socket)) = receive(&mut stream)? {
            if sockets.len() == SOCKETS_MAX {
                return Err(io::Error::other("too many sockets"));
            }
            sockets.push((name, socket));
        }
        Ok(Some(Taken { stream, sockets }))
    }

    /// The sockets that fit the listeners of the configuration, under their names there.
    /// The others are let go.
    pub(super) fn listeners(&mut self, wanted: &[ListenerOptions]) -> Vec<(Arc<str>, TcpListener)> {
        let (admin, rest) =
            std::mem::take(&mut self.sockets).into_iter().partition(|(name, _)| name == ADMIN);
        self.sockets = admin;
        let fits = |name: &str, bound: SocketAddr| {
            let same = |one: &&ListenerOptions| match one.address.port() {
                0 => &*one.name == name && one.address.ip() == bound.ip(),
                _ => one.address == bound,
            };
            wanted.iter().find(same).map(|one| Arc::clone(&one.name))
        };
        let sockets = rest.into_iter().map(|(name, socket)| (name, TcpListener::from(socket)));
        sockets
            .filter_map(|(name, socket)| Some((fits(&name, socket.local_addr().ok()?)?, socket)))
            .collect()
    }

    /// The socket of the admin listener, after [`Taken::listeners`].
    pub(super) fn admin(&mut self) -> Option<OwnedFd> {
        self.sockets.pop().map(|(_, socket)| socket)
    }

    /// Has the old process give up the disk tier, its purges and the admin API.
    pub(super) fn store(&mut self) -> io::Result<()> {
        self.stream.write_all(STORE)?;
        hear(&mut self.stream, YOURS)
    }

    /// Tells the old process that this one serves; it drains from now on.
    pub(super) fn serving(mut self) -> io::Result<()> {
        self.stream.write_all(SERVING)?;
        hear(&mut self.stream, BYE)
    }
}

/// What an old process lends to the thread that answers new ones.
pub(super) struct Lent {
    /// Listening sockets by listener name.
    pub(super) sockets: Vec<(Arc<str>, TcpListener)>,
    /// The admin listener's.
    pub(super) admin: Option<OwnedFd>,
    /// Gives up disk, purges, memory and admin API. Called once, may block.
    pub(super) give_up: Box<dyn FnMut() + Send>,
}

/// A process that can be taken over.
pub(super) struct Offer {
    path: PathBuf,
    gone: Arc<tokio::sync::Notify>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Offer {
    /// Answers at `path` from now on, in place of whoever did before.
    pub(super) fn start(path: &Path, lent: Lent) -> io::Result<Offer> {
        // Bound aside and moved there: at no moment is there nobody.
        let aside = path.with_extension(format!("{}", std::process::id()));
        let _ = std::fs::remove_file(&aside);
        let listener = UnixListener::bind(&aside)?;
        std::fs::set_permissions(&aside, PermissionsExt::from_mode(0o600))?;
        std::fs::rename(&aside, path)?;
        let (path, gone, over) = (path.to_owned(), Arc::default(), Arc::default());
        let mut offer = Offer { path, gone, over, thread: None };
        let (gone, over) = (offer.gone.clone(), offer.over.clone());
        let answer = move || {
            let mut lent = lent;
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                match stream.and_then(|stream| hand_over(stream, &mut lent)) {
                    Ok(true) => {
                        over.store(true, Ordering::SeqCst);
                        gone.notify_one();
                        return;
                    }
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "nothing was handed over"),
                }
            }
        };
        offer.thread = Some(std::thread::Builder::new().name("handover".into()).spawn(answer)?);
        Ok(offer)
    }

    /// Waits until a new process serves.
    pub(super) async fn handed_over(&self) {
        self.gone.notified().await;
    }
}

impl Drop for Offer {
    /// The socket file belongs to whoever answers on it.
    fn drop(&mut self) {
        if !self.over.swap(true, Ordering::SeqCst) {
            // Wakes the thread, which then ends and lets its copies of the sockets go.
            let _ = UnixStream::connect(&self.path);
            let _ = std::fs::remove_file(&self.path);
            let ended = || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            for _ in 0..END_TRIES {
                if ended() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Answers one process; true once it has taken over.
fn hand_over(mut stream: UnixStream, lent: &mut Lent) -> io::Result<bool> {
    limit(&stream)?;
    let other = rustix::net::sockopt::socket_peercred(&stream)?.uid;
    if other != rustix::process::geteuid() && !other.is_root() {
        return Err(io::Error::other("a process of another user asked"));
    }
    hear(&mut stream, HELLO)?;
    for (name, socket) in &lent.sockets {
        send(&mut stream, name, socket)?;
    }
    if let Some(admin) = &lent.admin {
        send(&mut stream, ADMIN, admin)?;
    }
    stream.write_all(&[0])?;
    hear(&mut stream, STORE)?;
    tracing::info!("a new process takes over: disk, purges and admin API are its own now");
    (lent.give_up)();
    let rest = stream
        .write_all(YOURS)
        .and_then(|()| hear(&mut stream, SERVING))
        .and_then(|()| stream.write_all(BYE));
    match rest {
        Ok(()) => Ok(true),
        Err(error) => {
            tracing::error!(
                %error,
                "the new process failed after it was given the store: this one serves on, \
                 without a cache and without admin API; start a new one"
            );
            Ok(false)
        }
    }
}

fn limit(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))
}

fn hear(stream: &mut UnixStream, expected: &[u8; 8]) -> io::Result<()> {
    let mut got = [0; 8];
    stream.read_exact(&mut got)?;
    match got == *expected {
        true => Ok(()),
        false => Err(io::Error::other("the other process speaks another version")),
    }
}

/// One socket with its name; waits for a byte, so that no two come in one message.
fn send(stream: &mut UnixStream, name: &str, socket: &impl AsFd) -> io::Result<()> {
    let mut frame = vec![u8::try_from(name.len()).map_err(io::Error::other)?];
    frame.extend_from_slice(name.as_bytes());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    sendmsg(&*stream, &[IoSlice::new(&frame)], &mut control, SendFlags::empty())?;
    stream.read_exact(&mut [0])
}

/// The next socket and its name; `None` after the last.
fn receive(stream: &mut UnixStream) -> io::Result<Option<(String, OwnedFd)>> {
    let mut frame = [0; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut frame)];
    let got = recvmsg(&*stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    let (len, name) = frame.split_first().unwrap_or((&0, &[]));
    match (got, socket) {
        (0, _) => Err(io::ErrorKind::UnexpectedEof.into()),
        (_, None) if *len == 0 => Ok(None),
        (_, Some(socket)) if got == usize::from(*len) + 1 => {
            let name = name.get(..usize::from(*len)).unwrap_or_default();
            let name = String::from_utf8_lossy(name).into_owned();
            stream.write_all(&[1])?;
            Ok(Some((name, socket)))
        }
        _ => Err(io::Error::other("the other process speaks another version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(name: &str, address: &str) -> ListenerOptions {
        let (name, address) = (name.into(), address.parse().unwrap());
        ListenerOptions { name, address, tls: false, proxy_protocol: Vec::new() }
    }

    #[test]
    fn sockets_pass_by_address_or_name_and_the_store_is_given_up_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handover");
        assert!(Taken::ask(&path).unwrap().is_none(), "nobody answers");
        let bound = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (one, two, admin) = (bound(), bound(), bound());
        let at = two.local_addr().unwrap();
        let given = Arc::new(AtomicBool::new(false));
        let seen = given.clone();
        let lent = Lent {
            sockets: vec![("a".into(), one), ("b".into(), two)],
            admin: Some(admin.into()),
            give_up: Box::new(move || assert!(!seen.swap(true, Ordering::SeqCst))),
        };
        let offer = Offer::start(&path, lent).unwrap();
        // One that goes away early changes nothing.
        drop(Taken::ask(&path).unwrap().unwrap());
        let mut taken = Taken::ask(&path).unwrap().unwrap();
        let wanted = [
            listener("a", "127.0.0.1:0"),
            listener("new", &at.to_string()),
            listener("c", "[::1]:1"),
        ];
        let names: Vec<_> = taken.listeners(&wanted).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a".into(), "new".into()] as [Arc<str>; 2]);
        assert!(taken.admin().is_some() && taken.admin().is_none());
        assert!(!given.load(Ordering::SeqCst));
        taken.store().unwrap();
        assert!(given.load(Ordering::SeqCst));
        taken.serving().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(offer.handed_over());
        drop(offer);
        assert!(path.exists(), "it is the new one's");
    }
}
