//! What the admin API tells of a running node: objects of both tiers, explain, warming by
//! sitemap, sweeps.

use crate::support;
use crate::support::client::HOST;
use crate::support::*;

struct World {
    _origin: Origin,
    node: Node,
    token: String,
    dir: tempfile::TempDir,
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
    let world = World { _origin: origin, node, token, dir };
    eventually("the disk tier joins", || world.call("GET", "/readyz", "").contains("ready"));
    world
}

impl World {
    /// Name of the origin's only server, as a part of a path.
    fn server(&self) -> String {
        let text = self.call("GET", "/v1/origins", "");
        let origins: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let name = origins["origins"][0]["servers"][0]["name"].as_str().unwrap_or_default();
        name.replace(':', "%3A").replace('/', "%2F")
    }

    /// The body of a GET that is refused as wrong.
    fn refused(&self, target: &str) -> String {
        let mut client = self.node.admin();
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
            self.token
        ));
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{target}");
        answer.text().to_string()
    }

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

/// A call of the API, and the route of the document that it is one of.
const CALLS: &[(&str, &str, &str, &str)] = &[
    ("GET", "/v1/stats", "/v1/stats", ""),
    ("GET", "/v1/history", "/v1/history", ""),
    ("GET", "/v1/disk", "/v1/disk", ""),
    ("PUT", "/v1/disk", "/v1/disk", "{\"directory\":\"the-disk\",\"state\":\"ready\"}"),
    ("GET", "/v1/objects?limit=3", "/v1/objects", ""),
    ("GET", "/v1/objects?tier=disk", "/v1/objects", ""),
    ("GET", "/v1/explain?url=http://{}/a", "/v1/explain", ""),
    ("GET", "/v1/explain?url=http://{}/map.xml", "/v1/explain", ""),
    ("GET", "/v1/explain?url=http://{}/never", "/v1/explain", ""),
    ("GET", "/v1/top?by=miss_bytes", "/v1/top", ""),
    ("GET", "/v1/origins", "/v1/origins", ""),
    (
        "PUT",
        "/v1/origins/app/servers/app-server",
        "/v1/origins/{origin}/servers/{server}",
        "{\"state\":\"drain\"}",
    ),
    (
        "PUT",
        "/v1/origins/app/servers/app-server",
        "/v1/origins/{origin}/servers/{server}",
        "{\"state\":\"up\",\"weight\":3}",
    ),
    ("PUT", "/v1/origins/app", "/v1/origins/{origin}", "{\"switch_to\":\"app\"}"),
    ("POST", "/v1/warm", "/v1/warm", "http://{}/w/9\n"),
    ("GET", "/v1/warm", "/v1/warm", ""),
    ("GET", "/v1/warm/1", "/v1/warm/{id}", ""),
    ("DELETE", "/v1/warm/1", "/v1/warm/{id}", ""),
    ("POST", "/v1/purge", "/v1/purge", "{\"everything\":true,\"dry_run\":true}"),
    ("POST", "/v1/purge", "/v1/purge", "{\"urls\":[\"http://{}/a\"]}"),
    ("GET", "/v1/explain?url=http://{}/a", "/v1/explain", ""),
    ("GET", "/v1/purges?since=0", "/v1/purges", ""),
    ("GET", "/v1/audit", "/v1/audit", ""),
];

#[test]
fn the_running_api_answers_as_its_document_says() {
    let world = world();
    for path in ["/a", "/map.xml", "/a", "/b"] {
        world.node.client().get(path);
    }
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let document = parse(&world.call("GET", "/v1/openapi.json", ""));
    let mut checked = std::collections::BTreeSet::new();
    for (method, target, path, body) in CALLS {
        let (target, body) = (target.replace("{}", HOST), body.replace("{}", HOST));
        let target = match target.contains("app-server") {
            true => target.replace("app-server", &world.server()),
            false => target,
        };
        let disk = world.dir.path().join("disk").display().to_string();
        let answer = parse(&world.call(method, &target, &body.replace("the-disk", &disk)));
        let operation = &document["paths"][path][method.to_lowercase()];
        let done = operation["responses"].as_object().and_then(|all| all.iter().next());
        let (_, done) = done.unwrap_or_else(|| panic!("{method} {path} is in the document"));
        let schema = &done["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} has a schema");
        let wrong = support::schema::departs(&document, schema, &answer, path);
        assert!(wrong.is_empty(), "{method} {target}: {wrong:#?}");
        checked.insert((method.to_lowercase(), *path));
    }
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let content = &operation["responses"]["200"]["content"]["application/json"];
            let has_schema = content["schema"].is_object();
            let seen = checked.contains(&(method.clone(), path.as_str()));
            assert!(seen || !has_schema, "{method} {path} is not tried here");
        }
    }
    let refused = parse(&world.refused("/v1/objects?limit=many"));
    let schema = serde_json::json!({"$ref": "#/components/schemas/Error"});
    let wrong = support::schema::departs(&document, &schema, &refused, "error");
    assert!(wrong.is_empty(), "{wrong:?}");
}
