//! What must hold of every parser of the caching rules, whatever the bytes. Shared by the
//! fuzz targets and by the ordinary test that replays the corpus.

use brink::base::Now;
use brink::rules::asked::Scheme;
use brink::rules::control::{DELTA_MAX, RequestControl, ResponseControl};
use brink::rules::door::{self, Arrival};
use brink::rules::head::Head;
use brink::rules::key::{KeySeed, key_of};
use brink::rules::normalise::{form, normalise};
use brink::rules::range::{self, Spec, Wanted};
use brink::rules::settle::{AnswerHead, FillRequest};
use brink::rules::site::{Policy, QueryKey};
use brink::rules::storable::storable;
use brink::rules::validate::{self, Validators, Verdict};
use brink::rules::vary::{Varies, varies};
use brink::rules::{date, list, targeted};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

/// Every property by the name of its fuzz target and corpus directory.
pub const ALL: [(&str, fn(&[u8])); 9] = [
    ("control", control),
    ("targeted", structured),
    ("vary", vary),
    ("range", ranges),
    ("conditions", conditions),
    ("door", request),
    ("tags", tags),
    ("date", dates),
    ("head", head),
];

/// Several lines are one list; no span is above the limit.
pub fn control(input: &[u8]) {
    let Some(whole) = one(header::CACHE_CONTROL, input) else { return };
    let mut split = HeaderMap::new();
    for element in list::elements(input) {
        append(&mut split, header::CACHE_CONTROL, element);
    }
    let control = ResponseControl::of(&whole);
    assert!(control.max_age.unwrap_or(0) <= DELTA_MAX);
    if !split.is_empty() {
        assert_eq!(control, ResponseControl::of(&split));
        assert_eq!(RequestControl::of(&whole), RequestControl::of(&split));
    }
    append(&mut split, header::CACHE_CONTROL, b"no-store");
    assert!(ResponseControl::of(&split).no_store);
}

/// Space around a structured field means nothing; what is ignored changes nothing.
pub fn structured(input: &[u8]) {
    let parsed = targeted::parse(input);
    assert_eq!(parsed, targeted::parse(&[b" ", input, b" "].concat()));
    let Some(mut fields) = one(HeaderName::from_static("cdn-cache-control"), input) else { return };
    append(&mut fields, header::CACHE_CONTROL, b"no-store");
    let (control, place) = targeted::applicable(&fields, &Policy::default());
    assert_eq!(place.is_some(), parsed.is_some());
    assert_eq!(control, parsed.unwrap_or_else(|| ResponseControl::of(&fields)));
}

/// Normal forms are stable, folding twice is folding once, and a request matches itself.
pub fn vary(input: &[u8]) {
    let (names, value) = halves(input);
    let Some(answer) = one(header::VARY, names) else { return };
    let mut request = HeaderMap::new();
    for name in [header::ACCEPT_LANGUAGE, header::ACCEPT_ENCODING, HeaderName::from_static("foo")] {
        append(&mut request, name.clone(), value);
        if let Some(normal) = form(&name, &request) {
            let again = one(name.clone(), &normal).and_then(|fields| form(&name, &fields));
            assert_eq!(again.as_deref(), Some(&*normal));
        }
    }
    normalise(&mut request, &Policy::default());
    let folded = request.clone();
    normalise(&mut request, &Policy::default());
    assert_eq!(request, folded);
    if let Varies::On(vary) = varies(&answer, &request) {
        assert!(vary.matches(&request, None));
    }
}

/// Parse, print, parse is the identity; what is resolved lies inside and apart.
pub fn ranges(input: &[u8]) {
    let (total, text) = input.split_at(input.len().min(1));
    let total = u64::from(total.first().copied().unwrap_or(0));
    let Some(specs) = range::parse(text) else { return };
    let print = |spec: &Spec| match spec {
        Spec::Closed(first, last) => format!("{first}-{last}"),
        Spec::From(first) => format!("{first}-"),
        Spec::Suffix(length) => format!("-{length}"),
    };
    let printed = format!("bytes={}", specs.iter().map(print).collect::<Vec<_>>().join(","));
    assert_eq!(range::parse(printed.as_bytes()).as_ref(), Some(&specs));
    let spans = match range::resolve(&specs, total) {
        Wanted::One(span) => vec![span],
        Wanted::Many(spans) => spans,
        Wanted::Whole | Wanted::Unsatisfiable => Vec::new(),
    };
    assert!(spans.iter().all(|span| span.first <= span.last && span.last < total));
}

/// A valid stored tag among those of `If-None-Match` is found, and weak comparison does
/// not depend on the order.
pub fn conditions(input: &[u8]) {
    let (tag, value) = halves(input);
    assert_eq!(validate::weak_match(tag, value), validate::weak_match(value, tag));
    let Some(mut request) = one(header::IF_NONE_MATCH, value) else { return };
    append(&mut request, header::IF_MODIFIED_SINCE, value);
    let stored = Validators { etag: Some(tag), last_modified: Some(value), date: Some(tag) };
    validate::evaluate(&Method::GET, &request, &stored);
    if validate::opaque(tag).is_some() {
        let mut asked = HeaderMap::new();
        append(&mut asked, header::IF_NONE_MATCH, &[b"\"x\", ", tag].concat());
        let verdict = validate::evaluate(&Method::GET, &asked, &stored);
        assert!(asked.is_empty() || verdict == Verdict::NotModified);
    }
}

/// What the door lets in prints as an absolute target that it reads as the same request.
pub fn request(input: &[u8]) {
    let (target, host) = halves(input);
    let text = String::from_utf8_lossy(target).into_owned();
    let admit = |uri: &str, host: &[u8]| {
        let request = http::Request::builder().uri(uri).header(header::HOST, host).body(()).ok()?;
        let arrival = Arrival { scheme: Scheme::Http, http2: false, cdn_id: "brink" };
        door::admit(&request.into_parts().0, &arrival).ok()
    };
    let Some(asked) = admit(&text, host) else { return };
    let authority = format!("{}:{}", asked.host.as_str(), asked.port);
    let printed = format!("http://{authority}{}", asked.target);
    let again = admit(&printed, authority.as_bytes()).expect("canonical requests are let in");
    let key = |asked| key_of(KeySeed(1), asked, &QueryKey::All);
    assert_eq!(key(&asked), key(&again));
    assert_eq!(key(&asked).text(), printed.as_bytes());
}

/// Tags are sorted, unique, and free of their separators.
pub fn tags(input: &[u8]) {
    let mut answer = HeaderMap::new();
    append(&mut answer, header::CACHE_CONTROL, b"max-age=60");
    append(&mut answer, HeaderName::from_static("surrogate-key"), input);
    append(&mut answer, HeaderName::from_static("cache-tag"), input);
    let now = Now { mono_ms: 1, wall_ms: 1 };
    let request = HeaderMap::new();
    let ask = FillRequest { method: &Method::GET, headers: &request, has_body: false, range: None };
    let answer = AnswerHead {
        status: StatusCode::OK,
        headers: &answer,
        requested_at: now,
        received_at: now,
    };
    let Ok(stored) = storable(&ask, &answer, &Policy::default()) else {
        assert!(input.len() > 1024, "only the limits refuse it");
        return;
    };
    assert!(stored.tags().windows(2).all(|pair| pair[0] < pair[1]));
    assert!(stored.tags().iter().all(|tag| !tag.is_empty() && tag.trim_matches(' ') == &**tag));
}

/// Parse, print, parse is the identity.
pub fn dates(input: &[u8]) {
    if let Some(secs) = date::parse(input, 1_800_000_000) {
        assert_eq!(date::parse(date::format(secs).as_bytes(), 1_800_000_000), Some(secs));
    }
}

/// A block from outside is refused or behaves like a head.
pub fn head(input: &[u8]) {
    let block = bytes::Bytes::copy_from_slice(input);
    if let Some(head) = Head::from_block(StatusCode::OK, block) {
        let fields = head.to_map(0);
        let packed = Head::pack(StatusCode::OK, &fields, |_| true).expect("lengths fit");
        assert_eq!(packed.to_map(0), fields);
    }
}

fn one(name: HeaderName, value: &[u8]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    fields.insert(name, HeaderValue::from_bytes(value).ok()?);
    Some(fields)
}

fn append(fields: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value) {
        fields.append(name, value);
    }
}

/// The input before and after its first line break.
fn halves(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|&byte| byte == b'\n') {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, input),
    }
}
