//! `[[site]]` and `[[site.rule]]`: hosts, their origin, and how paths are cached.
//!
//! A site states its policy flat; a rule starts from its site's policy and changes what it
//! names. So a rule of one line is possible and nothing has to be repeated.

use std::ops::Range;
use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Table, YEAR};
use super::value::{duration, kind, texts};
use crate::rules::pieces::PIECE;
use crate::rules::site::{Match, Policy, QueryKey, Rule, Site};

/// Largest body that may be stored at all: 1 TiB.
const OBJECT_MAX: Range<u64> = 0..(1 << 40) + 1;

/// Reads every `[[site]]` of the document.
pub fn sites(root: &mut Table<'_>) -> Vec<Site> {
    root.tables("site").into_iter().map(site).collect()
}

fn site(mut table: Table<'_>) -> Site {
    let hosts: Vec<String> =
        table.list("hosts", &["*".to_owned()]).iter().map(|host| host.to_lowercase()).collect();
    if hosts.is_empty() {
        table.error("hosts", "hosts: expected at least one host, got an empty list");
    }
    let first = hosts.first().map_or("site", String::as_str).to_owned();
    let site_policy = policy(&mut table, &Policy::default());
    let rules = table.tables("rule");
    let rules =
        rules.into_iter().enumerate().map(|(n, one)| rule(one, n + 1, &site_policy)).collect();
    let site = Site {
        name: table.text_opt("name").unwrap_or(first),
        hosts,
        origin: table.text_opt("origin").unwrap_or_default(),
        host_header: table.text_opt("host_header"),
        redirect_https: table.number_opt("redirect_https", 1..65_536).map(|port| port as u16),
        rules,
        policy: site_policy,
    };
    table.end();
    site
}

fn rule(mut table: Table<'_>, number: usize, inherited: &Policy) -> Rule {
    table.inherits();
    let name = table.text_opt("name").unwrap_or_else(|| format!("rule {number}"));
    let mut when = table.table("match");
    let upper = |list: Vec<String>| list.iter().map(|m| m.to_uppercase()).collect();
    let dotless = |list: Vec<String>| {
        list.iter().map(|ext| ext.trim_start_matches('.').to_lowercase()).collect()
    };
    let matches = Match {
        prefixes: when.list("prefixes", &[]),
        extensions: dotless(when.list("extensions", &[])),
        methods: upper(when.list("methods", &[])),
    };
    for (index, prefix) in matches.prefixes.iter().enumerate() {
        if !prefix.starts_with('/') {
            when.error("prefixes", format!("prefixes: entry {index} {prefix:?} needs a first /"));
        }
    }
    when.end();
    let policy = policy(&mut table, inherited);
    table.end();
    Rule { name, matches, policy }
}

fn policy(table: &mut Table<'_>, from: &Policy) -> Policy {
    let lower = |list: Vec<String>| list.iter().map(|name| name.to_lowercase()).collect();
    // One word for both windows; whoever names a window means that one.
    let grace = table.time_opt("grace", YEAR);
    Policy {
        cache: table.flag("cache", from.cache),
        targeted: lower(table.list("targeted", &from.targeted)),
        default_ttl: table.time("default_ttl", from.default_ttl, YEAR),
        status_ttl: status_ttl(table, &from.status_ttl),
        force_ttl: table.time_opt("force_ttl", YEAR).or(from.force_ttl),
        heuristic_percent: table.number("heuristic_percent", from.heuristic_percent.into(), 0..101)
            as u32,
        heuristic_max: table.time("heuristic_max", from.heuristic_max, YEAR),
        stale_while_revalidate: table.time(
            "stale_while_revalidate",
            grace.unwrap_or(from.stale_while_revalidate),
            YEAR,
        ),
        stale_if_error: table.time("stale_if_error", grace.unwrap_or(from.stale_if_error), YEAR),
        store_close_delimited: table.flag("store_close_delimited", from.store_close_delimited),
        store_set_cookie: table.flag("store_set_cookie", from.store_set_cookie),
        replay_set_cookie: table.flag("replay_set_cookie", from.replay_set_cookie),
        honour_client_no_cache: table.flag("honour_client_no_cache", from.honour_client_no_cache),
        query: query(table, &from.query),
        encodings: lower(table.list("encodings", &from.encodings)),
        languages: lower(table.list("languages", &from.languages)),
        variants_max: table.number("variants_max", from.variants_max as u64, 1..1_001) as usize,
        tag_fields: lower(table.list("tag_fields", &from.tag_fields)),
        object_max: table.size("object_max", from.object_max, OBJECT_MAX),
        pieces_from: table.size("pieces_from", from.pieces_from, PIECE..OBJECT_MAX.end),
    }
}

fn status_ttl(table: &mut Table<'_>, from: &[(u16, Duration)]) -> Vec<(u16, Duration)> {
    let read = |value: &DeValue<'_>| {
        let expected = "expected a table such as { \"404\" = \"1m\" }";
        let DeValue::Table(pairs) = value else {
            return Err(format!("{expected}, got {}", kind(value)));
        };
        let pair = |(status, time): (&_, &_)| pair(status, time, expected);
        pairs.iter().map(pair).collect::<Result<Vec<_>, String>>()
    };
    table.read("status_ttl", Some("{}".to_owned()), read).unwrap_or_else(|| from.to_vec())
}

fn pair(
    status: &toml::Spanned<std::borrow::Cow<'_, str>>,
    time: &toml::Spanned<DeValue<'_>>,
    expected: &str,
) -> Result<(u16, Duration), String> {
    let status = status.get_ref();
    let code: u16 = status.parse().map_err(|_| format!("{expected}, got status {status:?}"))?;
    if !(200..600).contains(&code) {
        return Err(format!("expected a status from 200 to 599, got {code}"));
    }
    Ok((code, duration(time.get_ref(), YEAR)?))
}

fn query(table: &mut Table<'_>, from: &QueryKey) -> QueryKey {
    let expected = "expected \"all\", \"none\", \"sorted\", { only = [...] } or { except = [...] }";
    let read = |value: &DeValue<'_>| match value {
        DeValue::String(word) => match word.as_ref() {
            "all" => Ok(QueryKey::All),
            "none" => Ok(QueryKey::None),
            "sorted" => Ok(QueryKey::Sorted),
            other => Err(format!("{expected}, got {other:?}")),
        },
        DeValue::Table(one) if one.len() == 1 => {
            let names = |key: &str| one.get(key).map(|names| texts(names.get_ref())).transpose();
            match (names("only")?, names("except")?) {
                (Some(names), _) => Ok(QueryKey::Only(names)),
                (_, Some(names)) => Ok(QueryKey::Except(names)),
                _ => Err(expected.to_owned()),
            }
        }
        other => Err(format!("{expected}, got {}", kind(other))),
    };
    table.read("query", Some("\"all\"".to_owned()), read).unwrap_or_else(|| from.clone())
}
