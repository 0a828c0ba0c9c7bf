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
