//! Sticky sessions: a cookie that names the server a client belongs to.
//!
//! What the node writes is not the server's name, which is often an internal address, but
//! a short hash of it; a cookie of the application may hold the name itself. Both survive
//! a reload and are the same on every node. A server that is out or gone is no obstacle:
//! another one answers and the cookie is set anew.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, Request};

use super::Answer;
use super::options::{Balance, StickyOptions};
use super::outgoing::Outgoing;

/// The value of the cookie called `name`.
pub fn named<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let fields = headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(';')).find_map(|pair| {
        let (own, value) = pair.trim().split_once('=')?;
        (own == name).then(|| value.trim_matches('"'))
    })
}

/// Whether a cookie's value means the server called `name`.
pub fn is_for(value: &str, name: &str) -> bool {
    value == name || value == short(name)
}

fn short(name: &str) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(name.as_bytes()))
}

/// What a request said about its server, kept until the answer is there.
#[derive(Debug)]
pub struct Bound<'a> {
    options: &'a StickyOptions,
    value: Option<String>,
}

impl<'a> Bound<'a> {
    /// `None` unless the node sets the cookie.
    pub fn of(request: &Request<Outgoing>, balance: &'a Balance) -> Option<Self> {
        let Balance::Sticky(options) = balance else { return None };
        let value = || named(request.headers(), &options.cookie).map(str::to_owned);
        options.set.then(|| Bound { options, value: value() })
    }

    /// The `Set-Cookie` for the answer; `None` if the client has it already or the
    /// application sets a cookie of that name.
    pub fn cookie(&self, answer: &Answer) -> Option<String> {
        let StickyOptions { cookie, ttl, .. } = self.options;
        let kept = self.value.as_ref().is_some_and(|value| is_for(value, &answer.server));
        let same = |field: &http::HeaderValue| {
            let name = field.as_bytes().split(|byte| *byte == b'=').next();
            name.is_some_and(|name| name.trim_ascii() == cookie.as_bytes())
        };
        let own = answer.response.headers().get_all(SET_COOKIE).iter().any(same);
        if kept || own {
            return None;
        }
        let mut out = format!("{cookie}={}; Path=/; HttpOnly; SameSite=Lax", short(&answer.server));
        if let Some(ttl) = ttl {
            out.push_str(&format!("; Max-Age={}", ttl.as_secs()));
        }
        Some(out)
    }
}
