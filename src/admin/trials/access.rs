//! Who may call, from where, and how often.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::*;
use crate::admin::{ROUTES, Scope};

#[tokio::test]
async fn health_needs_no_token_and_everything_else_does() {
    let bench = Bench::start().await;
    for route in ROUTES {
        let target = route.path.replace(['{', '}'], "");
        let request =
            format!("{} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", {
                route.method
            });
        let status = bench.raw(&request).await.status;
        assert_eq!(status == 401, route.scope.is_some(), "{} {target}: {status}", route.method);
    }
    assert_eq!(bench.raw("GET /nothing HTTP/1.0\r\n\r\n").await.status, 401);
    assert_eq!(bench.get("/nothing").await.status, 404);
    assert_eq!(bench.get("/healthz").await.body, "ok\n");
}

#[tokio::test]
async fn the_token_file_is_made_private_with_32_random_bytes() {
    let bench = Bench::start().await;
    assert_eq!(bench.token.len(), 64);
    assert!(bench.token.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let mode = std::fs::metadata(bench._dir.path().join("token")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_ne!(bench.token, Bench::start().await.token);
}

#[tokio::test]
async fn a_token_does_what_its_scopes_say_and_can_be_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    std::fs::write(&path, "# two\nlook read aaaaaaaaaaaaaaaaaaaaaaaa\nci read,purge bbbb\n")
        .unwrap();
    let file = path.clone();
    let mut bench = Bench::with(|options| options.token_file = Some(file), |_| {}).await;
    bench.token = "aaaaaaaaaaaaaaaaaaaaaaaa".to_owned();
    assert_eq!(bench.get("/v1/stats").await.status, 200);
    let refused = bench.post("/v1/purge", r#"{"everything":true}"#).await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("lacks the scope"), "{}", refused.body);
    bench.token = "bbbb".to_owned();
    assert_eq!(bench.post("/v1/purge", r#"{"everything":true}"#).await.status, 200);
    assert_eq!(bench.call("PUT", "/v1/origins/a/servers/b", "", "{}").await.status, 403);
    let audit = bench.get("/v1/audit").await.json();
    assert_eq!(audit["changes"][0]["status"], 403);
    assert_eq!(audit["changes"][1]["who"], "ci");
    assert_eq!(audit["changes"][1]["call"], "POST /v1/purge");
    assert_eq!(audit["changes"][1]["what"], r#"{"everything":true}"#);
    assert!(audit["changes"][1]["result"].as_str().unwrap().contains("\"seq\":1"), "{audit}");
    assert!(audit["changes"][0]["result"].as_str().unwrap().contains("scope"), "{audit}");

    std::fs::write(&path, "look all bad-line-here\n").unwrap();
    assert!(bench.admin.tokens().reload().is_err());
    assert_eq!(bench.get("/v1/stats").await.status, 200, "the old tokens stay in force");
    std::fs::write(&path, "cccccccccccccccccccccccc\n").unwrap();
    bench.admin.tokens().reload().unwrap();
    assert_eq!(bench.get("/v1/stats").await.status, 401);
    assert_eq!(Scope::named("all"), None);
}

#[tokio::test]
async fn wrong_tokens_are_refused_and_soon_not_even_looked_at() {
    let bench = Bench::with(|options| options.failures_per_minute = 3, |_| {}).await;
    let wrong = "GET /v1/stats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                 authorization: Bearer 0000\r\n\r\n";
    for _ in 0..3 {
        let reply = bench.raw(wrong).await;
        assert_eq!(reply.status, 401);
        assert!(reply.head.contains("www-authenticate: bearer"));
    }
    let reply = bench.raw(wrong).await;
    assert_eq!(reply.status, 429);
    assert!(reply.head.contains("retry-after: 20"), "{}", reply.head);
    bench.handles.clock.advance(Duration::from_secs(21));
    assert_eq!(bench.get("/v1/stats").await.status, 200);
}

#[tokio::test]
async fn changes_and_looks_have_limits_of_their_own() {
    let limits = |options: &mut Options| {
        options.changes_per_second = 1;
        options.reads_per_second = 2;
    };
    let bench = Bench::with(limits, |_| {}).await;
    let purge = r#"{"tags":["a"]}"#;
    assert_eq!(bench.post("/v1/purge", purge).await.status, 200);
    assert_eq!(bench.post("/v1/purge", purge).await.status, 200);
    let reply = bench.post("/v1/purge", purge).await;
    assert_eq!(reply.status, 429);
    assert!(reply.head.contains("retry-after: 1"), "{}", reply.head);
    for _ in 0..4 {
        assert_eq!(bench.get("/v1/stats").await.status, 200);
    }
    let reply = bench.get("/v1/stats").await;
    assert_eq!(reply.status, 429);
    assert!(reply.head.contains("retry-after: 1"), "{}", reply.head);
    bench.handles.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.post("/v1/purge", purge).await.status, 200);
    assert_eq!(bench.get("/v1/stats").await.status, 200);
}

#[tokio::test]
async fn a_page_of_another_site_gets_nothing() {
    let bench = Bench::start().await;
    for (what, more) in [
        ("origin", "origin: https://evil.example\r\n"),
        ("null origin", "origin: null\r\n"),
        ("cross-site fetch", "sec-fetch-site: cross-site\r\n"),
        ("same-site fetch", "sec-fetch-site: same-site\r\n"),
    ] {
        let reply = bench
            .call(
                "POST",
                "/v1/purge",
                &format!("content-type: application/json\r\n{more}"),
                r#"{"everything":true}"#,
            )
            .await;
        assert_eq!(reply.status, 403, "{what}");
    }
    let preflight =
        bench.call("OPTIONS", "/v1/purge", "origin: https://evil.example\r\n", "").await;
    assert_eq!(preflight.status, 403);
    assert!(!preflight.head.contains("access-control"));
    // A name that was made to lead here (DNS rebinding) is refused before the token.
    let rebound = "GET /healthz HTTP/1.1\r\nhost: evil.example:9090\r\nconnection: close\r\n\r\n";
    assert_eq!(bench.raw(rebound).await.status, 403);
    assert_eq!(bench.handles.ledger.seq(), 0, "nothing was purged");
    let own = "origin: http://localhost\r\nsec-fetch-site: same-origin\r\n";
    assert_eq!(bench.call("GET", "/v1/stats", own, "").await.status, 200);
}

#[tokio::test]
async fn configured_names_and_address_literals_are_ours() {
    let bench = Bench::with(|options| options.hosts = vec!["node1.lan".to_owned()], |_| {}).await;
    for (host, status) in [
        ("node1.lan:9090", 200),
        ("NODE1.lan", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:9", 200),
        ("node2.lan", 403),
        ("localhost.evil.example", 403),
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(bench.raw(&request).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn answers_cannot_be_framed_sniffed_or_stored() {
    let head = Bench::start().await.get("/v1/stats").await.head;
    for line in [
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "cache-control: no-store",
        "content-security-policy: default-src 'none'",
    ] {
        assert!(head.contains(line), "{line}: {head}");
    }
}

#[tokio::test]
async fn a_node_that_waits_says_for_what() {
    let bench = Bench::with(
        |_| {},
        |handles| handles.ready = Arc::new(|| Err("the disk index".to_owned())),
    )
    .await;
    let reply = bench.get("/readyz").await;
    assert_eq!((reply.status, reply.body.as_str()), (503, "not ready: the disk index\n"));
}

#[tokio::test]
async fn metrics_come_in_the_format_the_scraper_accepts() {
    let bench = Bench::start().await;
    bench.store("http://h:80/", &[]);
    let classic = bench.get("/metrics").await;
    assert!(classic.head.contains("text/plain; version=0.0.4"), "{}", classic.head);
    assert!(classic.body.contains("# TYPE brink_requests_total counter\n"), "{}", classic.body);
    assert!(classic.body.contains("brink_cache_objects{tier=\"memory\"} 1"), "{}", classic.body);
    assert!(!classic.body.contains("# EOF"));
    let open = bench.call("GET", "/metrics", "accept: application/openmetrics-text\r\n", "").await;
    assert!(open.head.contains("openmetrics") && open.body.contains("# EOF"));
}

#[tokio::test]
async fn a_unix_socket_serves_its_owner_and_replaces_a_dead_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let options =
        || Options { listen: Address::Unix(path.clone()), token_file: None, ..Options::default() };
    let admin = Admin::start(options(), lent()).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert!(Admin::start(options(), lent()).await.is_err(), "somebody answers on it");
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    admin.stop().await;
}

#[tokio::test]
async fn the_openapi_document_names_every_route_and_each_answers() {
    let bench = Bench::start().await;
    let document = bench.get("/v1/openapi.json").await.json();
    for route in ROUTES {
        let method = document["paths"][route.path][route.method.to_lowercase()].clone();
        assert_eq!(method["security"].is_array(), route.scope.is_some(), "{}", route.path);
        if route.method != "GET" || matches!(route.path, "/v1/log" | "/v1/warm/{id}") {
            continue;
        }
        let target = match route.path {
            "/v1/explain" => "/v1/explain?url=https://h/",
            path => path,
        };
        let reply = bench.get(target).await;
        assert_eq!(reply.status, 200, "{target}");
        let kinds = method["responses"]["200"]["content"].as_object().unwrap();
        let (kind, _) = kinds.iter().next().unwrap();
        assert!(reply.head.contains(&format!("content-type: {kind}")), "{target}: {}", reply.head);
    }
    let paths = document["paths"].as_object().unwrap().len();
    let declared: std::collections::HashSet<_> = ROUTES.iter().map(|route| route.path).collect();
    assert_eq!(paths, declared.len());
}

#[tokio::test]
async fn the_dashboard_allows_no_inline_code_and_no_other_site() {
    let bench = Bench::start().await;
    let page = bench.raw("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert_eq!(page.status, 200);
    assert!(page.head.contains("script-src 'self'"), "{}", page.head);
    assert!(!page.head.contains("unsafe-inline"));
    for inline in ["<style", "style=", "onclick", "javascript:", "http://", "https://cdn"] {
        assert!(!page.body.contains(inline), "{inline}");
    }
    assert_eq!(page.body.matches("<script").count(), 1);
}
