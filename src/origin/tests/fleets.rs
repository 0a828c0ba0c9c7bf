//! Several servers: failover, ejection, checks, operators' verbs.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use http::Method;
use http_body_util::BodyExt;

use super::*;
use crate::origin::{Balance, CheckOptions, Panic, ServerOptions, StickyOptions};

fn ok(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

/// A group of scripted servers named by their position.
fn of(scripts: &[&Script]) -> GroupOptions {
    let server = |(index, script): (usize, &&Script)| ServerOptions {
        name: Some(index.to_string()),
        ..ServerOptions::new(format!("http://{}", script.address).parse().unwrap())
    };
    let mut options = scripts[0].options();
    options.servers = scripts.iter().enumerate().map(server).collect();
    options.balance = Balance::RoundRobin;
    options.slow_start = Duration::ZERO;
    options
}

async fn served_by(group: &Group, requests: usize) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for _ in 0..requests {
        let answer = get(group, "/").await.unwrap();
        *counts.entry(answer.server.to_string()).or_default() += 1;
        answer.response.into_body().collect().await.unwrap();
    }
    counts
}

/// A server that resets every connection while `bad` is set.
async fn flaky(bad: Arc<AtomicBool>) -> Script {
    Script::start(move |_, mut stream| {
        let bad = bad.clone();
        async move {
            while !read_head(&mut stream).await.is_empty() {
                if bad.load(Ordering::SeqCst) {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    return;
                }
                let _ = stream.write_all(ok("fine").as_bytes()).await;
            }
        }
    })
    .await
}

fn state_of(group: &Group, server: usize) -> &'static str {
    group.state().servers[server].state
}

#[tokio::test]
async fn weights_share_the_requests_and_backups_wait() {
    let (a, b, c) = (
        Script::constant(ok("a")).await,
        Script::constant(ok("b")).await,
        Script::constant(ok("c")).await,
    );
    let mut options = of(&[&a, &b, &c]);
    options.servers[1].weight = 3;
    options.servers[2].priority = 1;
    let group = Group::new(options).unwrap();
    let counts = served_by(&group, 40).await;
    assert_eq!(counts.get("0"), Some(&10), "{counts:?}");
    assert_eq!(counts.get("1"), Some(&30));
    group.drain("0", true).unwrap();
    group.drain("1", true).unwrap();
    assert_eq!(served_by(&group, 3).await.get("2"), Some(&3), "the backup steps in");
    group.drain("1", false).unwrap();
    assert_eq!(served_by(&group, 3).await.get("1"), Some(&3));
}

#[tokio::test]
async fn a_broken_server_costs_no_get_and_is_ejected_and_comes_back() {
    let bad = Arc::new(AtomicBool::new(true));
    let (good, broken) = (Script::constant(ok("good")).await, flaky(bad.clone()).await);
    let mut options = of(&[&good, &broken]);
    options.eject.base = Duration::from_millis(100);
    let group = Group::new(options).unwrap();
    served_by(&group, 20).await;
    assert_eq!(state_of(&group, 1), "ejected");
    let before = broken.count();
    assert!(before >= 3, "three failures in a row eject: {before}");
    bad.store(false, Ordering::SeqCst);
    for _ in 0..1000 {
        served_by(&group, 1).await;
        if state_of(&group, 1) == "up" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(state_of(&group, 1), "up");
    assert_eq!(served_by(&group, 10).await.get("1"), Some(&5));
}

#[tokio::test]
async fn post_is_sent_elsewhere_only_if_it_never_left() {
    let broken = flaky(Arc::new(AtomicBool::new(true))).await;
    let good = Script::constant(ok("good")).await;
    let group = Group::new(of(&[&broken, &broken])).unwrap();
    let post = || {
        let mut post = request(Method::POST, "/");
        *post.body_mut() = Outgoing::full(Bytes::from("x"));
        post
    };
    let fault = group.send(post(), &SendContext::default()).await.unwrap_err();
    assert!(matches!(fault, OriginFault::Broken(_)));
    assert_eq!(broken.count(), 1, "it may have been executed: not sent twice");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let mut options = of(&[&good, &good]);
    options.servers[0].address = format!("http://{address}").parse().unwrap();
    let group = Group::new(options).unwrap();
    for _ in 0..4 {
        let answer = group.send(post(), &SendContext::default()).await.unwrap();
        assert_eq!(&*answer.server, "1");
    }
}

#[tokio::test]
async fn an_error_status_is_tried_elsewhere_and_the_last_one_is_told() {
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
    let (a, b) = (Script::constant(busy).await, Script::constant(ok("b")).await);
    let group = Group::new(of(&[&a, &b])).unwrap();
    for _ in 0..6 {
        assert_eq!(fetch(&group, "/").await.unwrap().0, 200);
    }
    let (c, d) = (Script::constant(busy).await, Script::constant(busy).await);
    let group = Group::new(of(&[&c, &d])).unwrap();
    assert_eq!(fetch(&group, "/").await, Ok((503, Bytes::from("busy"))));
}

#[tokio::test]
async fn a_dying_origin_is_not_hammered_by_retries() {
    let bad = Arc::new(AtomicBool::new(true));
    let (a, b) = (flaky(bad.clone()).await, flaky(bad).await);
    let mut options = of(&[&a, &b]);
    options.eject.failures = 0;
    options.retry.budget_min = 0;
    let group = Group::new(options).unwrap();
    for _ in 0..200 {
        assert!(fetch(&group, "/").await.is_err());
    }
    let sent = a.count() + b.count();
    assert!((200..=265).contains(&sent), "{sent} for 200 requests");
    assert!(group.state().retries_refused > 0);
}

#[tokio::test]
async fn when_all_are_ejected_the_panic_choice_decides() {
    let bad = Arc::new(AtomicBool::new(true));
    let (a, b) = (flaky(bad.clone()).await, flaky(bad.clone()).await);
    let mut options = of(&[&a, &b]);
    options.eject.base = Duration::from_secs(60);
    let trying = Group::new(options.clone()).unwrap();
    options.panic = Panic::Refuse;
    let refusing = Group::new(options).unwrap();
    for _ in 0..10 {
        assert!(fetch(&trying, "/").await.is_err());
        assert!(fetch(&refusing, "/").await.is_err());
    }
    bad.store(false, Ordering::SeqCst);
    assert!(matches!(fetch(&refusing, "/").await, Err(OriginFault::NoServer(_))));
    assert_eq!(fetch(&trying, "/").await, Ok((200, Bytes::from("fine"))));
}

#[tokio::test]
async fn health_checks_take_a_server_down_and_bring_it_back() {
    let bad = Arc::new(AtomicBool::new(false));
    let (a, b) = (Script::constant(ok("fine")).await, flaky(bad.clone()).await);
    let mut options = of(&[&a, &b]);
    options.check = Some(CheckOptions {
        body: Some("fine".to_owned()),
        every: Duration::from_millis(20),
        ..CheckOptions::default()
    });
    let group = Group::new(options).unwrap();
    group.watch();
    bad.store(true, Ordering::SeqCst);
    until(|| state_of(&group, 1) == "down").await;
    assert_eq!(served_by(&group, 4).await.get("0"), Some(&4));
    bad.store(false, Ordering::SeqCst);
    until(|| state_of(&group, 1) == "up").await;
    assert_eq!(state_of(&group, 0), "up");
}

#[tokio::test]
async fn a_check_that_lacks_its_text_is_a_failed_check() {
    let a = Script::constant(ok("maintenance")).await;
    let mut options = of(&[&a]);
    options.check = Some(CheckOptions {
        body: Some("fine".to_owned()),
        every: Duration::from_millis(20),
        ..CheckOptions::default()
    });
    let group = Group::new(options).unwrap();
    group.watch();
    until(|| state_of(&group, 0) == "down").await;
    assert!(group.state().servers[0].reason.contains("lacks the text"));
}

#[tokio::test]
async fn a_sticky_cookie_leads_to_its_server_while_that_is_up() {
    let (a, b) = (Script::constant(ok("a")).await, Script::constant(ok("b")).await);
    let mut options = of(&[&a, &b]);
    options.balance =
        Balance::Sticky(StickyOptions { cookie: "node".to_owned(), set: false, ttl: None });
    let group = Group::new(options).unwrap();
    let ask = || {
        let mut asking = request(Method::GET, "/");
        asking.headers_mut().insert("cookie", "x=y; node=1".parse().unwrap());
        asking
    };
    for _ in 0..10 {
        let answer = group.send(ask(), &SendContext::default()).await.unwrap();
        assert_eq!(&*answer.server, "1");
    }
    group.drain("1", true).unwrap();
    let answer = group.send(ask(), &SendContext::default()).await.unwrap();
    assert_eq!(&*answer.server, "0");
}

#[tokio::test]
async fn consistent_hash_sends_a_key_to_one_server() {
    let (a, b, c) = (
        Script::constant(ok("a")).await,
        Script::constant(ok("b")).await,
        Script::constant(ok("c")).await,
    );
    let mut options = of(&[&a, &b, &c]);
    options.balance = Balance::ConsistentHash { header: None };
    let group = Group::new(options).unwrap();
    for key in 0..20u64 {
        let cx = SendContext { key: key.wrapping_mul(0x9e37_79b9_7f4a_7c15), ..Default::default() };
        let mut servers = std::collections::HashSet::new();
        for _ in 0..3 {
            let answer = group.send(request(Method::GET, "/"), &cx).await.unwrap();
            servers.insert(answer.server.to_string());
            answer.response.into_body().collect().await.unwrap();
        }
        assert_eq!(servers.len(), 1, "key {key}");
    }
}

#[tokio::test]
async fn a_switch_moves_new_requests_at_once_and_can_be_rolled_back() {
    let (a, b) = (Script::constant(ok("blue")).await, Script::constant(ok("green")).await);
    let group = |name: &str, script: &Script| {
        Group::new(GroupOptions { name: name.to_owned(), ..script.options() }).unwrap()
    };
    let (app, green) = (group("app", &a), group("green", &b));
    let body = |text: &'static str| Ok((200, Bytes::from(text)));
    let in_flight = get(&app, "/").await.unwrap();
    app.switch(Some(&green));
    green.switch(Some(&app));
    assert_eq!(fetch(&app, "/").await, body("green"), "no chain and no loop");
    assert_eq!(in_flight.response.into_body().collect().await.unwrap().to_bytes(), "blue");
    assert_eq!(app.state().switched_to.as_deref(), Some("green"));
    assert_eq!(app.roll_back(), "app");
    assert_eq!(fetch(&app, "/").await, body("blue"));
    assert_eq!(app.roll_back(), "green", "back and forth");
    drop(green);
    assert_eq!(fetch(&app, "/").await, body("blue"), "a group that is gone is no switch");
}

/// Serves 200,000 bytes and closes after half of the first answer; ranges are honoured
/// with the tag given.
async fn breaking(tag: &'static str) -> Script {
    Script::start(move |number, mut stream| async move {
        let body: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        loop {
            let head = String::from_utf8(read_head(&mut stream).await).unwrap();
            if head.is_empty() {
                return;
            }
            let from = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
            let Some(from) = from.and_then(|range| range.strip_suffix('-')) else {
                let head = "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: 200000\r\n\r\n";
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&body[..100_000]).await;
                assert_eq!(number, 0, "asked for the whole once");
                return;
            };
            let from: usize = from.parse().unwrap();
            let head = format!(
                "HTTP/1.1 206 Partial\r\nETag: {tag}\r\nContent-Range: bytes {from}-199999/200000\
                 \r\nContent-Length: {}\r\n\r\n",
                200_000 - from
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body[from..]).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_body_that_breaks_is_continued_only_with_the_same_strong_tag() {
    for (tag, whole) in [("\"one\"", true), ("\"two\"", false), ("W/\"one\"", false)] {
        let script = breaking(tag).await;
        let mut options = of(&[&script, &script]);
        options.eject.failures = 0;
        let group = Group::new(options).unwrap();
        match fetch(&group, "/").await {
            Ok((200, body)) => {
                assert!(whole);
                assert_eq!(body.len(), 200_000);
                assert!(body.iter().enumerate().all(|(n, &byte)| byte == (n % 251) as u8));
            }
            other => {
                assert!(!whole, "{other:?}");
                assert_eq!(other, Err(OriginFault::Truncated));
            }
        }
        assert_eq!(script.count(), 2);
    }
}
