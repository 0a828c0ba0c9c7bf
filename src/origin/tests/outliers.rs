//! Servers that answer, but badly: ejected by share of errors or by time, within limits,
//! and what a reload keeps of that.

use std::sync::atomic::{AtomicU32, AtomicU64};

use http_body_util::BodyExt;

use super::*;
use crate::origin::{Balance, RetryOptions, ServerOptions, StickyOptions};

/// Answers after `delay` milliseconds, every `bad`th time with 500 (0: never).
async fn moody(bad: Arc<AtomicU32>, delay: Arc<AtomicU64>) -> Script {
    let count = Arc::new(AtomicU32::new(0));
    Script::start(move |_, mut stream| {
        let (bad, delay, count) = (bad.clone(), delay.clone(), count.clone());
        async move {
            while !read_head(&mut stream).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(delay.load(Ordering::SeqCst))).await;
                let (n, bad) = (count.fetch_add(1, Ordering::SeqCst), bad.load(Ordering::SeqCst));
                let line = if bad > 0 && n % bad == 0 { "500 Oops" } else { "200 OK" };
                let answer = format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nhi");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

async fn good() -> Script {
    moody(Arc::default(), Arc::default()).await
}

fn of(scripts: &[&Script]) -> GroupOptions {
    let server = |(index, script): (usize, &&Script)| ServerOptions {
        name: Some(format!("s{index}")),
        ..ServerOptions::new(format!("http://{}", script.address).parse().unwrap())
    };
    let mut options = scripts[0].options();
    options.servers = scripts.iter().enumerate().map(server).collect();
    options.balance = Balance::RoundRobin;
    options.slow_start = Duration::ZERO;
    options.eject.base = Duration::from_secs(60);
    options.eject.window = Duration::from_secs(600);
    options
}

async fn ask(group: &Group, times: usize) {
    for _ in 0..times {
        fetch(group, "/").await.unwrap();
    }
}

fn out(group: &Group) -> Vec<(String, &'static str)> {
    let servers = group.state().servers;
    let gone = servers.into_iter().filter(|server| server.state == "ejected");
    gone.map(|server| (server.name, server.reason)).collect()
}

#[tokio::test]
async fn a_server_with_half_its_answers_errors_is_ejected_though_never_three_in_a_row() {
    let bad = Arc::new(AtomicU32::new(2));
    let (a, b) = (good().await, moody(bad, Arc::default()).await);
    let group = Group::new(of(&[&a, &b])).unwrap();
    ask(&group, 30).await;
    assert_eq!(out(&group), [], "too few answers to conclude anything");
    ask(&group, 20).await;
    assert_eq!(out(&group), [("s1".to_owned(), "too many errors among its answers")]);
    let state = group.state();
    assert_eq!(state.servers[1].ejections.get("errors"), Some(&1));
    assert!(state.servers[1].retry_in_s.is_some_and(|s| (1..=60).contains(&s)));
    ask(&group, 10).await;
    assert_eq!(group.state().servers[1].requests, state.servers[1].requests, "asked no more");
}

#[tokio::test]
async fn a_server_much_slower_than_the_others_is_ejected_and_its_trial_must_be_fast() {
    let delay = Arc::new(AtomicU64::new(0));
    let (a, b, c) = (good().await, good().await, moody(Arc::default(), delay.clone()).await);
    let mut options = of(&[&a, &b, &c]);
    // The factor alone would make a hiccup of a busy machine an outlier.
    options.eject.slow_min = Duration::from_millis(200);
    options.eject.slow_factor = 2;
    options.eject.window_min = 4;
    options.eject.base = Duration::from_millis(1);
    options.eject.max = Duration::from_millis(1);
    let group = Group::new(options).unwrap();
    ask(&group, 48).await;
    delay.store(400, Ordering::SeqCst);
    for _ in 0..200 {
        ask(&group, 1).await;
        if group.state().servers[2].ejections["slow"] > 0 {
            break;
        }
    }
    let slow = group.state().servers[2].clone();
    assert_eq!(slow.ejections["slow"], 1, "{slow:?}");
    assert_eq!(slow.reason, "answers much more slowly than the others");
    // Its rest is over at once; the trial is answered, but as slowly.
    ask(&group, 6).await;
    assert!(matches!(group.state().servers[2].state, "ejected" | "trial"));
    delay.store(0, Ordering::SeqCst);
    for _ in 0..200 {
        ask(&group, 1).await;
        if group.state().servers[2].state == "up" {
            return;
        }
    }
    panic!("never came back: {:?}", group.state());
}

#[tokio::test]
async fn no_more_than_the_share_allowed_is_ejected_of_servers_that_answer() {
    let bad = || moody(Arc::new(AtomicU32::new(1)), Arc::default());
    let (a, b, c) = (bad().await, bad().await, bad().await);
    let mut options = of(&[&a, &b, &c]);
    options.retry = RetryOptions { tries: 1, ..RetryOptions::default() };
    let group = Group::new(options.clone()).unwrap();
    ask(&group, 200).await;
    assert_eq!(out(&group).len(), 1, "half of three, rounded down");
    options.eject.share_max = 100;
    let group = Group::new(options).unwrap();
    ask(&group, 200).await;
    assert_eq!(out(&group).len(), 3);
}

#[tokio::test]
async fn each_ejection_of_one_trouble_is_twice_as_long_up_to_the_longest() {
    let (a, b) = (good().await, moody(Arc::new(AtomicU32::new(1)), Arc::default()).await);
    let mut options = of(&[&a, &b]);
    options.eject.base = Duration::from_millis(100);
    options.eject.max = Duration::from_millis(250);
    let group = Group::new(options).unwrap();
    let mut rests = Vec::new();
    let started = crate::base::clock::instant();
    while rests.len() < 4 && started.elapsed() < Duration::from_secs(20) {
        let before = group.state().servers[1].ejections["failures"];
        ask(&group, 1).await;
        if group.state().servers[1].ejections["failures"] > before {
            rests.push(crate::base::clock::instant());
        }
    }
    let gaps: Vec<_> = rests.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] >= Duration::from_millis(100), "{gaps:?}");
    assert!(gaps[1] >= Duration::from_millis(200) && gaps[2] >= Duration::from_millis(250));
}

#[tokio::test]
async fn servers_keep_what_was_known_of_them_when_a_reload_changes_the_group() {
    let (a, b, c) = (good().await, good().await, good().await);
    let old = Group::new(of(&[&a, &b])).unwrap();
    old.drain("s0", true).unwrap();
    old.set_weight("s1", 7).unwrap();
    let new = Group::new(of(&[&a, &b, &c])).unwrap();
    new.adopt(&old);
    let servers = new.state().servers;
    assert_eq!((servers[0].state, servers[1].weight, servers[2].state), ("drained", 7, "up"));
    let mut options = of(&[&a, &b]);
    options.servers[1].weight = 3;
    let new = Group::new(options).unwrap();
    new.adopt(&old);
    assert_eq!(new.state().servers[1].weight, 3, "a new weight in the file counts");
}

#[tokio::test]
async fn warm_connections_are_opened_ahead_of_need() {
    let a = good().await;
    let mut options = of(&[&a]);
    options.pool.warm = 3;
    let group = Group::new(options).unwrap();
    assert_eq!(a.count(), 0);
    ask(&group, 1).await;
    until(|| a.count() == 4).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(get(&group, "/").await.unwrap());
    }
    assert_eq!(group.state().servers[0].reused, 4, "none of them had to connect");
}

#[tokio::test]
async fn the_sticky_cookie_is_set_once_and_followed_and_set_anew_when_its_server_is_out() {
    let (a, b) = (good().await, good().await);
    let mut options = of(&[&a, &b]);
    let ttl = Some(Duration::from_secs(60));
    options.balance = Balance::Sticky(StickyOptions { cookie: "at".to_owned(), set: true, ttl });
    let group = Group::new(options).unwrap();
    let ask = async |cookie: String| {
        let mut request = request(Method::GET, "/");
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        let answer = group.send(request, &SendContext::default()).await.unwrap();
        let got = (answer.server.to_string(), answer.stick);
        answer.response.into_body().collect().await.unwrap();
        got
    };
    let (first, cookie) = ask("x=y".to_owned()).await;
    let cookie = cookie.unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=60"), "{cookie}");
    assert!(!cookie.contains(&first), "the server's name is nobody's business");
    let pair = cookie.split(';').next().unwrap().to_owned();
    for _ in 0..10 {
        assert_eq!(ask(format!("x=y; {pair}")).await, (first.clone(), None));
    }
    assert_eq!(ask("at=s1".to_owned()).await, ("s1".to_owned(), None), "a name will do");
    group.drain(&first, true).unwrap();
    let (other, cookie) = ask(pair.clone()).await;
    assert_ne!(other, first);
    assert!(cookie.is_some_and(|cookie| !cookie.starts_with(&pair)));
}

#[tokio::test]
async fn a_field_of_the_request_chooses_the_server_if_the_options_say_so() {
    let (a, b, c) = (good().await, good().await, good().await);
    let mut options = of(&[&a, &b, &c]);
    options.balance = Balance::ConsistentHash { header: Some("x-tenant".parse().unwrap()) };
    let group = Group::new(options).unwrap();
    let ask = async |tenant: &str, key: u64| {
        let mut request = request(Method::GET, "/");
        request.headers_mut().insert("x-tenant", tenant.parse().unwrap());
        let cx = SendContext { key, ..SendContext::default() };
        let answer = group.send(request, &cx).await.unwrap();
        let server = answer.server.to_string();
        answer.response.into_body().collect().await.unwrap();
        server
    };
    let mut servers = std::collections::HashSet::new();
    for tenant in 0..20 {
        let first = ask(&tenant.to_string(), 1).await;
        assert_eq!(ask(&tenant.to_string(), 2).await, first, "whatever the cache key");
        servers.insert(first);
    }
    assert_eq!(servers.len(), 3);
}

#[tokio::test]
async fn the_total_deadline_covers_silence_and_a_body_that_drips() {
    for silent in [true, false] {
        let script = Script::start(move |_, mut stream| async move {
            read_head(&mut stream).await;
            if !silent {
                let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
                let _ = stream.write_all(head).await;
            }
            while silent || stream.write_all(b"drip").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let mut options = script.options();
        options.timeouts.total = Some(Duration::from_millis(300));
        let group = Group::new(options).unwrap();
        assert_eq!(fetch(&group, "/").await, Err(OriginFault::TotalTimeout));
    }
}

#[tokio::test]
async fn a_server_that_was_slow_once_is_asked_again() {
    let delay = Arc::new(AtomicU64::new(50));
    let (a, b) = (good().await, moody(Arc::default(), delay.clone()).await);
    let mut options = of(&[&a, &b]);
    options.balance = Balance::LeastLoaded;
    let group = Group::new(options).unwrap();
    while group.state().servers[1].requests == 0 {
        ask(&group, 1).await;
    }
    delay.store(0, Ordering::SeqCst);
    let started = crate::base::clock::instant();
    while group.state().servers[1].requests < 5 {
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", group.state());
        ask(&group, 1).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
