//! The real program as a process of its own: started, asked, killed, started again.
//!
//! What cannot be seen from inside one process (SIGKILL, signals, limits of the system, two
//! processes on one store) is tested on the binary that cargo built for this run, or on the
//! one that `BRINK_BINARY` names. It listens on ports the system gives and says them on
//! standard error, which is read to its end so that the program never blocks on it.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::{Client, DEADLINE, Origin};

/// Whether the long mode was asked for.
pub fn long() -> bool {
    std::env::var_os("BRINK_LONG").is_some()
}

/// The program under test.
pub fn binary() -> PathBuf {
    std::env::var_os("BRINK_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_brink")), PathBuf::from)
}

/// A configuration before `origin`, on free ports, with an admin listener and its token in
/// `dir`; `more` are further sections.
pub fn config(dir: &Path, origin: &Origin, more: &str) -> String {
    format!(
        "[[listen]]\naddr = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n[admin]\n\
         addr = \"127.0.0.1:0\"\ntoken_file = {:?}\n[[origin]]\nname = \"app\"\n\
         servers = [\"http://{}\"]\n[[site]]\norigin = \"app\"\n{more}\n",
        dir.join("token"),
        origin.addr
    )
}

/// A running program.
pub struct Process {
    child: Child,
    said: Arc<Said>,
    plain: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    token: PathBuf,
}

/// What it has written on standard error.
#[derive(Default)]
struct Said {
    text: Mutex<(String, bool)>,
    more: Condvar,
}

impl Process {
    /// Starts `brink run` with `config`, written to `dir`, and waits until it is ready.
    pub fn start(dir: &Path, config: &str) -> Self {
        let process = Self::launch(dir, config, &[]);
        process.ready().unwrap_or_else(|said| panic!("it did not start: {said}"))
    }

    /// As [`Process::start`], under another program such as `prlimit`.
    pub fn start_under(wrapper: &[&str], dir: &Path, config: &str) -> Self {
        let process = Self::launch(dir, config, wrapper);
        process.ready().unwrap_or_else(|said| panic!("it did not start: {said}"))
    }

    /// Starts it without waiting.
    pub fn launch(dir: &Path, config: &str, wrapper: &[&str]) -> Self {
        let file = dir.join("node.toml");
        std::fs::write(&file, config).expect("the configuration's file");
        let mut words: Vec<std::ffi::OsString> = wrapper.iter().map(Into::into).collect();
        words.extend([binary().into(), "run".into(), "--config".into(), file.into()]);
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .env("NO_COLOR", "1")
            .env_remove("BRINK_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let said = Arc::new(Said::default());
        let (writing, pipe) = (Arc::clone(&said), child.stderr.take().expect("its stderr"));
        std::thread::spawn(move || writing.listen(BufReader::new(pipe)));
        Process { child, said, plain: None, admin: None, token: dir.join("token") }
    }

    /// Waits for the line `ready`; what it said instead if it ended before.
    pub fn ready(mut self) -> Result<Self, String> {
        let said = self.said.wait(|text| text.lines().any(|line| line == "ready"));
        if !said.lines().any(|line| line == "ready") {
            let _ = self.child.wait();
            return Err(said);
        }
        self.plain = address(&said, "name=http-1");
        self.admin = address(&said, "name=admin");
        Ok(self)
    }

    /// Everything said so far.
    pub fn said(&self) -> String {
        self.said.now()
    }

    /// Waits until it has said something.
    pub fn wait_said(&self, words: &str) {
        let said = self.said.wait(|text| text.contains(words));
        assert!(said.contains(words), "it never said {words:?}: {said}");
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it serves plain HTTP.
    pub fn addr(&self) -> SocketAddr {
        self.plain.expect("a plain listener")
    }

    /// A plain connection.
    pub fn client(&self) -> Client {
        Client::connect(self.addr())
    }

    /// A connection, unless nobody listens any more.
    pub fn try_client(addr: SocketAddr) -> Option<Client> {
        let tcp = TcpStream::connect(addr).ok()?;
        tcp.set_nodelay(true).ok()?;
        tcp.set_read_timeout(Some(DEADLINE)).ok()?;
        tcp.set_write_timeout(Some(DEADLINE)).ok()?;
        let stream = Box::new(tcp.try_clone().ok()?);
        Some(Client::over(tcp, stream))
    }

    /// One call of the admin API: status and body; `None` if the connection broke.
    pub fn try_admin(&self, method: &str, target: &str, body: &str) -> Option<(u16, String)> {
        let mut client = Self::try_client(self.admin.expect("an admin listener"))?;
        let token = std::fs::read_to_string(&self.token).unwrap_or_default();
        let token = token.split_whitespace().last().unwrap_or_default();
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ));
        let answer = client.try_answer(method)?;
        (answer.ended == super::Ended::Clean).then(|| (answer.status, answer.text()))
    }

    /// One call of the admin API that must be answered.
    #[track_caller]
    pub fn admin(&self, method: &str, target: &str, body: &str) -> (u16, String) {
        self.try_admin(method, target, body).expect("an answer of the admin API")
    }

    /// Runs another verb of the program against this one: whether it worked, and what it
    /// printed on both outputs.
    pub fn verb(&self, words: &[&str]) -> (bool, String) {
        let done = Command::new(binary())
            .args(words)
            .env("BRINK_ADMIN", self.admin_addr().to_string())
            .env("BRINK_ADMIN_TOKEN_FILE", &self.token)
            .output()
            .expect("the program runs");
        let text = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Where the admin API listens.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.expect("an admin listener")
    }

    /// Names of its open files, as the kernel lists them.
    pub fn open_files(&self) -> Vec<String> {
        let Ok(list) = std::fs::read_dir(format!("/proc/{}/fd", self.id())) else {
            return Vec::new();
        };
        let target = |entry: std::fs::DirEntry| std::fs::read_link(entry.path()).ok();
        let names = list.flatten().filter_map(target);
        names.map(|path| path.to_string_lossy().into_owned()).collect()
    }

    /// Sends a signal by name, as kill(1) does.
    pub fn signal(&self, name: &str) {
        let id = rustix::process::Pid::from_child(&self.child);
        let signal = match name {
            "HUP" => rustix::process::Signal::HUP,
            "TERM" => rustix::process::Signal::TERM,
            "STOP" => rustix::process::Signal::STOP,
            "CONT" => rustix::process::Signal::CONT,
            other => panic!("no such signal here: {other}"),
        };
        let _ = rustix::process::kill_process(id, signal);
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.wait().expect("its end")
    }

    /// Waits for the end, at most [`DEADLINE`].
    #[track_caller]
    pub fn ended(mut self) -> ExitStatus {
        super::eventually("the process ends", || !self.runs());
        self.child.wait().expect("its end")
    }
}

impl Drop for Process {
    /// Whatever a failed test leaves behind must not stay.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Said {
    fn listen(&self, mut pipe: impl BufRead) {
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            self.lock().0.push_str(&text);
            self.more.notify_all();
            line.clear();
        }
        self.lock().1 = true;
        self.more.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (String, bool)> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> String {
        self.lock().0.clone()
    }

    /// Waits until `met`, the end of the program, or the deadline.
    fn wait(&self, met: impl Fn(&str) -> bool) -> String {
        let waiting = |(text, over): &mut (String, bool)| !met(text) && !*over;
        let guard = self.lock();
        let waited = self.more.wait_timeout_while(guard, DEADLINE * 3, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0.0.clone()
    }
}

/// The address in the line of the listener called so.
fn address(said: &str, name: &str) -> Option<SocketAddr> {
    let line = said.lines().find(|line| line.split_whitespace().any(|word| word == name))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("address=")?.parse().ok())
}
