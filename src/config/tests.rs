//! What the reader of the configuration promises its user.

use std::path::Path;
use std::time::Duration;

use super::{Outcome, RunFlags, Severity, from_flags, parse};
use crate::rules::site::QueryKey;

const SMALL: &str = r#"
[[listen]]
addr = "127.0.0.1:8080"
[[origin]]
name = "app"
servers = ["http://127.0.0.1:3000"]
[[site]]
hosts = ["example.com"]
origin = "app"
"#;

fn read(text: &str) -> Outcome {
    parse(text, "node.toml", Path::new("/etc/brink"))
}

fn errors(outcome: &Outcome) -> Vec<String> {
    outcome.problems.iter().map(|problem| problem.message.clone()).collect()
}

#[test]
fn a_small_file_gives_a_site_with_default_policy() {
    let config = read(SMALL).into_result().unwrap();
    assert_eq!(config.sites[0].name, "example.com");
    assert!(config.sites[0].policy.cache);
    let server = &config.origins[0].servers[0].address;
    assert_eq!(*server, "http://127.0.0.1:3000".parse().unwrap());
}

#[test]
fn a_rule_starts_from_the_policy_of_its_site() {
    let text = format!(
        "{SMALL}default_ttl = \"1m\"\nquery = {{ except = [\"utm_*\"] }}\n[[site.rule]]\n\
         match = {{ extensions = [\".CSS\"] }}\nforce_ttl = \"1h\"\n"
    );
    let config = read(&text).into_result().unwrap();
    let rule = &config.sites[0].rules[0];
    assert_eq!(rule.name, "rule 1");
    assert_eq!(rule.matches.extensions, ["css"]);
    assert_eq!(rule.policy.default_ttl, Duration::from_secs(60));
    assert_eq!(rule.policy.force_ttl, Some(Duration::from_secs(3600)));
    assert_eq!(rule.policy.query, QueryKey::Except(vec!["utm_*".to_owned()]));
    assert_eq!(config.sites[0].policy.force_ttl, None);
}

#[test]
fn all_problems_of_a_file_are_reported_at_once_with_their_lines() {
    let text = format!(
        "{}\n[node]\nname = 7\nthreds = 2\n[memory]\ncapacity = \"1 apple\"\n",
        SMALL.replace("origin = \"app\"", "origin = \"ap\"")
    );
    let outcome = read(&text);
    assert_eq!(outcome.errors(), 4, "{}", outcome.render());
    let shown = outcome.render();
    assert!(
        shown.contains("node.toml:9:10: error: site \"example.com\": there is no origin \"ap\"")
    );
    assert!(shown.contains("did you mean \"app\"?"), "{shown}");
    assert!(shown.contains("node.toml:12:8: error: name: expected a text"), "{shown}");
    assert!(shown.contains("unknown setting \"threds\" in [node]"), "{shown}");
    assert!(shown.contains("did you mean \"threads\"?"), "{shown}");
    assert!(shown.contains("15 | capacity = \"1 apple\"\n     |            ^^^^^^^^^"), "{shown}");
}

#[test]
fn broken_toml_is_an_error_with_its_place() {
    let outcome = read("[node\nname = \"x\"\n");
    assert!(outcome.errors() >= 1);
    assert!(outcome.render().contains("node.toml:1:"), "{}", outcome.render());
}

#[test]
fn a_host_served_twice_and_an_origin_without_servers_are_errors() {
    let text = format!(
        "{SMALL}[[site]]\nhosts = [\"EXAMPLE.com\"]\norigin = \"app\"\n[[origin]]\nname = \"b\"\n"
    );
    let found = errors(&read(&text)).join("\n");
    assert!(found.contains("host \"example.com\" is served twice"), "{found}");
    assert!(found.contains("origin \"b\" has no servers"), "{found}");
}

#[test]
fn an_admin_listener_on_a_public_address_is_a_warning_and_no_error() {
    let outcome = read(&format!("{SMALL}[admin]\naddr = \"0.0.0.0:8090\"\n"));
    assert_eq!(outcome.errors(), 0);
    assert_eq!(outcome.problems[0].severity, Severity::Warning);
    assert!(outcome.config.is_some());
}

#[test]
fn flags_give_a_site_for_any_host_and_a_throw_away_certificate() {
    let flags = RunFlags {
        origin: "http://127.0.0.1:3000".to_owned(),
        listen_tls: vec!["127.0.0.1:0".to_owned()],
        memory: Some("64MiB".to_owned()),
        ..RunFlags::default()
    };
    let config = from_flags(&flags).into_result().unwrap();
    assert_eq!(config.sites[0].hosts, ["*"]);
    assert!(config.front.listeners[0].tls);
    assert!(config.tls.throw_away.contains(&"localhost".to_owned()));
    assert_eq!(config.memory.capacity.bytes(), 64 << 20);
}

#[test]
fn a_bad_flag_is_named_with_what_was_expected() {
    let flags = RunFlags {
        origin: "ftp://x".to_owned(),
        admin: Some("8090".to_owned()),
        cert: Some("c.pem".into()),
        ..RunFlags::default()
    };
    let outcome = from_flags(&flags);
    let found = errors(&outcome).join("\n");
    assert!(found.contains("--admin: expected an address and port"), "{found}");
    assert!(found.contains("--cert and --key must be given together"), "{found}");
    assert!(found.contains("--origin: expected an origin such as"), "{found}");
}

#[test]
fn sizes_beyond_the_machine_and_addresses_given_twice_are_errors() {
    let text = format!(
        "{SMALL}[[listen]]\naddr = \"127.0.0.1:8080\"\n[memory]\ncapacity = \"900TiB\"\n\
         [disk]\n[[disk.directory]]\npath = \"c\"\ncapacity = \"1GiB\"\n\
         [[disk.directory]]\npath = \"c\"\ncapacity = \"1GiB\"\n"
    );
    let found = errors(&read(&text)).join("\n");
    assert!(found.contains("but this machine has"), "{found}");
    assert!(found.contains("127.0.0.1:8080 is listened on twice"), "{found}");
    assert!(found.contains("directory /etc/brink/c is used twice"), "{found}");
}

#[test]
fn unsafe_settings_of_a_policy_are_warned_about_where_they_stand() {
    let text = format!(
        "{SMALL}object_max = \"900GiB\"\n[[site.rule]]\nstore_set_cookie = true\n\
         replay_set_cookie = true\n"
    );
    let outcome = read(&text);
    assert_eq!(outcome.errors(), 0, "{}", outcome.render());
    let places: Vec<_> = outcome.problems.iter().map(|problem| problem.path.as_str()).collect();
    for wanted in ["site[0].object_max", "site[0].rule[0].store_set_cookie"] {
        assert!(places.contains(&wanted), "{places:?}");
    }
    assert!(outcome.render().contains("one client's cookie is given to everybody"));
}

#[test]
fn a_certificate_whose_key_does_not_fit_is_an_error_at_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    std::fs::write(dir.path().join("a.pem"), made("a.test").cert.pem()).unwrap();
    std::fs::write(dir.path().join("b.key"), made("b.test").signing_key.serialize_pem()).unwrap();
    let text = format!("{SMALL}[[tls.certificate]]\ncert = \"a.pem\"\nkey = \"b.key\"\n");
    let outcome = parse(&text, "node.toml", dir.path());
    let shown = outcome.render();
    assert!(shown.contains("do not fit"), "{shown}");
    assert!(shown.contains("node.toml:10:"), "{shown}");
}
