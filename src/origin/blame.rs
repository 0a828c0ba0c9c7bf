//! Turns errors of hyper into faults of ours: whose fault was it, and what was it?

use std::error::Error;
use std::io;

use super::fault::OriginFault;
use super::guard::Refused;

/// Why no head came.
pub fn head_fault(error: &hyper::Error, client_failed: bool) -> OriginFault {
    tracing::debug!(error = %Chain(error), "origin exchange");
    if let Some(Refused(reason)) = find::<Refused>(error) {
        return OriginFault::Odd(reason);
    }
    if client_failed || error.is_user() {
        return OriginFault::ClientBody;
    }
    if error.is_parse_too_large() {
        return OriginFault::Odd("the head of the answer is too large");
    }
    if error.is_parse() {
        return OriginFault::Odd("not a valid HTTP answer");
    }
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            OriginFault::Broken("the origin reset the connection")
        }
        _ => OriginFault::Broken("the origin closed the connection without an answer"),
    }
}

/// Why a body ended before its framing did.
pub fn body_fault(error: &hyper::Error) -> OriginFault {
    tracing::debug!(error = %Chain(error), "origin body");
    match find::<Refused>(error) {
        Some(Refused(reason)) => OriginFault::Odd(reason),
        None => OriginFault::Truncated,
    }
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // An io::Error hides what it carries from `source`.
        if let Some(found) = error
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref())
            .and_then(|inner| inner.downcast_ref::<T>())
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Writes an error with its causes.
struct Chain<'a>(&'a (dyn Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}
