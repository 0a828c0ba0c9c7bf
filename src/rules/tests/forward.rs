//! What reaches the origin of what a client sent.

use std::net::IpAddr;

use http::Method;
use http::header::{HeaderMap, HeaderName};
use http::uri::PathAndQuery;

use super::bench::{map, site};
use crate::rules::asked::{Asked, Host, Scheme};
use crate::rules::forward::{Announce, Hop, Purpose, forward, wants_upgrade};

fn sent(fields: &[(&str, &str)], purpose: Purpose<'_>, hop: &Hop<'_>) -> HeaderMap {
    let asked = Asked {
        method: Method::GET,
        scheme: Scheme::Https,
        host: Host::from_valid("a.example"),
        port: 8443,
        target: PathAndQuery::from_static("/x?y"),
    };
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.headers = map(fields);
    let out = forward(&parts, &asked, &site(), purpose, hop);
    assert_eq!(out.uri, "/x?y");
    out.headers
}

fn hop(trusted: bool, announce: Announce) -> Hop<'static> {
    let peer = IpAddr::from([192, 0, 2, 7]);
    Hop { node: "brink", cdn_id: "brink-1", peer, trusted, announce }
}

fn lines(fields: &HeaderMap, name: &str) -> Vec<String> {
    let all = fields.get_all(name).into_iter();
    all.map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn what_belongs_to_the_connection_or_could_be_reflected_is_dropped() {
    let client = [
        ("host", "evil"),
        ("connection", "x-drop, host, cookie"),
        ("x-drop", "1"),
        ("cookie", "c"),
        ("keep-alive", "5"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("expect", "100-continue"),
        ("x-forwarded-host", "evil"),
        ("x_forwarded_host", "evil"),
        ("x-original-url", "/admin"),
        ("x-rewrite-url", "/admin"),
        ("x-host", "evil"),
        ("x-http-method-override", "POST"),
        ("x-keep", "1"),
        ("accept", "*/*"),
    ];
    let out = sent(&client, Purpose::Fill, &hop(false, Announce::XForwarded));
    let mut names: Vec<&str> = out.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "cdn-loop",
            "cookie",
            "host",
            "via",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-keep"
        ]
    );
    assert_eq!(lines(&out, "host"), ["a.example:8443"]);
    assert_eq!(lines(&out, "x-forwarded-host"), ["a.example:8443"]);
}

#[test]
fn conditions_and_ranges_are_the_client_s_only_on_a_pass() {
    let client = [
        ("if-none-match", "\"a\""),
        ("range", "bytes=0-1"),
        ("if-range", "\"a\""),
        ("content-length", "0"),
    ];
    let range = &http::HeaderValue::from_static("bytes=0-9");
    for (purpose, wanted) in [
        (Purpose::Pass, &["content-length", "if-none-match", "if-range", "range"][..]),
        (Purpose::Fill, &[]),
        (Purpose::FillRange { range, if_range: None }, &["range"]),
        (Purpose::FillRange { range, if_range: Some(range) }, &["if-range", "range"]),
    ] {
        let out = sent(&client, purpose, &hop(false, Announce::Nothing));
        let kept = client.iter().map(|(name, _)| *name).filter(|name| out.contains_key(*name));
        let mut kept: Vec<&str> = kept.collect();
        kept.sort_unstable();
        assert_eq!(kept, wanted, "{purpose:?}");
    }
}

#[test]
fn the_client_is_announced_and_believed_only_if_trusted() {
    let client = [
        ("x-forwarded-for", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("via", "1.0 proxy"),
        ("cdn-loop", "other"),
    ];
    let plain = sent(&client, Purpose::Pass, &hop(false, Announce::Both));
    assert_eq!(lines(&plain, "x-forwarded-for"), ["192.0.2.7"]);
    let told = "for=192.0.2.7;host=\"a.example:8443\";proto=https";
    assert_eq!(lines(&plain, "forwarded"), [told]);
    assert_eq!(lines(&plain, "via"), ["1.0 proxy", "1.1 brink"]);
    assert_eq!(lines(&plain, "cdn-loop"), ["other", "brink-1"]);
    let trusted = sent(&client, Purpose::Pass, &hop(true, Announce::XForwarded));
    assert_eq!(lines(&trusted, "x-forwarded-for"), ["10.0.0.1, 192.0.2.7"]);
    assert!(lines(&trusted, "forwarded").is_empty());
}

#[test]
fn only_websockets_are_upgrades() {
    let wants = |fields: &[(&str, &str)]| wants_upgrade(&Method::GET, &map(fields));
    assert!(wants(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]));
    for fields in [
        &[("connection", "upgrade"), ("upgrade", "h2c")][..],
        &[("connection", "upgrade"), ("upgrade", "websocket, h2c")],
        &[("connection", "close"), ("upgrade", "websocket")],
        &[("connection", "upgrade")],
    ] {
        assert!(!wants(fields), "{fields:?}");
    }
}

#[test]
fn cookies_in_pieces_become_one() {
    let client = [("cookie", "a=1"), ("cookie", "b=2")];
    let out = sent(&client, Purpose::Fill, &hop(false, Announce::Nothing));
    assert_eq!(lines(&out, "cookie"), ["a=1; b=2"]);
}
