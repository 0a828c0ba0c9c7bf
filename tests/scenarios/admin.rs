//! Promise P10: the admin API is for those who hold a token, and nothing of it is
//! reachable through the public listener.

use crate::support::*;

fn world() -> (Origin, Node, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory for the token");
    let origin = Origin::start(|seen| reply::fresh(60, &seen.target));
    let node = Node::with_admin(&origin, dir.path());
    (origin, node, dir)
}

#[track_caller]
fn status(node: &Node, method: &str, target: &str, fields: &str) -> u16 {
    let mut client = node.admin();
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
    client.try_answer(method).expect("an answer").status
}

#[test]
fn health_needs_no_token_and_everything_else_does() {
    let (_origin, node, _dir) = world();
    assert_eq!(status(&node, "GET", "/healthz", ""), 200);
    assert_eq!(status(&node, "GET", "/readyz", ""), 200);
    for (method, target) in [
        ("GET", "/metrics"),
        ("GET", "/v1/stats"),
        ("POST", "/v1/purge"),
        ("GET", "/v1/log"),
        ("GET", "/v1/origins"),
        ("GET", "/v1/none"),
    ] {
        let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        assert_eq!(status(&node, method, target, length), 401, "{target}");
    }
}

#[test]
fn a_wrong_token_is_refused_and_soon_slowed_down() {
    let (_origin, node, _dir) = world();
    let mut last = 401;
    for _ in 0..200 {
        last = status(&node, "GET", "/v1/stats", "Authorization: Bearer wrong\r\n");
        assert!(matches!(last, 401 | 429), "{last}");
    }
    assert_eq!(last, 429);
}

#[test]
fn the_token_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (_origin, _node, dir) = world();
    let mode = std::fs::metadata(dir.path().join("token")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_browser_on_another_page_cannot_use_it() {
    let (_origin, node, dir) = world();
    let text = std::fs::read_to_string(dir.path().join("token")).expect("the file");
    let token = text.split_whitespace().last().unwrap_or_default();
    let auth = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(status(&node, "GET", "/v1/stats", &auth), 200);
    let origin = format!("{auth}Origin: http://evil.test\r\n");
    assert!(matches!(status(&node, "GET", "/v1/stats", &origin), 403 | 401));
    let mut client = node.admin();
    client.send(format!("GET /v1/stats HTTP/1.1\r\nHost: evil.test\r\n{auth}\r\n"));
    assert!(matches!(client.answer().status, 400 | 403 | 421), "DNS rebinding");
}

#[test]
fn the_public_listener_knows_nothing_of_it() {
    let (_origin, node, _dir) = world();
    for target in ["/healthz", "/metrics", "/v1/stats"] {
        node.client().get(target).expect(200, target);
    }
}

#[test]
fn a_client_may_purge_only_from_a_listed_network_with_the_token() {
    let (_origin, node, dir) = world();
    let mut client = node.client();
    client.send("PURGE /a HTTP/1.1\r\nHost: site.test\r\n\r\n");
    let refused = client.answer();
    assert_eq!(refused.status, 405, "nobody is listed");
    assert!(refused.field("allow").is_some(), "{}", refused.head);
    drop((client, node, dir));

    let dir = tempfile::tempdir().expect("a directory for the token");
    let origin = Origin::start(|seen| reply::fresh(60, seen.n.to_string()));
    let node = Node::with_admin_lines(&origin, dir.path(), "purge_networks = [\"127.0.0.0/8\"]");
    node.client().get("/a").expect_miss("0");
    let purge = |auth: &str| {
        let host = client::HOST;
        let mut client = node.client();
        client.send(format!("PURGE /a HTTP/1.1\r\nHost: {host}\r\n{auth}\r\n"));
        client.answer()
    };
    assert_eq!(purge("").status, 401);
    assert_eq!(purge("Authorization: Bearer wrong\r\n").status, 401);
    node.client().get("/a").expect_hit("0");
    let text = std::fs::read_to_string(dir.path().join("token")).expect("the file");
    let token = text.split_whitespace().last().unwrap_or_default().to_owned();
    let done = purge(&format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(done.text().contains("\"matched\":1"), "{}", done.text());
    node.client().get("/a").expect_miss("1");
    // Nothing else of the API is to be had here, token or not.
    let mut client = node.client();
    let host = client::HOST;
    client.send(format!(
        "POST /v1/purge HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 19\r\n\r\n{{\"everything\":true}}"
    ));
    client.answer().expect(200, "2");
    node.client().get("/a").expect_hit("1");
}
