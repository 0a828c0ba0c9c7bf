//! What decides where an HTTP/1 answer ends, and how large its head may be: the words that
//! all who read answers share.

/// What was asked, as far as it decides the framing of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// The request was HEAD.
    pub head: bool,
    /// The request asked for an upgrade, so a 101 is allowed.
    pub upgrade: bool,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// There is no body.
    None,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The end of the connection: a cut cannot be told from an end (RFC 9112 8).
    Close,
    /// HTTP/2 END_STREAM.
    Stream,
    /// The connection changed its protocol.
    Tunnel,
}

/// Largest head of an answer in bytes.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most field lines of an answer.
pub const FIELDS_MAX: usize = 200;
/// Most interim (1xx) answers before the final one.
pub const INTERIM_MAX: u32 = 8;
