//! Purging through the API, and looking at what is stored.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::*;
use crate::rules::ledger::Verdict;

#[tokio::test]
async fn a_purge_says_its_number_what_it_matched_and_what_it_freed() {
    let bench = Bench::start().await;
    bench.store("https://h:443/a", &["news", "x"]);
    bench.store("https://h:443/b", &["news"]);
    let kept = bench.store("https://h:443/c", &["newsletter"]);
    let reply = bench.post("/v1/purge", r#"{"tags":["news"]}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let answer = reply.json();
    assert_eq!((&answer["seq"], &answer["matched"]), (&json!(1), &json!(2)));
    assert_eq!(answer["swept"], true);
    assert!(answer["freed_bytes"].as_u64() > Some(200), "{answer}");
    assert!(answer["took_ms"].as_f64() >= answer["effective_ms"].as_f64());
    assert_eq!(bench.handles.memory.len(), 1);
    assert_eq!(bench.handles.ledger.verdict(&kept), Verdict::Live);
    let purges = bench.get("/v1/purges").await.json();
    assert_eq!(purges["purges"][0]["items"], json!(["news"]));
    assert_eq!(purges["purges"][0]["found"]["matched"], 2);
    assert_eq!(purges["purges"][0]["found"]["swept"], true);
    eventually("the sweep lets the ledger forget", || bench.handles.ledger.is_empty()).await;
}

#[tokio::test]
async fn every_kind_of_item_purges_what_it_names() {
    for (call, left) in [
        (r#"{"urls":["https://h/a/1"]}"#, "2345"),
        (r#"{"urls":["https://H:443/a/1","http://h/a/1"]}"#, "2345"),
        (r#"{"prefixes":["h/a"]}"#, "45"),
        (r#"{"prefixes":["h/a"],"prefix_by":"segment"}"#, "345"),
        (r#"{"hosts":["i"]}"#, "1234"),
        (r#"{"tags":["t"]}"#, "1245"),
        (r#"{"pattern":"/[ab]/"}"#, "35"),
        (r#"{"pattern":"*/a/*","pattern_syntax":"glob"}"#, "345"),
        (r#"{"everything":true}"#, ""),
    ] {
        let bench = Bench::start().await;
        let stored = [
            ("1", bench.store("https://h:443/a/1", &[])),
            ("2", bench.store("https://h:443/a/2", &[])),
            ("3", bench.store("https://h:443/ab", &["t"])),
            ("4", bench.store("https://h:443/b/", &[])),
            ("5", bench.store("https://i:443/", &[])),
        ];
        let reply = bench.post("/v1/purge", call).await;
        assert_eq!(reply.status, 200, "{call}: {}", reply.body);
        let ledger = &bench.handles.ledger;
        let live = stored.iter().filter(|(_, entry)| ledger.verdict(entry) == Verdict::Live);
        assert_eq!(live.map(|(name, _)| *name).collect::<String>(), left, "{call}");
        let matched = (5 - left.len()) as u64;
        assert_eq!(reply.json()["matched"].as_u64(), Some(matched), "{call}: {}", reply.body);
        assert_eq!(bench.handles.memory.len(), left.len() as u64, "{call}");
    }
}

#[tokio::test]
async fn a_soft_purge_marks_stale_and_frees_nothing() {
    let bench = Bench::start().await;
    let entry = bench.store("https://h:443/a", &["t"]);
    let answer = bench.post("/v1/purge", r#"{"tags":["t"],"soft":true}"#).await.json();
    assert_eq!((&answer["matched"], &answer["freed_bytes"]), (&json!(1), &json!(0)));
    assert_eq!(bench.handles.ledger.verdict(&entry), Verdict::Stale);
    assert_eq!(bench.handles.memory.len(), 1);
}

#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let bench = Bench::start().await;
    let entry = bench.store("https://h:443/a", &[]);
    let answer = bench.post("/v1/purge", r#"{"everything":true,"dry_run":true}"#).await.json();
    assert_eq!((&answer["seq"], &answer["matched"]), (&json!(null), &json!(1)));
    assert_eq!(bench.handles.ledger.seq(), 0);
    assert_eq!(bench.handles.ledger.verdict(&entry), Verdict::Live);
}

#[tokio::test]
async fn the_method_purge_takes_a_url_or_a_host_with_a_path() {
    let bench = Bench::start().await;
    bench.store("https://h:443/a", &[]);
    bench.store("http://h:80/a", &[]);
    bench.store("http://h:8080/a", &[]);
    let absolute = bench.call("PURGE", "https://h/a", "", "").await;
    assert_eq!((absolute.status, &absolute.json()["matched"]), (200, &json!(1)));
    let token = &bench.token;
    let by_host = format!(
        "PURGE /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    assert_eq!(bench.raw(&by_host).await.json()["matched"], 1);
    let with_port = by_host.replace("host: h\r", "host: h:8080\r");
    assert_eq!(bench.raw(&with_port).await.json()["matched"], 1);
    let without_token = "PURGE /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    assert_eq!(bench.raw(without_token).await.status, 401);
}

#[tokio::test]
async fn a_purge_is_durable_before_it_is_in_effect() {
    let paper = Arc::new(Paper::default());
    let lent = paper.clone();
    let bench = Bench::with(|_| {}, |handles| handles.durable = Some(lent)).await;
    bench.post("/v1/purge", r#"{"tags":["a","b"]}"#).await;
    assert_eq!(*paper.written.lock(), [1, 2]);
    eventually("the file is shortened", || paper.forgotten.load(Ordering::SeqCst) == 2).await;

    let broken = Arc::new(Paper { fails: true, ..Paper::default() });
    let bench = Bench::with(|_| {}, |handles| handles.durable = Some(broken)).await;
    let reply = bench.post("/v1/purge", r#"{"tags":["a"]}"#).await;
    assert_eq!(reply.status, 503);
    assert!(reply.body.contains("not in effect: disk full"), "{}", reply.body);
    assert_eq!(bench.handles.ledger.seq(), 0);
}

#[tokio::test]
async fn calls_that_make_no_sense_are_refused_with_what_was_expected() {
    let bench = Bench::start().await;
    let many = json!({"tags": vec!["t"; 257]}).to_string();
    let long = json!({"tags": ["t".repeat(1025)]}).to_string();
    for (call, status, says) in [
        ("{}", 400, "nothing to purge"),
        (r#"{"tag":["a"]}"#, 400, "unknown field"),
        (r#"{"tags":"#, 400, "JSON"),
        (r#"{"tags":[""]}"#, 400, "everything"),
        (r#"{"urls":["h/a"]}"#, 400, "https://"),
        (r#"{"urls":["https://unknown.example/"]}"#, 422, "no site serves"),
        (r#"{"pattern":"*/a"}"#, 400, "does not compile"),
        (many.as_str(), 413, "at most 256"),
        (long.as_str(), 400, "at most 1024"),
    ] {
        let reply = bench.post("/v1/purge", call).await;
        assert_eq!(reply.status, status, "{call}: {}", reply.body);
        let message = reply.json()["error"]["message"].to_string();
        assert!(message.contains(says), "{call}: {message}");
    }
    assert_eq!(bench.handles.ledger.seq(), 0);
}

#[tokio::test]
async fn stored_objects_are_listed_in_pages() {
    let bench = Bench::start().await;
    for n in 0..25 {
        bench.store(&format!("https://h:443/{n:02}"), &["t"]);
    }
    bench.store("https://i:443/", &[]);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let target = format!("/v1/objects?tag=t&limit=10&after={after}");
        let page = bench.get(&target).await.json();
        for object in page["objects"].as_array().unwrap() {
            seen.push(object["url"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    let wanted: Vec<String> = (0..25).map(|n| format!("https://h/{n:02}")).collect();
    assert_eq!(seen, wanted);
    let one = bench.get("/v1/objects?url=https://h/07").await.json();
    assert_eq!(one["objects"].as_array().map(Vec::len), Some(1));
    assert_eq!(one["objects"][0]["ttl_s"], 60);
    assert_eq!(one["objects"][0]["tags"], json!(["t"]));
    assert_eq!(bench.get("/v1/objects?host=i").await.json()["objects"][0]["url"], "https://i/");
    assert_eq!(bench.get("/v1/objects?host=i&tag=t").await.status, 400);
}

#[tokio::test]
async fn ten_calls_at_a_time_share_passes_and_each_gets_its_own_count() {
    let bench = Bench::start().await;
    for n in 0..10 {
        for m in 0..=n {
            bench.store(&format!("https://h:443/{n}/{m}"), &[&format!("t{n}")]);
        }
    }
    let bodies: Vec<String> = (0..10).map(|n| format!("{{\"tags\":[\"t{n}\"]}}")).collect();
    let calls = bodies.iter().map(|body| bench.post("/v1/purge", body));
    let mut matched = Vec::new();
    for reply in join_all(calls).await {
        matched.push(reply.json()["matched"].as_u64().unwrap());
    }
    assert_eq!(matched, (1..=10).collect::<Vec<u64>>());
    assert!(bench.handles.memory.is_empty());
}

pub(super) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = crate::base::clock::instant() + std::time::Duration::from_secs(20);
    while !holds() {
        assert!(crate::base::clock::instant() < deadline, "never: {what}");
        tokio::task::yield_now().await;
    }
}

/// Runs the futures side by side on this thread.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |cx| {
        for (future, done) in running.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(output) = future.as_mut().poll(cx) {
                *done = Some(output);
            }
        }
        if running.iter().any(|(_, done)| done.is_none()) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(running.iter_mut().filter_map(|(_, done)| done.take()).collect())
    })
    .await
}
