//! A directory as an origin: a small site needs no other web server.
//!
//! ```text
//! target --path--> names --find (openat2 beneath the root)--> file
//!        --reply--> status, fields, span --stream--> body
//! ```
//! The kernel keeps requests inside the root: every open is `openat2` with
//! `RESOLVE_BENEATH`, so neither `..` nor a link nor a rename in between leads out.
//! Checking a canonicalised path first was rejected: it races. Files are read on the
//! blocking pool, never on the network thread. There are no listings and no scripts.

mod find;
mod mime;
pub mod options;
mod path;
mod reply;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::mpsc;

use super::Answer;
use super::body::OriginBody;
use super::fault::OriginFault;
use super::outgoing::Outgoing;
use options::DirectoryOptions;
use reply::{Reply, read_at};

/// An open directory.
#[derive(Clone, Debug)]
pub struct Directory {
    shared: Arc<Shared>,
    server: Arc<str>,
}

#[derive(Debug)]
struct Shared {
    root: OwnedFd,
    options: DirectoryOptions,
}

impl Directory {
    /// Opens the root. The error is for the operator.
    pub fn open(options: DirectoryOptions) -> Result<Self, String> {
        let shown = options.root.display().to_string();
        let root = find::open_root(&options.root)
            .map_err(|error| format!("expected a readable directory, got {shown:?}: {error}"))?;
        if let Some(value) = &options.cache_control {
            http::HeaderValue::from_str(value)
                .map_err(|_| format!("expected a value of Cache-Control, got {value:?}"))?;
        }
        Ok(Directory { shared: Arc::new(Shared { root, options }), server: Arc::from(shown) })
    }

    /// Where it is.
    pub fn root(&self) -> String {
        self.server.to_string()
    }

    /// Answers one request. A request body is not read.
    pub async fn send(&self, request: Request<Outgoing>) -> Result<Answer, OriginFault> {
        let shared = self.shared.clone();
        let (parts, _) = request.into_parts();
        let prepared = tokio::task::spawn_blocking(move || {
            let mut reply = reply::build(&shared.root, &shared.options, &parts)?;
            let first = reply.read_small();
            first.map(|first| (reply, first))
        })
        .await
        .map_err(|_| OriginFault::Files("reading a file failed inside the node"))?;
        let (reply, first) = prepared.map_err(trouble)?;
        let response = deliver(reply, first);
        Ok(Answer { response, server: self.server.clone(), stick: None, early: false })
    }
}

/// Gives a reply its body: in hand if small, else read piece by piece as it is taken.
fn deliver(reply: Reply, first: Option<Bytes>) -> Response<OriginBody> {
    let Reply { response, file, span } = reply;
    let body = match (first, file) {
        (Some(bytes), _) => OriginBody::full(bytes),
        (None, Some(file)) if span.length > 0 => {
            let (tx, rx) = mpsc::channel(PIECES_AHEAD);
            tokio::task::spawn_blocking(move || read_pieces(&file, span, &tx));
            OriginBody::files(rx, span.length)
        }
        (None, _) => OriginBody::empty(),
    };
    response.map(|()| body)
}

/// Reads `span` and sends it; stops when nobody takes it any more. A file that shrank
/// meanwhile ends as an error.
fn read_pieces(file: &File, span: reply::Span, tx: &mpsc::Sender<Result<Bytes, OriginFault>>) {
    let mut at = span.first;
    let end = span.first + span.length;
    while at < end {
        let want = (end - at).min(PIECE as u64) as usize;
        let piece = match read_at(file, at, want) {
            Ok(piece) => Ok(piece),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(OriginFault::Truncated)
            }
            Err(error) => Err(trouble(error)),
        };
        let failed = piece.is_err();
        if tx.blocking_send(piece).is_err() || failed {
            return;
        }
        at += want as u64;
    }
}

fn trouble(error: io::Error) -> OriginFault {
    tracing::warn!(%error, "directory origin");
    OriginFault::Files("a file of the origin cannot be read")
}

/// Bytes read at once.
const PIECE: usize = 256 << 10;
/// Pieces read ahead of the one that is being taken.
const PIECES_AHEAD: usize = 2;
