//! http-cache-semantics 3.0.0 as the other party: where it would not reuse an answer,
//! neither may we, and where it would, we must, except for the wanted differences. Each
//! of those is a predicate with its RFC section; a disagreement without one fails.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_cache_semantics::{CacheOptions, CachePolicy};
use proptest::prelude::*;

use super::bench::{Bench, EPOCH, Script, map};
use crate::rules::control::{RequestControl, ResponseControl};
use crate::rules::{date, lifetime, list};

/// One generated exchange: what the origin answers, and the request some seconds later.
#[derive(Clone, Debug)]
struct Case {
    status: u16,
    answer: Vec<(&'static str, String)>,
    first: Vec<(&'static str, String)>,
    second: Vec<(&'static str, String)>,
    later: u64,
}

impl Case {
    fn fields(pairs: &[(&'static str, String)]) -> HeaderMap {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (*n, v.as_str())).collect();
        map(&pairs)
    }

    /// Whether the node answers the second request without asking.
    fn ours(&self) -> bool {
        let mut bench = Bench::new();
        let fields = Case::fields(&self.answer);
        let script = Script { status: self.status, fields, body: "" };
        let first: Vec<(&str, &str)> = self.first.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let second: Vec<(&str, &str)> = self.second.iter().map(|(n, v)| (*n, v.as_str())).collect();
        bench.get(&first, Some(&script));
        bench.clock.advance(Duration::from_secs(self.later));
        bench.get(&second, Some(&script)).how == "hit"
    }

    /// Whether the oracle says so.
    fn theirs(&self) -> bool {
        let request = |fields: &[(&'static str, String)]| {
            let mut request = Request::new(());
            *request.headers_mut() = Case::fields(fields);
            request.headers_mut().insert(header::HOST, HeaderValue::from_static("example.com"));
            request
        };
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        *response.headers_mut() = Case::fields(&self.answer);
        let options = CacheOptions {
            shared: true,
            immutable_min_time_to_live: Duration::ZERO,
            ..CacheOptions::default()
        };
        let received = UNIX_EPOCH + Duration::from_secs(EPOCH);
        let policy = CachePolicy::new_options(&request(&self.first), &response, received, options);
        let later = received + Duration::from_secs(self.later);
        policy.is_storable()
            && policy.before_request(&request(&self.second), later).satisfies_without_revalidation()
    }

    /// The wanted difference that explains a disagreement, by number in the design notes
    /// on dependencies (section 6) and RFC section.
    fn wanted_difference(&self) -> Option<&'static str> {
        let answer = Case::fields(&self.answer);
        let control = ResponseControl::of(&answer);
        let asks = RequestControl::of(&Case::fields(&self.second));
        let names: Vec<Vec<u8>> = list::all(&answer, &header::CACHE_CONTROL)
            .map(|element| element.split(|&b| b == b'=').next().unwrap_or_default().to_vec())
            .collect();
        let upper = names.iter().any(|name| name.iter().any(u8::is_ascii_uppercase));
        let twice = (1..names.len()).any(|at| names[..at].contains(&names[at]));
        let understood = [200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501];
        let dated = answer.get(header::DATE).is_some();
        [
            (upper, "1: names without case, RFC 9111 5.2"),
            (asks.max_stale.is_some(), "2, 3: what forbids stale answers, RFC 9111 5.2.2"),
            (twice, "4: twice said is strictest, RFC 9111 4.2.1"),
            (
                answer.get_all(header::CACHE_CONTROL).iter().count() > 1,
                "6: all lines, RFC 9110 5.3",
            ),
            (
                answer.get_all(header::EXPIRES).iter().count() > 1,
                "6: two Expires are none, RFC 9111 4.2.1",
            ),
            (
                answer.get_all(header::VARY).iter().count() > 1,
                "6, 9: every line of Vary, RFC 9110 5.3",
            ),
            (
                answer.get_all(header::CACHE_CONTROL).iter().any(|v| v.as_bytes().contains(&b'"')),
                "14: quoted commas do not split, RFC 9110 5.6.4",
            ),
            (dated, "10: apparent age, RFC 9111 4.2.3"),
            (answer.contains_key(header::AGE), "11, 12: Age, RFC 9111 5.1"),
            (control.max_age == Some(0) || control.s_maxage == Some(0), "13: bad spans are zero"),
            (control.proxy_revalidate, "16: proxy-revalidate, RFC 9111 5.2.2.8"),
            (!control.withheld.is_empty(), "17: field names, RFC 9111 5.2.2.4"),
            (control.must_understand, "18: must-understand, RFC 9111 5.2.2.3"),
            (!understood.contains(&self.status), "19: any final status, RFC 9111 3"),
            (answer.contains_key(header::LAST_MODIFIED), "21: heuristic bound, RFC 9111 4.2.2"),
            (control.while_revalidate.is_some(), "35: RFC 5861"),
            (control.immutable, "20: immutable, RFC 8246 2"),
            (asks.no_store, "27: no-store requests pass, RFC 9111 5.2.1.5"),
            (asks.only_if_cached, "26: only-if-cached, RFC 9111 5.2.1.7"),
            (answer.contains_key(header::SET_COOKIE), "34: Set-Cookie is not stored"),
        ]
        .into_iter()
        .find_map(|(holds, why)| holds.then_some(why))
    }
}

fn control() -> impl Strategy<Value = String> {
    let directive = prop_oneof![
        (0u32..200).prop_map(|seconds| format!("max-age={seconds}")),
        (0u32..200).prop_map(|seconds| format!("s-maxage={seconds}")),
        prop::sample::select(vec![
            "public",
            "private",
            "no-store",
            "no-cache",
            "must-revalidate",
            "proxy-revalidate",
            "immutable",
            "must-understand",
            "No-Store",
            "PRIVATE",
            "no-cache=\"set-cookie\"",
            "ext=\"a, max-age=999\"",
            "stale-while-revalidate=50",
            "max-age",
            "foo",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(directive, 0..4).prop_map(|all| all.join(", "))
}

fn when(offset: i64) -> String {
    date::format(EPOCH.saturating_add_signed(offset))
}

fn answer() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let field = prop_oneof![
        4 => control().prop_map(|text| ("cache-control", text)),
        1 => (-100i64..200).prop_map(|at| ("expires", when(at))),
        1 => (-100i64..100).prop_map(|at| ("date", when(at))),
        1 => (0u32..200).prop_map(|age| ("age", age.to_string())),
        1 => Just(("etag", "\"a\"".to_owned())),
        1 => Just(("set-cookie", "a=b".to_owned())),
        1 => prop::sample::select(vec!["foo", "*", "foo, bar"])
            .prop_map(|names| ("vary", names.to_owned())),
        1 => (0u64..9000).prop_map(|ago| ("last-modified", date::format(EPOCH - ago))),
    ];
    prop::collection::vec(field, 0..5)
}

fn request() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let field = prop_oneof![
        Just(("authorization", "x".to_owned())),
        prop::sample::select(vec!["1", "2"]).prop_map(|value| ("foo", value.to_owned())),
        prop::sample::select(vec!["no-cache", "max-age=50", "min-fresh=50", "max-stale=50"])
            .prop_map(|value| ("cache-control", value.to_owned())),
    ];
    prop::collection::vec(field, 0..2)
}

fn case() -> impl Strategy<Value = Case> {
    let status = prop::sample::select(vec![200u16, 203, 204, 301, 302, 404, 410, 418, 500]);
    (status, answer(), request(), request(), 0u64..150).prop_map(
        |(status, answer, first, second, later)| Case { status, answer, first, second, later },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn the_oracle_agrees_but_for_the_wanted_differences(case in case()) {
        let (ours, theirs) = (case.ours(), case.theirs());
        if ours != theirs {
            prop_assert!(case.wanted_difference().is_some(), "ours {ours}, theirs {theirs}");
        }
    }

    /// These hold whatever the oracle says: promise P2.
    #[test]
    fn nothing_private_is_ever_reused(case in case()) {
        let answer = Case::fields(&case.answer);
        let control = ResponseControl::of(&answer);
        let secret = case.first.iter().any(|(name, _)| *name == "authorization")
            && !(control.public || control.must_revalidate || control.s_maxage.is_some());
        let cookie = answer.contains_key(header::SET_COOKIE);
        let kept = control.no_store && !control.must_understand;
        let star = list::all(&answer, &header::VARY).any(|name| name == b"*");
        if control.private || kept || control.no_cache || secret || cookie || star {
            prop_assert!(!case.ours());
        }
    }

    /// Age and lifetime never overflow, whatever dates and ages an origin invents.
    #[test]
    fn freshness_stands_any_number(
        age in ".{0,24}",
        seconds in any::<u64>(),
        clock in any::<u32>(),
    ) {
        let mut fields = map(&[("cache-control", &format!("max-age={seconds}"))]);
        if let Ok(age) = HeaderValue::from_str(&age) {
            fields.insert(header::AGE, age);
        }
        let now = crate::base::Now { mono_ms: u64::from(clock), wall_ms: u64::from(clock) * 1000 };
        let head = lifetime::AnswerHead {
            status: StatusCode::OK, headers: &fields, requested_at: now, received_at: now,
        };
        prop_assert!(head.initial_age_ms() <= (1 << 31) * 1000);
    }

    #[test]
    fn a_date_written_is_the_date_read(secs in 0u64..253_402_300_800) {
        prop_assert_eq!(date::parse(date::format(secs).as_bytes(), EPOCH), Some(secs));
    }

    /// What is packed comes back, field for field.
    #[test]
    fn a_head_packed_is_the_head_unpacked(
        fields in prop::collection::vec(("[a-z][a-z0-9-]{0,20}", "[ -~]{0,40}"), 0..20),
    ) {
        let pairs: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let packed = map(&pairs);
        let head = crate::rules::head::Head::pack(StatusCode::OK, &packed, |_| true).unwrap();
        prop_assert_eq!(head.to_map(0), packed);
    }

    /// Ranges always lie inside and never overlap.
    #[test]
    fn resolved_ranges_lie_inside(text in "bytes=[0-9, -]{0,40}", total in 0u64..50) {
        use crate::rules::range::{Wanted, parse, resolve};
        if let Some(specs) = parse(text.as_bytes()) {
            let spans = match resolve(&specs, total) {
                Wanted::One(span) => vec![span],
                Wanted::Many(spans) => spans,
                Wanted::Whole | Wanted::Unsatisfiable => vec![],
            };
            for (at, span) in spans.iter().enumerate() {
                prop_assert!(span.first <= span.last && span.last < total);
                let apart = |other: &crate::rules::range::Span| {
                    other.last + 1 < span.first || span.last + 1 < other.first
                };
                prop_assert!(spans[..at].iter().all(apart));
            }
        }
    }
}

#[test]
fn the_bench_and_the_oracle_speak_of_the_same_thing() {
    let case = Case {
        status: 200,
        answer: vec![("cache-control", "max-age=60".to_owned())],
        first: vec![],
        second: vec![],
        later: 59,
    };
    assert!(case.ours() && case.theirs());
    let late = Case { later: 60, ..case };
    assert!(!late.ours() && !late.theirs());
    assert_eq!(Method::GET, Request::new(()).method());
}
