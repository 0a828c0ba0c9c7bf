//! The head of a whole stored response as a map, for HTTP/2.
//!
//! Says exactly what `respond::full` says (a property test holds them together) with as few
//! allocations as a map allows: it is made large enough once, no field goes in to be replaced,
//! stored values share the entry's block and those made anew share one buffer.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::control::DELTA_MAX;
use super::entry::{Entry, Extent};
use super::respond::{self, Dress};

/// The head; `None` if the entry is a part, or its status has no content.
pub fn full(entry: &Entry, dress: &Dress<'_>) -> Option<Response<()>> {
    let status = entry.head.status;
    if entry.extent != Extent::Whole || !respond::has_content(status) {
        return None;
    }
    let mut fields = HeaderMap::with_capacity(entry.head.lines().count() + ADDED);
    for (name, value) in entry.head.iter() {
        // Made anew below.
        if name != header::AGE && name != header::CONTENT_LENGTH {
            fields.append(name, value);
        }
    }
    let mut made = Made { text: String::with_capacity(MADE_ROOM), ends: [0; 3] };
    let age = entry.freshness.age_ms(dress.now) / 1000;
    made.number(0, age.min(u64::from(DELTA_MAX)));
    dress.outcome.write_cache_status(dress.node, &mut made.text);
    made.ends[1] = made.text.len();
    made.number(2, entry.body_len());
    let [age, cache_status, length] = made.values()?;
    fields.insert(header::AGE, age);
    fields.append(header::VIA, dress.via.clone());
    fields.append(&CACHE_STATUS, cache_status);
    if status == StatusCode::OK {
        fields.entry(header::ACCEPT_RANGES).or_insert(HeaderValue::from_static("bytes"));
    }
    fields.insert(header::CONTENT_LENGTH, length);
    let mut head = Response::new(());
    (*head.status_mut(), *head.headers_mut()) = (status, fields);
    Some(head)
}

/// Three values, one after the other.
struct Made {
    text: String,
    ends: [usize; 3],
}

impl Made {
    fn number(&mut self, place: usize, value: u64) {
        // Writing to a string cannot fail.
        let _ = self.text.write_str(itoa::Buffer::new().format(value));
        if let Some(end) = self.ends.get_mut(place) {
            *end = self.text.len();
        }
    }

    fn values(self) -> Option<[HeaderValue; 3]> {
        let text = Bytes::from(self.text);
        let [one, two, three] = self.ends;
        let value = |from, to| HeaderValue::from_maybe_shared(text.slice(from..to)).ok();
        Some([value(0, one)?, value(one, two)?, value(two, three)?])
    }
}

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Fields that are added to the stored ones.
const ADDED: usize = 5;

/// Bytes that the values made anew rarely exceed.
const MADE_ROOM: usize = 96;
