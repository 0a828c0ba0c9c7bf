//! Test bench: one key, one slot, a scripted origin and the verdicts in their order, as
//! the serve layer asks for them but without I/O. The sequences follow the public
//! conformance suite where it has them.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Version};

use crate::base::clock::{Clock, Now};
use crate::rules::asked::Asked;
use crate::rules::door::{self, Arrival};
use crate::rules::entry::{Entry, Extent, Slot};
use crate::rules::forward::{Announce, Hop, Purpose, forward};
use crate::rules::key::{Key, KeySeed, key_of};
use crate::rules::normalise::normalise;
use crate::rules::outcome::Outcome;
use crate::rules::plan::{Plan, Question, plan};
use crate::rules::range::{self, Wanted};
use crate::rules::respond::{self, Dress};
use crate::rules::respond_map;
use crate::rules::respond_text;
use crate::rules::settle::{AnswerHead, FillRequest, Settlement, Storable, rescue, settle};
use crate::rules::site::{Policy, Site};
use crate::rules::validate::{self, Validators, Verdict};
use crate::rules::{partial, variant};

/// A wall clock that the dates of tests are relative to: Sun, 09 Sep 2001 01:46:40 GMT.
pub const EPOCH: u64 = 1_000_000_000;

/// What the origin will answer.
#[derive(Clone)]
pub struct Script {
    pub status: u16,
    pub fields: HeaderMap,
    pub body: &'static str,
}

/// An origin answer with these fields; a value `@-5` of a field is a date relative to now.
pub fn script(status: u16, fields: &[(&str, &str)], body: &'static str) -> Script {
    Script { status, fields: map(fields), body }
}

/// A map of fields.
pub fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

/// What the client got.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub fields: HeaderMap,
    pub body: String,
    /// `hit`, `stale`, `miss`, `pass`, `validated`, `rescued`, `failed`, `refused`.
    pub how: &'static str,
    /// The request the origin saw.
    pub sent: Option<HeaderMap>,
}

impl Got {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn sent(&self, name: &str) -> Option<&str> {
        self.sent.as_ref()?.get(name).and_then(|value| value.to_str().ok())
    }
}

/// One key's worth of a node.
pub struct Bench {
    pub clock: Clock,
    pub policy: Policy,
    pub slot: Option<Slot>,
}

impl Bench {
    pub fn new() -> Self {
        Bench { clock: Clock::manual(EPOCH * 1000), policy: Policy::default(), slot: None }
    }

    /// A GET.
    pub fn get(&mut self, fields: &[(&str, &str)], script: Option<&Script>) -> Got {
        self.ask(Method::GET, fields, script)
    }

    /// One exchange; without a script the origin cannot be reached.
    pub fn ask(&mut self, method: Method, fields: &[(&str, &str)], script: Option<&Script>) -> Got {
        let now = self.clock.now();
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = map(fields);
        let host = HeaderValue::from_static("example.com");
        request.headers_mut().insert(header::HOST, host);
        let (mut parts, ()) = request.into_parts();
        let arrival =
            Arrival { scheme: crate::rules::asked::Scheme::Http, http2: false, cdn_id: "brink" };
        let asked = door::admit(&parts, &arrival).expect("the bench asks properly");
        normalise(&mut parts.headers, &self.policy);
        let policy = self.policy.clone();
        let question = Question {
            method: &parts.method,
            headers: &parts.headers,
            has_body: false,
            policy: &policy,
            now,
        };
        match plan(&question, self.slot.as_ref()) {
            Plan::Hit(entry) => deliver(&entry, &parts, now, "hit", None),
            Plan::StaleHit(entry) => deliver(&entry, &parts, now, "stale", None),
            Plan::Revalidate { entry, .. } => {
                let purpose = Purpose::Revalidate(&entry);
                self.fetch(&parts, &asked, purpose, Some(&entry), script)
            }
            Plan::Complete { entry } => {
                self.fetch(&parts, &asked, Purpose::Complete(&entry), Some(&entry), script)
            }
            Plan::Miss(_) => self.fetch(&parts, &asked, Purpose::Fill, None, script),
            Plan::MissRange(_) => {
                let range = parts.headers.get(header::RANGE).unwrap();
                let if_range = parts.headers.get(header::IF_RANGE);
                self.fetch(&parts, &asked, Purpose::FillRange { range, if_range }, None, script)
            }
            Plan::Pass(_) => self.fetch(&parts, &asked, Purpose::Pass, None, script),
            Plan::Refuse(fault) => failed("refused", fault.status().as_u16(), None),
        }
    }

    fn fetch(
        &mut self,
        parts: &http::request::Parts,
        asked: &Asked,
        purpose: Purpose<'_>,
        stored: Option<&Arc<Entry>>,
        script: Option<&Script>,
    ) -> Got {
        let now = self.clock.now();
        let hop = Hop {
            node: "brink",
            cdn_id: "brink",
            peer: [192, 0, 2, 1].into(),
            trusted: false,
            announce: Announce::XForwarded,
        };
        let sent = forward(parts, asked, &site(), purpose, &hop).headers;
        let Some(script) = script else {
            return match stored.filter(|entry| rescue(entry, now)) {
                Some(entry) => deliver(entry, parts, now, "rescued", Some(sent)),
                None => failed("failed", 502, Some(sent)),
            };
        };
        let answer = AnswerHead {
            status: StatusCode::from_u16(script.status).unwrap(),
            headers: &script.fields,
            requested_at: now,
            received_at: now,
        };
        let range = sent.get(header::RANGE).cloned();
        let ask = FillRequest {
            method: &parts.method,
            headers: &parts.headers,
            has_body: false,
            range: range.as_ref(),
        };
        let relayed = |how| relay(&answer, script, now, how, Some(sent.clone()));
        if let Purpose::Pass = purpose {
            return relayed("pass");
        }
        match settle(&ask, &answer, &self.policy, stored) {
            Settlement::Store(storable) => self
                .store(*storable, parts, asked, script, &sent)
                .unwrap_or_else(|| relayed("miss")),
            Settlement::Freshen(entry) => {
                self.keep(entry.clone());
                deliver(&entry, parts, now, "validated", Some(sent))
            }
            Settlement::Relay(_) => relayed("miss"),
            Settlement::Outdated(_) => {
                let old = stored.expect("something is out of date");
                old.soft_purged.store(true, std::sync::atomic::Ordering::Release);
                relayed("miss")
            }
            Settlement::Rescue(entry) => deliver(&entry, parts, now, "rescued", Some(sent)),
            Settlement::Refetch => self.fetch(parts, asked, Purpose::Fill, None, Some(script)),
            Settlement::Reject(fault) => failed("failed", fault.status().as_u16(), Some(sent)),
        }
    }

    /// Stores a complete answer; `None` if the client gets the origin's answer as it is.
    fn store(
        &mut self,
        storable: Storable,
        parts: &http::request::Parts,
        asked: &Asked,
        script: &Script,
        sent: &HeaderMap,
    ) -> Option<Got> {
        let mut body = storable.prefix.clone();
        let completed = !body.is_empty();
        if !script.body.is_empty() {
            body.push(Bytes::from_static(script.body.as_bytes()));
        }
        let Some(entry) = storable.into_entry(&key(asked), body, 0).map(Arc::new) else {
            return Some(failed("cut", script.status, Some(sent.clone())));
        };
        self.keep(entry.clone());
        let cut = parts.headers.contains_key(header::RANGE) && entry.extent == Extent::Whole;
        let ours = completed || cut || validate::is_conditional(&parts.headers);
        let now = self.clock.now();
        ours.then(|| deliver(&entry, parts, now, "miss", Some(sent.clone())))
    }

    /// Stores an entry as the memory tier does.
    pub fn keep(&mut self, entry: Arc<Entry>) {
        self.slot = Some(variant::join(self.slot.as_ref(), entry, self.policy.variants_max));
    }
}

fn deliver(
    entry: &Entry,
    parts: &http::request::Parts,
    now: Now,
    how: &'static str,
    sent: Option<HeaderMap>,
) -> Got {
    let (policy, via) = (Policy::default(), HeaderValue::from_static("1.1 brink"));
    let outcome = Outcome { hit: how == "hit", ..Outcome::default() };
    let dress = Dress { node: "brink", via: &via, policy: &policy, now, outcome: &outcome };
    let (held, total) = match entry.extent {
        Extent::Whole | Extent::Pieces { .. } => (0, Some(entry.content_len())),
        Extent::Part { first, total, .. } => (first, total),
    };
    let validators = Validators::of_head(&entry.head);
    let got = |(status, fields): (StatusCode, HeaderMap), skip: u64, length: u64| {
        let bytes: Vec<u8> = partial::slice(&entry.body, skip, length).concat();
        let (status, body) = (status.as_u16(), String::from_utf8(bytes).unwrap());
        Got { status, fields, body, how, sent: sent.clone() }
    };
    if entry.head.status.is_success() {
        match validate::evaluate(&parts.method, &parts.headers, &validators) {
            Verdict::Full => {}
            Verdict::NotModified => return got(respond::not_modified(entry, &dress), 0, 0),
            Verdict::PreconditionFailed => return failed(how, 412, sent),
        }
    }
    match range::wanted(&parts.method, &parts.headers, entry, total.unwrap_or(u64::MAX)) {
        Wanted::One(span) => {
            let head = respond::partial(entry, span, total, &dress);
            got(head, span.first - held, span.len())
        }
        Wanted::Unsatisfiable => got(respond::unsatisfiable(entry, total.unwrap(), &dress), 0, 0),
        Wanted::Many(_) | Wanted::Whole if parts.method == Method::HEAD => {
            got(whole(entry, &dress), 0, 0)
        }
        Wanted::Many(_) | Wanted::Whole => got(whole(entry, &dress), 0, entry.body_len()),
    }
}

/// The head of the whole, which must say the same as a map and as text.
fn whole(entry: &Entry, dress: &Dress<'_>) -> (StatusCode, HeaderMap) {
    let (status, fields) = respond::full(entry, dress);
    if let Some(head) = respond_map::full(entry, dress) {
        assert_eq!((head.status(), head.headers()), (status, &fields));
    } else {
        assert!(entry.extent != Extent::Whole || status.as_u16() == 204);
    }
    let mut text = b"before".to_vec();
    if !respond_text::full(entry, dress, &mut text) {
        assert_eq!(text, b"before");
        let named = status.canonical_reason().is_some();
        assert!(entry.extent != Extent::Whole || !named || status.as_u16() == 204);
        return (status, fields);
    }
    let text = text.strip_prefix(b"before").unwrap().strip_suffix(b"\r\n\r\n").unwrap();
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    let line = format!("HTTP/1.1 {} {}", status.as_str(), status.canonical_reason().unwrap());
    assert_eq!(lines.next().unwrap(), line.as_bytes());
    let mut read = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap();
        let name = HeaderName::from_bytes(&line[..colon]).unwrap();
        let value = line[colon + 1..].trim_ascii_start();
        read.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    assert_eq!(read, fields);
    (status, fields)
}

fn relay(
    answer: &AnswerHead<'_>,
    script: &Script,
    now: Now,
    how: &'static str,
    sent: Option<HeaderMap>,
) -> Got {
    let (policy, via) = (Policy::default(), HeaderValue::from_static("1.1 brink"));
    let outcome = Outcome::default();
    let dress = Dress { node: "brink", via: &via, policy: &policy, now, outcome: &outcome };
    let fields = respond::relay(answer, &dress);
    Got { status: script.status, fields, body: script.body.to_owned(), how, sent }
}

fn failed(how: &'static str, status: u16, sent: Option<HeaderMap>) -> Got {
    Got { status, fields: HeaderMap::new(), body: String::new(), how, sent }
}

fn key(asked: &Asked) -> Key {
    key_of(KeySeed(1), asked, &crate::rules::site::QueryKey::All)
}

/// A site without options.
pub fn site() -> Site {
    Site {
        name: "site".to_owned(),
        hosts: vec!["*".to_owned()],
        origin: "origin".to_owned(),
        host_header: None,
        redirect_https: None,
        rules: Vec::new(),
        policy: Policy::default(),
    }
}
