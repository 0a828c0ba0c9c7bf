//! Warming: lists, files and sitemaps; progress and cancelling.

use tokio::sync::Notify;

use super::*;
use crate::admin::{WarmFetch, Warmed};

const MAP: &str = "<urlset><url><loc>http://h/1</loc></url><url><loc>http://h/2</loc></url>\
                   <url><loc>ftp://h/3</loc></url></urlset>";
const INDEX: &str = "<sitemapindex><sitemap><loc>http://h/map.xml</loc></sitemap>\
                     <sitemap><loc>http://h/none.xml</loc></sitemap></sitemapindex>";

/// A site with two sitemaps; `/slow` answers when it is told to.
fn site(gate: Arc<Notify>) -> Arc<WarmFetch> {
    Arc::new(move |url: http::Uri, keep: usize| {
        let gate = gate.clone();
        Box::pin(async move {
            let (status, text) = match url.path() {
                "/index.xml" => (200, INDEX),
                "/map.xml" => (200, MAP),
                "/slow" => {
                    gate.notified().await;
                    (200, "slow")
                }
                "/none.xml" => (404, "no"),
                _ => (200, "page"),
            };
            let body = if keep > 0 { text.as_bytes().to_vec() } else { Vec::new() };
            Ok(Warmed { status, bytes: text.len() as u64, hit: false, body })
        })
    })
}

async fn world() -> (Bench, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    let fetch = site(gate.clone());
    (Bench::with(|_| {}, |handles| handles.warm = Some(fetch)).await, gate)
}

async fn ended(bench: &Bench, job: &Value) -> Value {
    loop {
        let job = bench.get(&format!("/v1/warm/{}", job["id"])).await.json();
        if !matches!(job["state"].as_str(), Some("reading" | "running")) {
            return job;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn urls_come_as_json_as_a_file_and_by_sitemap() {
    let (bench, _gate) = world().await;
    let json = bench.post("/v1/warm", r#"{"urls":["http://h/1","http://h/none.xml"]}"#).await;
    assert_eq!(json.status, 202, "{}", json.body);
    let done = ended(&bench, &json.json()).await;
    assert_eq!((&done["state"], &done["total"]), (&"done".into(), &2.into()));
    assert_eq!((&done["counts"]["done"], &done["counts"]["failed"]), (&2.into(), &1.into()));
    assert_eq!(done["counts"]["problems"][0], "http://h/none.xml: status 404");

    let file = bench.post("/v1/warm?concurrency=3", "http://h/1\n# no\nhttp://h/2\n").await;
    assert_eq!(file.json()["concurrency"], 3);
    assert_eq!(ended(&bench, &file.json()).await["counts"]["done"], 2);

    let map = bench.post("/v1/warm", r#"{"sitemap":"http://h/index.xml"}"#).await.json();
    let done = ended(&bench, &map).await;
    assert_eq!((&done["total"], &done["counts"]["done"]), (&2.into(), &2.into()), "{done:#}");
    let problems = done["counts"]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "the sitemap that is not there, and ftp: {problems:?}");

    for (body, says) in [("{}", "expected 1 to"), ("[1]", "is not a URL"), (INDEX, "index of")] {
        let refused = bench.post("/v1/warm", body).await;
        assert_eq!(refused.status, 400);
        assert!(refused.body.contains(says), "{body}: {}", refused.body);
    }
    assert_eq!(bench.get("/v1/warm").await.json()["jobs"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_job_shows_how_far_it_is_and_can_be_cancelled() {
    let (bench, gate) = world().await;
    let urls = r#"{"urls":["http://h/1","http://h/slow","http://h/slow"],"concurrency":1}"#;
    let job = bench.post("/v1/warm", urls).await.json();
    let path = format!("/v1/warm/{}", job["id"]);
    while bench.get(&path).await.json()["counts"]["done"] != 1 {
        tokio::task::yield_now().await;
    }
    gate.notify_one();
    while bench.get(&path).await.json()["counts"]["done"] != 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.get(&path).await.json()["state"], "running");
    assert_eq!(bench.call("DELETE", &path, "", "").await.status, 200);
    let done = ended(&bench, &job).await;
    assert_eq!((&done["state"], &done["counts"]["done"]), (&"cancelled".into(), &2.into()));
    assert_eq!(bench.call("DELETE", "/v1/warm/99", "", "").await.status, 404);
}
