//! Promises P2 and P5: what is private reaches nobody else, and errors do not stick.

use crate::support::reply::{fresh, status};
use crate::support::*;

/// Two clients ask for one target; true if the second got the first one's answer.
fn shared(origin: &Origin, node: &Node, fields: &str) -> bool {
    node.client().get_with("/a", fields);
    let second = node.client().get_with("/a", fields);
    assert_eq!(second.is_hit(), origin.count() == 1, "{}", second.head);
    origin.count() == 1
}

/// Whether an answer with these header lines is kept for the next client.
fn kept(lines: &str) -> bool {
    kept_for(lines, "")
}

fn kept_for(lines: &str, request: &str) -> bool {
    let lines = lines.to_owned();
    let origin = Origin::start(move |seen| ok(&lines, format!("{}", seen.n)));
    let node = Node::before(&origin);
    shared(&origin, &node, request)
}

#[test]
fn what_the_origin_calls_private_is_not_kept() {
    assert!(kept("Cache-Control: max-age=60\r\n"), "the control case");
    for value in [
        "private",
        "no-store",
        "private, max-age=60",
        "max-age=60, no-store",
        "PRIVATE, max-age=60",
        "No-Store",
        "max-age=60,private",
        "max-age=60 , private",
        "public, private, max-age=60",
        "max-age=60, private=\"x",
        "max-age=60, no-store=1",
        "no-store;max-age=60, no-store",
    ] {
        assert!(!kept(&format!("Cache-Control: {value}\r\n")), "{value}");
    }
    assert!(!kept("Cache-Control: max-age=60\r\nCache-Control: private\r\n"), "two lines");
}

#[test]
fn a_set_cookie_is_not_kept() {
    assert!(!kept("Cache-Control: max-age=60\r\nSet-Cookie: id=1\r\n"));
    assert!(!kept("Cache-Control: public, s-maxage=60\r\nSet-Cookie: id=1\r\n"));
    assert!(!kept("Cache-Control: max-age=60\r\nSet-Cookie2: id=1\r\n"));
}

#[test]
fn a_field_for_the_one_who_asked_reaches_that_client_and_nobody_else() {
    for (directive, name) in [
        ("no-cache=\"Set-Cookie\"", "set-cookie"),
        ("private=\"x-own, set-cookie\"", "set-cookie"),
        ("private=\"X-Own\"", "x-own"),
    ] {
        let control = format!("Cache-Control: max-age=60, {directive}\r\n");
        let origin =
            Origin::start(move |seen| ok(&format!("{control}{name}: {}\r\n", seen.n), "x"));
        let node = Node::before(&origin);
        for n in ["0", "1"] {
            let answer = node.client().get("/a");
            assert_eq!(answer.field(name).as_deref(), Some(n), "{directive}: {}", answer.head);
        }
    }
}

#[test]
fn an_answer_to_authorization_is_kept_only_if_it_says_so() {
    let auth = "Authorization: Basic dTpw\r\n";
    assert!(!kept_for("Cache-Control: max-age=60\r\n", auth));
    assert!(!kept_for("Cache-Control: max-age=60, max-age=60\r\n", auth));
    assert!(kept_for("Cache-Control: public, max-age=60\r\n", auth));
    assert!(kept_for("Cache-Control: s-maxage=60\r\n", auth));
}

#[test]
fn an_answer_to_one_user_is_not_given_to_another() {
    let origin = Origin::start(|seen| {
        fresh(60, seen.field("authorization").unwrap_or_else(|| "nobody".into()))
    });
    let node = Node::before(&origin);
    node.client().get_with("/a", "Authorization: alice\r\n").expect_miss("alice");
    node.client().get_with("/a", "Authorization: bob\r\n").expect_miss("bob");
    node.client().get("/a").expect_miss("nobody");
}

#[test]
fn waiters_of_a_private_answer_each_get_their_own() {
    let gate = Gate::new();
    let waiting = gate.clone();
    let origin = Origin::start(move |seen| {
        let user = seen.field("cookie").unwrap_or_default();
        let answer = ok("Cache-Control: private\r\n", &user);
        let Reply { steps } = answer;
        steps.into_iter().fold(Reply::default().wait(&waiting), |mut reply, step| {
            reply.steps.push(step);
            reply
        })
    });
    let node = Node::before(&origin);
    let mut clients: Vec<Client> = (0..8)
        .map(|n| {
            let mut client = node.client();
            client.send(client::request("GET", "/me", &format!("Cookie: user{n}\r\n")));
            client
        })
        .collect();
    origin.wait_for(1);
    gate.open();
    for (n, client) in clients.iter_mut().enumerate() {
        client.answer().expect(200, &format!("user{n}"));
    }
    assert_eq!(origin.count(), 8);
}

#[test]
fn only_get_is_answered_from_the_cache_and_only_safe_methods_keep_it() {
    let origin = Origin::start(|seen| fresh(60, format!("{} {}", seen.method, seen.n)));
    let node = Node::before(&origin);
    node.client().get("/a").expect_miss("GET 0");
    assert!(!node.client().ask("POST", "/a", "Content-Length: 0\r\n").is_hit());
    node.client().get("/a").expect_miss("GET 2");
    assert!(!node.client().ask("FROBNICATE", "/b", "").is_hit());
    assert!(!node.client().ask("FROBNICATE", "/b", "").is_hit());
    node.client().get("/b").expect_miss("GET 5");
    assert!(!node.client().ask("OPTIONS", "/b", "").is_hit());
}

#[test]
fn a_head_request_is_answered_from_a_stored_get() {
    let origin = Origin::start(|_| fresh(60, "body"));
    let node = Node::before(&origin);
    node.client().get("/a").expect_miss("body");
    let mut client = node.client();
    let head = client.ask("HEAD", "/a", "");
    assert!(head.is_hit(), "{}", head.head);
    assert_eq!(head.field("content-length").as_deref(), Some("4"));
    client.get("/a").expect_hit("body");
    assert_eq!(origin.count(), 1);
}

#[test]
fn an_answer_to_head_is_never_given_to_a_get() {
    let origin = Origin::start(|seen| match seen.method.as_str() {
        "HEAD" => {
            reply("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\n")
        }
        _ => fresh(60, "body"),
    });
    let node = Node::before(&origin);
    assert_eq!(node.client().ask("HEAD", "/a", "").status, 200);
    node.client().get("/a").expect(200, "body");
    node.client().get("/a").expect_hit("body");
}

#[test]
fn errors_without_explicit_freshness_do_not_stick() {
    for line in ["400 Bad Request", "403 Forbidden", "431 X", "500 X", "502 X", "503 X", "504 X"] {
        let origin = Origin::start(move |seen| status(line, "", format!("{}", seen.n)));
        let node = Node::before(&origin);
        assert!(!shared(&origin, &node, ""), "{line}");
    }
}

#[test]
fn errors_of_the_node_do_not_stick() {
    let origin = Origin::start(|seen| match seen.n {
        0 => reply("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").cut(),
        _ => fresh(60, "fine"),
    });
    let node = Node::before(&origin);
    assert_eq!(node.client().get("/a").status, 502);
    node.client().get("/a").expect_miss("fine");
    node.client().get("/a").expect_hit("fine");
    assert_eq!(node.client().get_with("/a", &"X: 1\r\n".repeat(2000)).status, 431);
    node.client().get("/a").expect_hit("fine");
}

#[test]
fn client_fields_an_origin_could_reflect_are_overwritten_or_dropped() {
    let origin = Origin::start(|seen| fresh(60, &seen.head));
    let node = Node::before(&origin);
    let fields = "X-Forwarded-Host: evil\r\nX-Forwarded-Proto: evil\r\nX-Forwarded-For: evil\r\n\
                  Forwarded: host=evil\r\nX-Host: evil\r\nX-Original-URL: /evil\r\n\
                  X-Rewrite-URL: /evil\r\nX-Forwarded-Port: evil\r\nX-Forwarded-Scheme: evil\r\n\
                  X-Forwarded-Server: evil\r\nX-HTTP-Method-Override: evil\r\nX-Real-IP: evil\r\n\
                  X-Http-Method: evil\r\nX-Method-Override: evil\r\nX-Original-Host: evil\r\n\
                  X-Forward-For: evil\r\nX-Forwarder-For: evil\r\nClient-IP: evil\r\n\
                  X-Scheme: evil\r\nX-Backend-Host: evil\r\nX-Proxy-Url: evil\r\n\
                  X-HTTP-Path-Override: evil\r\nX-Remote-User: evil\r\nRemote-User: evil\r\n\
                  X-Middleware-Subrequest: evil\r\nX-Invoke-Path: evil\r\nX_Host: evil\r\n\
                  X-Originating-IP: evil\r\nX-Azure-ClientIP: evil\r\nProxy: evil\r\n";
    let answer = node.client().get_with("/a", fields);
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("evil"), "{}", answer.text());
    let seen = origin.request(0);
    assert_eq!(seen.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-host").as_deref(), Some("site.test"));
    assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some("http"));
    assert!(seen.field("via").is_some());
}

#[test]
fn what_an_origin_is_told_about_the_client_is_a_setting() {
    let origin = Origin::start(|_| fresh(60, "told"));
    let evil = "X-Forwarded-For: evil\r\nForwarded: for=evil\r\n";
    let words = [("x-forwarded", true, false), ("forwarded", false, true), ("both", true, true)];
    for (n, (word, x_forwarded, forwarded)) in
        words.into_iter().chain([("none", false, false)]).enumerate()
    {
        let node = Node::with(&origin, "", &format!("[node]\nforwarded = \"{word}\""));
        node.client().get_with("/a", evil).expect_miss("told");
        let seen = origin.request(n);
        let old = x_forwarded.then_some("127.0.0.1");
        assert_eq!(seen.field("x-forwarded-for").as_deref(), old, "{word}");
        let new = seen.field("forwarded");
        assert_eq!(new.is_some(), forwarded, "{word}");
        let told = new.is_none_or(|new| new.contains("for=127.0.0.1") && !new.contains("evil"));
        assert!(told, "{word}");
    }
}

#[test]
fn a_get_with_a_body_does_not_poison_the_key() {
    let origin =
        Origin::start(|seen| fresh(60, format!("<{}>", String::from_utf8_lossy(&seen.body))));
    let node = Node::before(&origin);
    let mut client = node.client();
    client.send(client::request("GET", "/a", "Content-Length: 4\r\n")).send("evil");
    assert_eq!(client.answer().status, 200);
    node.client().get("/a").expect(200, "<>");
}

#[test]
fn a_body_sent_with_a_hit_is_not_the_next_request() {
    let origin = Origin::start(|seen| fresh(60, &seen.target));
    let node = Node::before(&origin);
    node.client().get("/a").expect_miss("/a");
    let smuggled = client::request("GET", "/smuggled", "");
    for fields in [
        format!("Content-Length: {}\r\n", smuggled.len()),
        "Transfer-Encoding: chunked\r\n".to_owned(),
    ] {
        let mut client = node.client();
        client.send(client::request("GET", "/a", &fields));
        if fields.starts_with('T') {
            client.send(format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len()));
        } else {
            client.send(&smuggled);
        }
        client.answer().expect(200, "/a");
        client.send(client::request("GET", "/next", ""));
        if let Some(next) = client.try_answer("GET") {
            next.expect(200, "/next");
        }
    }
    assert!(!origin.requests().iter().any(|seen| seen.target == "/smuggled"));
}

#[test]
fn unsafe_methods_invalidate_their_own_target_only() {
    let origin = Origin::start(|seen| match seen.method.as_str() {
        "POST" => ok("Location: http://other.test/b\r\nContent-Location: /c\r\n", ""),
        _ => fresh(60, format!("{}", seen.n)),
    });
    let node = Node::before(&origin);
    let on_other = "GET /b HTTP/1.1\r\nHost: other.test\r\n\r\n";
    node.client().get("/a").expect_miss("0");
    node.client().send(on_other).answer().expect_miss("1");
    node.client().get("/c").expect_miss("2");
    node.client().ask("POST", "/a", "Content-Length: 0\r\n").expect(200, "");
    node.client().get("/a").expect_miss("4");
    node.client().send(on_other).answer().expect_hit("1");
}

#[test]
fn a_failed_unsafe_method_invalidates_nothing() {
    let origin = Origin::start(|seen| match seen.method.as_str() {
        "POST" => status("500 Oops", "", ""),
        _ => fresh(60, "kept"),
    });
    let node = Node::before(&origin);
    node.client().get("/a").expect_miss("kept");
    node.client().ask("POST", "/a", "Content-Length: 0\r\n").expect(500, "");
    node.client().get("/a").expect_hit("kept");
}
