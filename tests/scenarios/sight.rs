//! What the admin API tells of a running node: objects of both tiers, explain, warming by
//! sitemap, sweeps.

use crate::support::client::HOST;
use crate::support::*;

struct World {
    _origin: Origin,
    node: Node,
    token: String,
    _dir: tempfile::TempDir,
}

/// A node with an admin listener, little memory, and a disk tier that takes everything.
fn world() -> World {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = Origin::start(|seen| match &*seen.target {
        "/map.xml" => ok(
            "Cache-Control: no-store\r\nContent-Type: application/xml\r\n",
            format!("<urlset><loc>http://{HOST}/w/1</loc><loc>http://{HOST}/w/2</loc></urlset>"),
        ),
        _ => ok("Cache-Control: max-age=600\r\nSurrogate-Key: all\r\n", "x".repeat(100_000)),
    });
    let node = Node::start(&format!(
        "[admin]\naddr = \"127.0.0.1:0\"\ntoken_file = {:?}\n[memory]\ncapacity = \"1MiB\"\n\
         [disk]\nadmit = \"all\"\n[[disk.directory]]\npath = {:?}\ncapacity = \"64MiB\"\n\
         [[origin]]\nname = \"app\"\nservers = [\"http://{}\"]\n[[site]]\norigin = \"app\"\n",
        dir.path().join("token"),
        dir.path().join("disk"),
        origin.addr
    ));
    let token = std::fs::read_to_string(dir.path().join("token")).expect("the token file");
    let token = token.split_whitespace().last().unwrap_or_default().to_owned();
    let world = World { _origin: origin, node, token, _dir: dir };
    eventually("the disk tier joins", || world.call("GET", "/readyz", "").contains("ready"));
    world
}

impl World {
    fn call(&self, method: &str, target: &str, body: &str) -> String {
        let mut client = self.node.admin();
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        ));
        let answer = client.answer();
        assert!(answer.status < 300 || answer.status == 503, "{target}: {}", answer.text());
        answer.text().to_string()
    }
}

#[test]
fn objects_of_both_tiers_are_listed_once_each_and_purged_from_both() {
    let world = world();
    let mut client = world.node.client();
    for n in 0..20 {
        client.get(&format!("/o/{n:02}"));
    }
    let count = |tier: &str| {
        let text = world.call("GET", &format!("/v1/objects?tag=all&limit=100{tier}"), "");
        text.matches("\"url\":").count()
    };
    eventually("all are on disk", || count("&tier=disk") == 20);
    assert!((1..20).contains(&count("&tier=memory")), "memory holds some");
    assert_eq!(count(""), 20, "each is listed once");
    let first = world.call("GET", "/v1/objects?tier=disk&limit=5", "");
    assert_eq!(first.matches("\"status\":200").count(), 5, "{first}");
    let after = format!("/v1/objects?limit=100&after=http://{HOST}:80/o/04");
    assert_eq!(world.call("GET", &after, "").matches("\"url\":").count(), 15);
    let purged = world.call("POST", "/v1/purge", "{\"tags\":[\"all\"],\"wait_ms\":30000}");
    assert!(purged.contains("\"matched\":20,"), "{purged}");
    assert_eq!(count(""), 0);
}

#[test]
fn explain_names_every_tier_that_holds_an_answer() {
    let world = world();
    world.node.client().get("/a");
    let explain = || world.call("GET", &format!("/v1/explain?url=http://{HOST}/a"), "");
    eventually("it is on disk", || explain().contains("\"disk\""));
    let text = explain();
    assert!(text.contains("\"tiers\":[\"memory\",\"disk\"]"), "{text}");
    assert!(text.contains("\"tags\":[\"all\"]"), "{text}");
}

#[test]
fn a_sitemap_is_fetched_through_the_node_and_its_pages_are_hits_then() {
    let world = world();
    let call = format!("{{\"sitemap\":\"http://{HOST}/map.xml\"}}");
    let job = world.call("POST", "/v1/warm", &call);
    assert!(job.contains("\"id\":1"), "{job}");
    eventually("the job is done", || world.call("GET", "/v1/warm/1", "").contains("\"done\":2"));
    assert!(world.node.client().get("/w/1").is_hit());
    assert!(world.node.client().get("/w/2").is_hit());
}
