//! What a scripted origin does with one request: bytes, waits, and ways to die.

use super::Gate;

/// One thing the origin does on a connection.
#[derive(Clone)]
pub enum Step {
    /// Writes bytes as they are.
    Send(Vec<u8>),
    /// Waits at a gate.
    Wait(Gate),
    /// Opens a gate, to tell the test that it got here.
    Open(Gate),
    /// Closes the connection in good order (FIN).
    Cut,
    /// Breaks the connection (RST).
    Reset,
    /// Says nothing more and keeps the connection until the other side leaves.
    Hold,
}

/// The steps for one request; after the last the origin reads the next request.
#[derive(Clone, Default)]
pub struct Reply {
    /// In order.
    pub steps: Vec<Step>,
}

/// Exactly these bytes.
pub fn reply(bytes: impl AsRef<[u8]>) -> Reply {
    Reply::default().send(bytes)
}

/// `200 OK` with these header lines (each ended by `\r\n`) and a `Content-Length`.
pub fn ok(fields: &str, body: impl AsRef<[u8]>) -> Reply {
    status("200 OK", fields, body)
}

/// The given status with these header lines and a `Content-Length`.
pub fn status(line: &str, fields: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {line}\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    reply(head).send(body)
}

/// `200 OK` with `Cache-Control: max-age=<seconds>`.
pub fn fresh(seconds: u32, body: impl AsRef<[u8]>) -> Reply {
    ok(&format!("Cache-Control: max-age={seconds}\r\n"), body)
}

impl Reply {
    /// Writes more bytes.
    pub fn send(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Send(bytes.as_ref().to_vec()));
        self
    }

    /// Waits at `gate` before going on.
    pub fn wait(mut self, gate: &Gate) -> Self {
        self.steps.push(Step::Wait(gate.clone()));
        self
    }

    /// Opens `gate` when it gets here.
    pub fn open(mut self, gate: &Gate) -> Self {
        self.steps.push(Step::Open(gate.clone()));
        self
    }

    /// Then closes in good order.
    pub fn cut(mut self) -> Self {
        self.steps.push(Step::Cut);
        self
    }

    /// Then breaks the connection.
    pub fn reset(mut self) -> Self {
        self.steps.push(Step::Reset);
        self
    }

    /// Then goes silent.
    pub fn hold(mut self) -> Self {
        self.steps.push(Step::Hold);
        self
    }
}
