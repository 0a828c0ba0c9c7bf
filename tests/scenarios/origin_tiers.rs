//! Brink behind Brink (a shield), and clients that stay with their server.

use std::path::Path;

use crate::support::reply::fresh;
use crate::support::*;

fn tier(name: &str, servers: &str, dir: &Path) -> Node {
    Node::start(&format!(
        "[node]\nname = {name:?}\n[admin]\naddr = \"127.0.0.1:0\"\ntoken_file = {:?}\n\
         [[origin]]\nname = \"up\"\nservers = {servers}\n[[site]]\norigin = \"up\"\n",
        dir.join(name)
    ))
}

fn purge_all(node: &Node, token: &Path) {
    let token = std::fs::read_to_string(token).expect("the token");
    let token = token.split_whitespace().last().expect("a word");
    let body = r#"{"everything":true}"#;
    let fields = format!(
        "Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut admin = node.admin();
    admin.send(format!("POST /v1/purge HTTP/1.1\r\nHost: localhost\r\n{fields}"));
    let answer = admin.answer();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn many_edges_behind_a_shield_are_one_request_at_the_origin() {
    let (gate, dir) = (Gate::new(), tempfile::tempdir().expect("a directory"));
    let held = gate.clone();
    let origin = Origin::start(move |seen| {
        let mut reply = Reply::default().wait(&held);
        reply.steps.extend(fresh(60, format!("v{}", seen.n)).steps);
        reply
    });
    let shield = tier("shield", &format!("[\"http://{}\"]", origin.addr), dir.path());
    let servers = format!("[\"http://{}\"]", shield.plain_addr());
    let edges: Vec<Node> =
        (0..3).map(|n| tier(&format!("edge-{n}"), &servers, dir.path())).collect();
    let mut clients: Vec<Client> = (0..12).map(|n| edges[n % edges.len()].client()).collect();
    for client in &mut clients {
        client.send(client::request("GET", "/a", ""));
    }
    origin.wait_for(1);
    gate.open();
    for client in &mut clients {
        let answer = client.answer();
        answer.expect(200, "v0");
        let (first, second) = (answer.cache_status(), "; fwd=uri-miss");
        assert!(first.starts_with("shield; "), "the one nearest to the origin first: {first}");
        assert!(first.contains(", edge-") && first.contains(second), "{first}");
    }
    assert_eq!(origin.count(), 1, "twelve clients, three edges, one request");
    for edge in &edges {
        edge.client().get("/a").expect_hit("v0");
    }
    let seen = origin.request(0);
    let path = seen.field("via").unwrap_or_default();
    assert!(path.contains("edge-") && path.contains("shield"), "{path}");
    let trail = seen.field("cdn-loop").expect("both tiers name themselves");
    assert_eq!(trail.split(',').count(), 2, "{trail}");
    // Had the shield's origin sent it back to the shield, that would be the end of it.
    let answer = shield.client().get_with("/b", &format!("CDN-Loop: {trail}\r\n"));
    assert_eq!(answer.status, 508, "{}", answer.head);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_purge_goes_to_the_shield_first_and_then_to_the_edges() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = Origin::start(|seen| fresh(3600, format!("v{}", seen.n)));
    let shield = tier("shield", &format!("[\"http://{}\"]", origin.addr), dir.path());
    let servers = format!("[\"http://{}\"]", shield.plain_addr());
    let edge = tier("edge", &servers, dir.path());
    edge.client().get("/a").expect(200, "v0");
    // The wrong order: the edge fetches the old copy from the shield and keeps it.
    purge_all(&edge, &dir.path().join("edge"));
    edge.client().get("/a").expect(200, "v0");
    purge_all(&shield, &dir.path().join("shield"));
    edge.client().get("/a").expect_hit("v0");
    // The right one.
    purge_all(&shield, &dir.path().join("shield"));
    purge_all(&edge, &dir.path().join("edge"));
    edge.client().get("/a").expect(200, "v1");
}

#[test]
fn a_sticky_client_gets_its_cookie_on_private_answers_and_nobody_gets_it_from_the_cache() {
    let answers = |name: &'static str| {
        Origin::start(move |seen| match seen.target.as_str() {
            "/asset" => fresh(60, "asset"),
            "/big" => ok("Cache-Control: public, max-age=60\r\nVary: *\r\n", name),
            _ => ok("Cache-Control: private\r\n", name),
        })
    };
    let (a, b) = (answers("a"), answers("b"));
    let node = Node::start(&format!(
        "[[origin]]\nname = \"app\"\nbalance = \"sticky\"\nsticky_cookie = \"seat\"\n\
         sticky_ttl = \"1h\"\n[[origin.server]]\nname = \"a\"\nurl = \"http://{}\"\n\
         [[origin.server]]\nname = \"b\"\nurl = \"http://{}\"\n[[site]]\norigin = \"app\"\n",
        a.addr, b.addr
    ));
    let mut client = node.tls_client();
    let first = client.get("/account");
    let cookie = first.field("set-cookie").expect("the seat");
    assert!(cookie.starts_with("seat=") && cookie.ends_with("; Max-Age=3600; Secure"), "{cookie}");
    let pair = cookie.split(';').next().expect("a pair").to_owned();
    for _ in 0..8 {
        let again = client.get_with("/account", &format!("Cookie: {pair}\r\n"));
        again.expect(200, &first.text());
        assert_eq!(again.field("set-cookie"), None, "it has the cookie");
    }
    for target in ["/asset", "/asset", "/big"] {
        let answer = client.get(target);
        assert_eq!(answer.field("set-cookie"), None, "{target}: {}", answer.head);
    }
    let post = client.ask("POST", "/form", "Content-Length: 0\r\n");
    assert!(post.field("set-cookie").is_some(), "{}", post.head);
}
