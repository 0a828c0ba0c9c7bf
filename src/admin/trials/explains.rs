//! `explain` tells why, from what is stored and what was seen.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::rules::asked::Scheme;
use crate::rules::outcome::{Fwd, Outcome};
use crate::telemetry::Exchange;

#[tokio::test]
async fn a_hit_is_explained_with_its_key_and_freshness_sum() {
    let bench = Bench::start().await;
    bench.store("https://h:443/a?q", &["t"]);
    bench.handles.clock.advance(Duration::from_secs(10));
    let answer = bench.get("/v1/explain?url=https%3A%2F%2FH%2Fa%3Fq").await.json();
    assert_eq!(answer["now"]["verdict"], "hit", "{answer:#}");
    assert_eq!(answer["site"], "any");
    assert_eq!(answer["key"]["text"], "https://h:443/a?q");
    assert_eq!(answer["tier"], "memory");
    assert_eq!(answer["freshness"]["ttl_s"], 50);
    assert_eq!(answer["freshness"]["sum"], "60 s (Cache-Control: max-age) - 10 s of age");
    assert_eq!(answer["variants"][0]["object"]["tags"], json!(["t"]));
    bench.handles.clock.advance(Duration::from_secs(60));
    let stale = bench.get("/v1/explain?url=https://h/a?q").await.json();
    assert_eq!(stale["now"]["verdict"], "revalidate", "{stale:#}");
    assert_eq!(stale["now"]["fwd"], "stale");
}

#[tokio::test]
async fn a_miss_names_the_purge_that_caused_it() {
    let bench = Bench::start().await;
    bench.store("https://h:443/a", &[]);
    bench.post("/v1/purge", r#"{"prefixes":["https://h/"]}"#).await;
    let answer = bench.get("/v1/explain?url=https://h/a").await.json();
    assert_eq!(answer["now"]["verdict"], "miss");
    assert_eq!(answer["last_purge"]["what"], "https://h/");
    assert_eq!(answer["last_purge"]["seq"], 1);
}

#[tokio::test]
async fn an_answer_that_was_not_stored_is_explained_in_plain_words() {
    let bench = Bench::start().await;
    let outcome = Outcome {
        fwd: Some(Fwd::UriMiss),
        fwd_status: Some(200),
        detail: Some("set-cookie"),
        ..Outcome::default()
    };
    bench.handles.telemetry.finished(&Exchange {
        now: bench.handles.clock.now(),
        peer: ([127, 0, 0, 1], 1).into(),
        site: "any",
        method: "GET",
        scheme: Scheme::Https,
        host: "h",
        target: "/login",
        http2: false,
        status: 200,
        bytes: 5,
        complete: true,
        duration: Duration::ZERO,
        ttfb: Duration::ZERO,
        outcome: &outcome,
        user_agent: None,
        referer: None,
        request_id: None,
    });
    let answer = bench.get("/v1/explain?url=https://h/login").await.json();
    assert_eq!(answer["last_not_stored"]["reason"], "set-cookie");
    let advice = answer["advice"].to_string();
    assert!(advice.contains("store_set_cookie"), "{advice}");
}

#[tokio::test]
async fn request_fields_are_folded_as_a_request_would_be() {
    let bench = Bench::start().await;
    let target = "/v1/explain?url=https://h/a&header=Accept-Encoding:%20br;q=0.1,%20gzip,%20x\
                  &header=Cache-Control:%20no-store";
    let answer = bench.get(target).await.json();
    assert_eq!(answer["now"]["verdict"], "pass");
    assert_eq!(answer["now"]["fwd"], "request");
    let folded = answer["request"].to_string();
    assert!(folded.contains("accept-encoding: ") && !folded.contains(", x"), "{folded}");
    for bad in ["", "?url=/a", "?url=https://h/&header=nonsense", "?uri=https://h/"] {
        assert_eq!(bench.get(&format!("/v1/explain{bad}")).await.status, 400, "{bad}");
    }
    let nowhere = bench.get("/v1/explain?url=https://elsewhere/").await.json();
    assert_eq!(nowhere["now"]["verdict"], "refuse");
}

#[tokio::test]
async fn hits_are_told_and_looking_is_no_hit() {
    let bench = Bench::start().await;
    let entry = bench.store("https://h:443/a", &[]);
    let key = Key::new(SEED, SmallVec::from_slice(&entry.key));
    let hits = async || bench.get("/v1/explain?url=https://h/a").await.json()["hits"].clone();
    assert_eq!(hits().await, 0);
    assert!(bench.handles.memory.get(&key).is_some());
    assert!(bench.handles.memory.get(&key).is_some());
    assert_eq!(hits().await, 2);
    assert_eq!(hits().await, 2);
}

#[tokio::test]
async fn what_happened_last_explains_the_miss() {
    let bench = Bench::start().await;
    let entry = bench.store("https://h:443/a", &[]);
    let key = Key::new(SEED, SmallVec::from_slice(&entry.key));
    let advice = async || {
        let answer = bench.get("/v1/explain?url=https://h/a").await.json();
        answer["advice"][0].as_str().unwrap_or_default().to_owned()
    };
    bench.handles.memory.remove(&key);
    assert!(advice().await.contains("not asked for yet"), "{}", advice().await);
    bench.handles.telemetry.evictions.note(key.hash(), WALL_MS / 1000, 3);
    bench.handles.clock.advance(Duration::from_secs(12));
    assert!(advice().await.contains("12 s ago after 3 hits"), "{}", advice().await);
    let answer = bench.get("/v1/explain?url=https://h/a").await.json();
    assert_eq!(answer["last_eviction"]["hits"], 3);
    bench.post("/v1/purge", r#"{"hosts":["h"]}"#).await;
    assert!(advice().await.contains("purged 0 s ago"), "{}", advice().await);
}

#[tokio::test]
async fn a_request_that_forbids_a_stored_answer_is_told_so() {
    let bench = Bench::start().await;
    bench.store("https://h:443/a", &[]);
    let target = "/v1/explain?url=https://h/a&header=Cache-Control:%20no-cache";
    let answer = bench.get(target).await.json();
    let advice = answer["advice"][0].as_str().unwrap();
    assert!(advice.contains("honour_client_no_cache"), "{answer:#}");
}
