//! From a request to the head of an answer and the bytes of a file that follow it.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED, LOCATION, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, request};

use super::find::{self, Found};
use super::options::DirectoryOptions;
use super::{mime, path};
use crate::rules::validate::{self, Validators, Verdict};
use crate::rules::{date, list, range};

/// A head and what of which file follows.
#[derive(Debug)]
pub struct Reply {
    /// Status and fields.
    pub response: Response<()>,
    /// The file, if a body follows.
    pub file: Option<File>,
    /// Which bytes of it.
    pub span: Span,
}

/// Bytes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first.
    pub first: u64,
    /// How many.
    pub length: u64,
}

impl Reply {
    /// The whole body, if it is small enough to be read at once.
    pub fn read_small(&mut self) -> io::Result<Option<Bytes>> {
        match &self.file {
            Some(file) if self.span.length > 0 && self.span.length <= SMALL => {
                read_at(file, self.span.first, self.span.length as usize).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Finds the file and decides status, fields and span. Errors are the disk's.
pub fn build(
    root: &OwnedFd,
    options: &DirectoryOptions,
    asked: &request::Parts,
) -> io::Result<Reply> {
    if asked.method != Method::GET && asked.method != Method::HEAD {
        let mut reply = plain(StatusCode::METHOD_NOT_ALLOWED);
        set(reply.response.headers_mut(), ALLOW, "GET, HEAD");
        return Ok(reply);
    }
    let Some(inside) = path::inside(asked.uri.path()) else {
        return Ok(plain(StatusCode::NOT_FOUND));
    };
    if inside.directory {
        for name in &options.index {
            let slash = if inside.path.is_empty() { "" } else { "/" };
            let index = format!("{}{slash}{name}", inside.path);
            match find::open(root, &index, options.symlinks)? {
                Found::File(file, about) => {
                    return whole(root, options, asked, &index, file, about);
                }
                Found::Forbidden => return Ok(plain(StatusCode::FORBIDDEN)),
                Found::Directory | Found::Nothing => {}
            }
        }
        return Ok(plain(StatusCode::NOT_FOUND));
    }
    match find::open(root, &inside.path, options.symlinks)? {
        Found::File(file, about) => whole(root, options, asked, &inside.path, file, about),
        Found::Directory => {
            let mut reply = plain(StatusCode::MOVED_PERMANENTLY);
            let place = path::with_slash(asked.uri.path(), asked.uri.query());
            set(reply.response.headers_mut(), LOCATION, &place);
            Ok(reply)
        }
        Found::Nothing => Ok(plain(StatusCode::NOT_FOUND)),
        Found::Forbidden => Ok(plain(StatusCode::FORBIDDEN)),
    }
}

/// The answer with a file: variant, validators, preconditions, range.
fn whole(
    root: &OwnedFd,
    options: &DirectoryOptions,
    asked: &request::Parts,
    name: &str,
    file: File,
    about: Metadata,
) -> io::Result<Reply> {
    let (media, text) = mime::of(name);
    let mut response = Response::new(());
    let fields = response.headers_mut();
    let (file, about) = if options.precompressed && text {
        sibling(root, options, asked, name, (file, about), fields)?
    } else {
        (file, about)
    };
    set(fields, CONTENT_TYPE, media);
    set(fields, ACCEPT_RANGES, "bytes");
    set(fields, ETAG, &tag(&about));
    if let Ok(seconds) = u64::try_from(about.mtime()) {
        set(fields, LAST_MODIFIED, &date::format(seconds));
    }
    if let Some(value) = &options.cache_control {
        set(fields, CACHE_CONTROL, value);
    }
    match validate::evaluate(&asked.method, &asked.headers, &Validators::of_fields(fields)) {
        Verdict::Full => {}
        Verdict::NotModified => {
            fields.remove(CONTENT_TYPE);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(Reply { response, file: None, span: Span::default() });
        }
        Verdict::PreconditionFailed => return Ok(plain(StatusCode::PRECONDITION_FAILED)),
    }
    let total = about.len();
    let mut span = Span { first: 0, length: total };
    match wanted(asked, fields, total) {
        range::Wanted::One(part) => {
            span = Span { first: part.first, length: part.len() };
            let shown = format!("bytes {}-{}/{total}", part.first, part.last);
            set(fields, CONTENT_RANGE, &shown);
            set(fields, CONTENT_LENGTH, &span.length.to_string());
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        range::Wanted::Unsatisfiable => {
            let mut reply = plain(StatusCode::RANGE_NOT_SATISFIABLE);
            set(reply.response.headers_mut(), CONTENT_RANGE, &format!("bytes */{total}"));
            return Ok(reply);
        }
        // RFC 9110 14.2: a server may answer with the whole; several parts are the
        // cache's work, which has the whole then.
        range::Wanted::Whole | range::Wanted::Many(_) => {
            set(fields, CONTENT_LENGTH, &total.to_string());
        }
    }
    let file = (asked.method == Method::GET && span.length > 0).then_some(file);
    Ok(Reply { response, file, span })
}

/// What a `Range` asks for, if `If-Range` holds (RFC 9110 13.1.5).
fn wanted(asked: &request::Parts, fields: &HeaderMap, total: u64) -> range::Wanted {
    let holds = match asked.headers.get(IF_RANGE).map(|value| value.as_bytes().trim_ascii()) {
        None => true,
        Some(condition) if condition.starts_with(b"\"") => {
            fields.get(ETAG).is_some_and(|tag| tag.as_bytes() == condition)
        }
        // A weak tag never holds, and a date is too coarse for a file.
        Some(_) => false,
    };
    match range::asked(&asked.method, &asked.headers) {
        Some(specs) if holds => range::resolve(&specs, total),
        _ => range::Wanted::Whole,
    }
}

type Opened = (File, Metadata);

/// The best encoded sibling the client takes. `Vary` goes on every variant once there is
/// one, also on the plain file (RFC 9110 12.5.5).
fn sibling(
    root: &OwnedFd,
    options: &DirectoryOptions,
    asked: &request::Parts,
    name: &str,
    plain: Opened,
    fields: &mut HeaderMap,
) -> io::Result<Opened> {
    let mut best: Option<(&'static str, Opened)> = None;
    for (coding, extension) in [("br", "br"), ("zstd", "zst"), ("gzip", "gz")] {
        let found = find::open(root, &format!("{name}.{extension}"), options.symlinks)?;
        if let Found::File(file, about) = found {
            set(fields, VARY, "accept-encoding");
            if best.is_none() && takes(&asked.headers, coding) {
                best = Some((coding, (file, about)));
            }
        }
    }
    Ok(match best {
        Some((coding, opened)) => {
            set(fields, CONTENT_ENCODING, coding);
            opened
        }
        None => plain,
    })
}

/// Whether `Accept-Encoding` names `coding` (or `*`) with a weight above zero.
fn takes(headers: &HeaderMap, coding: &str) -> bool {
    let mut any = false;
    for element in list::all(headers, &ACCEPT_ENCODING) {
        let Ok(element) = std::str::from_utf8(element) else { continue };
        let (name, parameters) = element.split_once(';').unwrap_or((element, ""));
        let weight = parameters.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        let wanted = weight.is_ok_and(|weight| weight > 0.0);
        match name.trim() {
            "*" => any = wanted,
            name if name.eq_ignore_ascii_case(coding) => return wanted,
            _ => {}
        }
    }
    any
}

/// Strong: inode, length and the time of change to the nanosecond (a file replaced by
/// rename gets another inode).
fn tag(about: &Metadata) -> String {
    let changed = (about.mtime() as u64).wrapping_mul(1_000_000_000);
    let changed = changed.wrapping_add(about.mtime_nsec() as u64);
    format!("\"{:x}-{:x}-{:x}\"", about.ino(), about.len(), changed)
}

/// A status without a file behind it.
fn plain(status: StatusCode) -> Reply {
    let mut response = Response::new(());
    *response.status_mut() = status;
    set(response.headers_mut(), CONTENT_LENGTH, "0");
    Reply { response, file: None, span: Span::default() }
}

/// Sets a field whose value we made; one that cannot be a value is left out.
fn set(fields: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        fields.insert(name, value);
    }
}

/// Bodies up to this size are read in the same hop as the head.
const SMALL: u64 = 64 << 10;

/// Reads exactly `length` bytes; a file that has become shorter is an error.
pub(super) fn read_at(file: &File, at: u64, length: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, at)?;
    Ok(Bytes::from(buffer))
}
