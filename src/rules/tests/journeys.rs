//! Sequences of exchanges on one key, as tables and scripts.

use std::time::Duration;

use http::Method;

use super::bench::{Bench, EPOCH, Got, Script, script};
use crate::rules::date;

/// A date this many seconds from the bench's start.
fn at(offset: i64) -> String {
    date::format(EPOCH.saturating_add_signed(offset))
}

fn ok(fields: &[(&str, &str)]) -> Script {
    script(200, fields, "body")
}

/// How the second of two equal requests, three seconds apart, is answered.
fn again(first: &Script) -> &'static str {
    let mut bench = Bench::new();
    bench.get(&[], Some(first));
    bench.clock.advance(Duration::from_secs(3));
    bench.get(&[], Some(&ok(&[]))).how
}

#[test]
fn freshness_follows_what_the_origin_states() {
    let (now, hour, past) = (&*at(0), &*at(3600), &*at(-7200));
    for (fields, wanted) in [
        (&[][..], "miss"),
        (&[("cache-control", "max-age=3600")], "hit"),
        (&[("cache-control", "max-age=2")], "miss"),
        (&[("cache-control", "max-age=99999999999")], "hit"),
        (&[("cache-control", "max-age=3600"), ("age", "7200")], "miss"),
        (&[("cache-control", "max-age=3600"), ("age", "0, 7200")], "hit"),
        (&[("cache-control", "max-age=3600"), ("age", "7200.0")], "hit"),
        (&[("cache-control", "max-age=3600"), ("age", "18446744073709551615")], "miss"),
        (&[("cache-control", "max-age=3600"), ("date", past)], "miss"),
        (&[("cache-control", "max-age=3600"), ("expires", past)], "hit"),
        (&[("cache-control", "max-age=0"), ("expires", hour)], "miss"),
        (&[("cache-control", "max-age=1, s-maxage=3600")], "hit"),
        (&[("cache-control", "max-age=3600, s-maxage=1")], "miss"),
        (&[("expires", hour), ("date", now)], "hit"),
        (&[("expires", hour), ("date", "foo")], "hit"),
        (&[("expires", "0")], "miss"),
        (&[("expires", hour), ("expires", hour)], "miss"),
        (&[("cdn-cache-control", "max-age=60"), ("cache-control", "no-store")], "hit"),
        (&[("cdn-cache-control", "max-age=1"), ("cache-control", "max-age=60")], "miss"),
        (&[("cdn-cache-control", "private"), ("cache-control", "max-age=60")], "miss"),
        (&[("cdn-cache-control", "max-age=\"9\""), ("cache-control", "no-store")], "miss"),
        (&[("cache-control", "max-age=60, no-store")], "miss"),
        (&[("cache-control", "max-age=60, no-store, must-understand")], "hit"),
        (&[("cache-control", "max-age=60"), ("set-cookie", "a=b")], "miss"),
        (&[("cache-control", "max-age=60"), ("set-cookie2", "a=b")], "miss"),
        (&[("cache-control", "max-age=60, no-cache=\"x\"")], "hit"),
        (&[("cache-control", "max-age=60, no-cache=\"x\""), ("x", "a")], "miss"),
        (&[("cache-control", "max-age=60"), ("vary", "*")], "miss"),
        (&[("last-modified", &*at(-86_400)), ("date", now)], "hit"),
        (&[("last-modified", &*at(-5)), ("date", now)], "validated-or-miss"),
    ] {
        let how = again(&ok(fields));
        match wanted {
            "validated-or-miss" => assert_ne!(how, "hit", "{fields:?}"),
            _ => assert_eq!(how, wanted, "{fields:?}"),
        }
    }
}

#[test]
fn statuses_are_stored_by_what_makes_them_cacheable() {
    let (now, old) = (&*at(0), &*at(-86_400));
    for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 503, 599] {
        let explicit = script(status, &[("cache-control", "max-age=60")], "");
        assert_eq!(again(&explicit), "hit", "{status}");
    }
    for (status, wanted) in [
        (203, "hit"),
        (204, "hit"),
        (404, "hit"),
        (405, "hit"),
        (410, "hit"),
        (414, "hit"),
        (501, "hit"),
        (201, "miss"),
        (202, "miss"),
        (403, "miss"),
        (502, "miss"),
        (599, "miss"),
    ] {
        let heuristic = script(status, &[("last-modified", old), ("date", now)], "");
        assert_eq!(again(&heuristic), wanted, "{status}");
    }
    let public = [("last-modified", old), ("date", now), ("cache-control", "public")];
    assert_eq!(again(&script(599, &public, "")), "hit");
    for status in [304, 407, 412, 416, 428, 429, 431, 511] {
        let never = script(status, &[("cache-control", "max-age=60")], "");
        assert_ne!(again(&never), "hit", "{status}");
    }
    let unknown = script(599, &[("cache-control", "max-age=60, no-store, must-understand")], "");
    assert_eq!(again(&unknown), "miss");
}

#[test]
fn answers_to_authorization_are_stored_only_if_allowed() {
    for (control, wanted) in [
        ("max-age=60", "miss"),
        ("max-age=60, public", "hit"),
        ("max-age=60, must-revalidate", "hit"),
        ("s-maxage=60", "hit"),
        ("max-age=60, max-age=30", "miss"),
    ] {
        let mut bench = Bench::new();
        let first = ok(&[("cache-control", control)]);
        bench.get(&[("authorization", "x")], Some(&first));
        assert_eq!(bench.get(&[], Some(&first)).how, wanted, "{control}");
    }
}

#[test]
fn stale_answers_are_served_only_as_far_as_allowed() {
    let outage = |control: &str| {
        let mut bench = Bench::new();
        bench.get(&[], Some(&ok(&[("cache-control", control)])));
        bench.clock.advance(Duration::from_secs(5));
        bench.get(&[], None).how
    };
    for (control, wanted) in [
        ("max-age=2", "rescued"),
        ("max-age=2, stale-if-error=60", "rescued"),
        ("max-age=2, stale-if-error=1", "failed"),
        ("max-age=2, must-revalidate", "failed"),
        ("max-age=2, proxy-revalidate", "failed"),
        ("max-age=2, no-cache", "failed"),
        ("max-age=2, s-maxage=2", "failed"),
        ("max-age=1, stale-while-revalidate=10", "stale"),
        ("max-age=1, stale-while-revalidate=2", "rescued"),
    ] {
        assert_eq!(outage(control), wanted, "{control}");
    }
    let mut bench = Bench::new();
    bench.get(&[], Some(&ok(&[("cache-control", "max-age=2")])));
    bench.clock.advance(Duration::from_secs(3));
    assert_eq!(bench.get(&[], Some(&script(503, &[], ""))).how, "rescued");
    assert_eq!(bench.get(&[], Some(&script(404, &[], ""))).status, 404);
}

#[test]
fn client_directives_are_obeyed() {
    let stored = ok(&[("cache-control", "max-age=1500"), ("age", "1000")]);
    for (fields, wanted) in [
        (&[("cache-control", "nothing-to-see-here")][..], "hit"),
        (&[("cache-control", "max-age=0")], "miss"),
        (&[("cache-control", "max-age=600")], "miss"),
        (&[("cache-control", "max-age=1200")], "hit"),
        (&[("cache-control", "min-fresh=1000")], "miss"),
        (&[("cache-control", "no-cache")], "miss"),
        (&[("cache-control", "no-store")], "pass"),
        (&[("pragma", "no-cache")], "miss"),
        (&[("pragma", "no-cache"), ("cache-control", "x")], "hit"),
        (&[("cache-control", "only-if-cached")], "hit"),
        (&[("cache-control", "only-if-cached, no-cache")], "refused"),
    ] {
        let mut bench = Bench::new();
        bench.get(&[], Some(&stored));
        assert_eq!(bench.get(fields, Some(&stored)).how, wanted, "{fields:?}");
    }
    let refused = Bench::new().get(&[("cache-control", "only-if-cached")], None);
    assert_eq!(refused.status, 504);
}

fn revalidated(first: &[(&str, &str)], second: &Script) -> (Got, Bench) {
    let mut bench = Bench::new();
    bench.get(&[], Some(&ok(first)));
    bench.clock.advance(Duration::from_secs(3));
    let got = bench.get(&[], Some(second));
    (got, bench)
}

#[test]
fn a_304_updates_what_is_stored() {
    let first = [("cache-control", "max-age=1"), ("etag", "\"a\""), ("x-keep", "1"), ("x-up", "1")];
    let fresh = [
        ("cache-control", "max-age=60"),
        ("etag", "\"a\""),
        ("x-up", "2"),
        ("x-new", "3"),
        ("content-length", "9"),
        ("set-cookie", "s=1"),
    ];
    let (got, mut bench) = revalidated(&first, &script(304, &fresh, ""));
    assert_eq!((got.how, got.status, &*got.body), ("validated", 200, "body"));
    assert_eq!(got.sent("if-none-match"), Some("\"a\""));
    let hit = bench.get(&[], None);
    assert_eq!((hit.how, hit.field("age")), ("hit", Some("0")));
    for (name, wanted) in [
        ("x-keep", Some("1")),
        ("x-up", Some("2")),
        ("x-new", Some("3")),
        ("content-length", Some("4")),
        ("set-cookie", None),
    ] {
        assert_eq!(hit.field(name), wanted, "{name}");
    }
}

#[test]
fn a_304_about_something_else_is_never_used() {
    let first = [("cache-control", "max-age=1"), ("etag", "\"a\"")];
    let (got, _) = revalidated(&first, &script(304, &[("etag", "\"b\"")], ""));
    assert_eq!((got.how, got.status), ("failed", 502));
    let unasked = Bench::new().get(&[("if-none-match", "\"b\"")], Some(&script(304, &[], "")));
    assert_eq!(unasked.status, 502);
    assert_eq!(unasked.sent("if-none-match"), None);
}

#[test]
fn a_304_that_takes_sharing_back_keeps_the_entry_from_being_used_alone() {
    let first = [("cache-control", "max-age=1"), ("etag", "\"a\"")];
    let private = script(304, &[("cache-control", "private, max-age=60"), ("x-me", "1")], "");
    let (got, mut bench) = revalidated(&first, &private);
    assert_eq!((got.status, got.field("x-me")), (200, None));
    assert_eq!(bench.get(&[], Some(&private)).how, "validated");
    assert_eq!(bench.get(&[], None).how, "failed");
}

#[test]
fn a_304_to_an_authorised_request_changes_nothing_for_others() {
    let mut bench = Bench::new();
    bench.get(&[], Some(&ok(&[("cache-control", "max-age=1"), ("etag", "\"a\"")])));
    bench.clock.advance(Duration::from_secs(3));
    let personal = script(304, &[("cache-control", "max-age=60"), ("x-me", "1")], "");
    let got = bench.get(&[("authorization", "x")], Some(&personal));
    assert_eq!((got.status, got.field("x-me")), (200, None));
    assert_eq!(bench.get(&[], Some(&personal)).how, "validated");
    assert_eq!(bench.get(&[], None).how, "hit");
}

#[test]
fn clients_conditions_are_answered_from_the_store() {
    let stored =
        ok(&[("cache-control", "max-age=60"), ("etag", "\"a\""), ("last-modified", &at(-9))]);
    let mut bench = Bench::new();
    bench.get(&[], Some(&stored));
    let got = bench.get(&[("if-none-match", "\"a\""), ("if-modified-since", &at(-99))], None);
    assert_eq!((got.status, got.field("etag"), &*got.body), (304, Some("\"a\""), ""));
    assert_eq!(bench.get(&[("if-none-match", "\"b\"")], None).status, 200);
    assert_eq!(bench.get(&[("if-match", "\"b\"")], None).status, 412);
    // A condition on a miss is ours to answer too, and never reaches the origin.
    let got = Bench::new().get(&[("if-none-match", "\"a\"")], Some(&stored));
    assert_eq!((got.status, got.sent("if-none-match")), (304, None));
}

#[test]
fn variants_are_kept_apart() {
    let varied = |body| script(200, &[("cache-control", "max-age=60"), ("vary", "foo")], body);
    let mut bench = Bench::new();
    bench.get(&[("foo", "1")], Some(&varied("one")));
    assert_eq!(bench.get(&[("foo", "2")], Some(&varied("two"))).how, "miss");
    assert_eq!(&*bench.get(&[("foo", "1")], None).body, "one");
    assert_eq!(&*bench.get(&[("foo", "2")], None).body, "two");
    assert_eq!(bench.get(&[], None).how, "failed");
}

#[test]
fn ranges_are_cut_from_a_stored_whole() {
    let mut bench = Bench::new();
    bench.get(&[], Some(&script(200, &[("cache-control", "max-age=60")], "0123456789A")));
    for (range, status, body) in [
        ("bytes=0-1", 206, "01"),
        ("bytes=1-", 206, "123456789A"),
        ("bytes=-1", 206, "A"),
        ("bytes=11-", 416, ""),
        ("bytes=x", 200, "0123456789A"),
    ] {
        let got = bench.get(&[("range", range)], None);
        assert_eq!((got.status, &*got.body), (status, body), "{range}");
    }
    let got = bench.get(&[("range", "bytes=0-1"), ("if-range", "\"a\"")], None);
    assert_eq!(got.status, 200);
}

#[test]
fn parts_are_stored_reused_and_completed() {
    let part = |range: &'static str, body| {
        let fields = [("cache-control", "max-age=60"), ("etag", "\"a\""), ("content-range", range)];
        script(206, &fields, body)
    };
    let mut bench = Bench::new();
    let got = bench.get(&[("range", "bytes=0-4")], Some(&part("bytes 0-4/10", "01234")));
    assert_eq!((got.status, got.sent("range")), (206, Some("bytes=0-4")));
    let got = bench.get(&[("range", "bytes=1-2")], None);
    assert_eq!(
        (got.how, &*got.body, got.field("content-range")),
        ("hit", "12", Some("bytes 1-2/10"))
    );
    assert_eq!(bench.get(&[("range", "bytes=-2")], None).how, "failed");
    let got = bench.get(&[], Some(&part("bytes 5-9/10", "56789")));
    assert_eq!((got.sent("range"), got.sent("if-range")), (Some("bytes=5-"), Some("\"a\"")));
    assert_eq!((got.status, &*got.body, got.field("content-range")), (200, "0123456789", None));
    assert_eq!(&*bench.get(&[], None).body, "0123456789");
}

#[test]
fn two_parts_join_in_the_slot_and_others_do_not() {
    let get = |bench: &mut Bench, asked: &str, said: &str, tag: &str, body| {
        let fields = [("cache-control", "max-age=60"), ("etag", tag), ("content-range", said)];
        bench.get(&[("range", asked)], Some(&script(206, &fields, body)));
    };
    let mut bench = Bench::new();
    get(&mut bench, "bytes=5-9", "bytes 5-9/10", "\"a\"", "56789");
    get(&mut bench, "bytes=0-4", "bytes 0-4/10", "\"a\"", "01234");
    let got = bench.get(&[], None);
    assert_eq!((got.how, got.status, &*got.body), ("hit", 200, "0123456789"));
    let mut bench = Bench::new();
    get(&mut bench, "bytes=5-9", "bytes 5-9/10", "W/\"a\"", "56789");
    get(&mut bench, "bytes=0-4", "bytes 0-4/10", "W/\"a\"", "01234");
    assert_eq!(bench.get(&[("range", "bytes=5-9")], None).how, "failed");
}

#[test]
fn a_garbled_206_is_passed_on_and_not_stored() {
    for (asked, range, length, stored) in [
        ("bytes=0-4", "bytes 0-4/10", "5", true),
        ("bytes=0-4", "bytes 0-5/10", "5", false),
        ("bytes=0-4", "bytes 4-0/10", "5", false),
        ("bytes=0-4", "bytes 0-4/4", "5", false),
        ("bytes=0-4", "items 0-4/10", "5", false),
        ("bytes=-5", "bytes 4-9/10", "5", true),
    ] {
        let fields =
            [("cache-control", "max-age=60"), ("content-range", range), ("content-length", length)];
        let mut bench = Bench::new();
        let got = bench.get(&[("range", asked)], Some(&script(206, &fields, "01234")));
        assert_eq!(got.status, 206);
        assert_eq!(bench.slot.is_some(), stored, "{asked} {range}");
    }
}

#[test]
fn a_body_of_another_length_is_not_stored() {
    let fields = [("cache-control", "max-age=60"), ("content-length", "9")];
    let mut bench = Bench::new();
    assert_eq!(bench.get(&[], Some(&script(200, &fields, "short"))).how, "cut");
    assert!(bench.slot.is_none());
}

#[test]
fn head_is_answered_from_get_and_freshens_it() {
    let mut bench = Bench::new();
    bench.get(&[], Some(&ok(&[("cache-control", "max-age=2"), ("t", "1")])));
    let got = bench.ask(Method::HEAD, &[], None);
    assert_eq!((got.how, got.field("content-length"), &*got.body), ("hit", Some("4"), ""));
    bench.clock.advance(Duration::from_secs(3));
    let fresh = script(200, &[("cache-control", "max-age=60"), ("t", "2")], "");
    assert_eq!(bench.ask(Method::HEAD, &[], Some(&fresh)).how, "validated");
    assert_eq!(bench.get(&[], None).field("t"), Some("2"));
    bench.clock.advance(Duration::from_secs(61));
    let other = script(200, &[("content-length", "5")], "");
    assert_eq!(bench.ask(Method::HEAD, &[], Some(&other)).how, "miss");
    assert_eq!(bench.ask(Method::HEAD, &[], Some(&other)).how, "miss");
}
