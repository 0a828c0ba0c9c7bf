//! Sites and their rules: which hosts are served, and how each path is cached.
//!
//! Plain data, filled by `config`. A site is found by host (exact, then the longest
//! `*.` wildcard, then the default); inside it the first rule that matches a request
//! gives its policy, and `explain` names that rule.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::asked::Asked;

/// One website.
#[derive(Clone, Debug)]
pub struct Site {
    /// Name for log, metrics and the admin API; the first host by default.
    pub name: String,
    /// Hosts served: `example.com`, `*.example.com` or `*` for any.
    pub hosts: Vec<String>,
    /// Name of the origin group that is asked.
    pub origin: String,
    /// `Host` sent to the origin; the client's host when not set.
    pub host_header: Option<String>,
    /// Answer plain HTTP with a 308 to HTTPS on this port.
    pub redirect_https: Option<u16>,
    /// Rules in order; the first match wins.
    pub rules: Vec<Rule>,
    /// Policy when no rule matches.
    pub policy: Policy,
}

/// All sites of a node, by host.
#[derive(Clone, Debug, Default)]
pub struct Sites {
    /// Exact hosts, and `.example.com` for `*.example.com`; lower case.
    by_host: HashMap<String, Arc<Site>>,
    any: Option<Arc<Site>>,
    all: Vec<Arc<Site>>,
}

impl Sites {
    /// Indexes `sites`; of two that name the same host the first wins.
    pub fn new(sites: Vec<Site>) -> Sites {
        let mut index = Sites::default();
        for site in sites.into_iter().map(Arc::new) {
            for host in &site.hosts {
                let host = host.to_ascii_lowercase();
                match host.strip_prefix('*') {
                    Some("") => index.any = index.any.take().or_else(|| Some(site.clone())),
                    Some(suffix) => {
                        index.by_host.entry_ref(suffix).or_insert_with(|| site.clone());
                    }
                    None => {
                        index.by_host.entry(host).or_insert_with(|| site.clone());
                    }
                }
            }
            index.all.push(site);
        }
        index
    }

    /// Every site, in the order given.
    pub fn all(&self) -> &[Arc<Site>] {
        &self.all
    }

    /// The site of `host`: by its exact name, by the longest wildcard, by `*`.
    pub fn find(&self, host: &str) -> Option<&Arc<Site>> {
        let exact = self.by_host.get(host);
        exact.or_else(|| self.wildcard(host)).or(self.any.as_ref())
    }

    /// The site, the policy and the name of the rule that gave it for a request.
    pub fn route(&self, asked: &Asked) -> Option<(&Arc<Site>, &Policy, Option<&str>)> {
        let site = self.find(asked.host.as_str())?;
        let rule = site.rules.iter().find(|rule| rule.matches.holds(asked));
        Some(match rule {
            Some(rule) => (site, &rule.policy, Some(rule.name.as_str())),
            None => (site, &site.policy, None),
        })
    }

    fn wildcard(&self, host: &str) -> Option<&Arc<Site>> {
        host.match_indices('.').find_map(|(at, _)| self.by_host.get(host.get(at..)?))
    }
}

/// A match and the policy that goes with it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Name for `explain`; `rule 1`, `rule 2` ... by default.
    pub name: String,
    /// All conditions given must hold.
    pub matches: Match,
    /// What then applies.
    pub policy: Policy,
}

/// Conditions on a request. Empty lists do not restrict.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Path prefixes, compared literally.
    pub prefixes: Vec<String>,
    /// File extensions without dot, lower case.
    pub extensions: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
}

impl Match {
    /// Whether `asked` meets every condition.
    pub fn holds(&self, asked: &Asked) -> bool {
        let path = asked.target.path();
        (self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| path.starts_with(prefix)))
            && (self.methods.is_empty()
                || self.methods.iter().any(|method| method == asked.method.as_str()))
            && (self.extensions.is_empty() || {
                let file = path.rsplit('/').next().unwrap_or("");
                file.rsplit_once('.').is_some_and(|(_, ext)| {
                    self.extensions.iter().any(|wanted| wanted.eq_ignore_ascii_case(ext))
                })
            })
    }
}

/// How matching requests are cached.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `false`: pass everything to the origin, store nothing.
    pub cache: bool,
    /// Fields that override `Cache-Control`, first wins (RFC 9213), lower case.
    pub targeted: Vec<String>,
    /// Lifetime when the origin states none and heuristics do not apply.
    pub default_ttl: Duration,
    /// Lifetime by status when the origin states none.
    pub status_ttl: Vec<(u16, Duration)>,
    /// Lifetime forced whatever the origin says (not for private, no-store, Set-Cookie).
    pub force_ttl: Option<Duration>,
    /// Share of `Date - Last-Modified` used as heuristic lifetime, in per cent.
    pub heuristic_percent: u32,
    /// Upper bound of heuristic lifetimes.
    pub heuristic_max: Duration,
    /// `stale-while-revalidate` when the origin states none ("grace").
    pub stale_while_revalidate: Duration,
    /// `stale-if-error` when the origin states none (RFC 9111 4.2.4 allows it to a cache
    /// that cannot reach the origin, unless the answer forbids it).
    pub stale_if_error: Duration,
    /// Store answers whose body ends with the connection. Nothing tells a server that died
    /// from one that finished there (RFC 9112 8), unless the connection broke by a reset.
    pub store_close_delimited: bool,
    /// Store answers that set cookies (the `Set-Cookie` field is then dropped).
    pub store_set_cookie: bool,
    /// With `store_set_cookie`: keep the cookies and replay them to everybody, as
    /// RFC 9111 7.3 permits. Only for sites whose cookies are the same for all.
    pub replay_set_cookie: bool,
    /// Obey request directives that force a revalidation (`no-cache`, `max-age=0`,
    /// `Pragma`). RFC 9111 5.2.1 lets a cache ignore them; a shield may want to.
    pub honour_client_no_cache: bool,
    /// What of the query is part of the key.
    pub query: QueryKey,
    /// Fold `Accept-Encoding` to those of these that the client accepts, in this order,
    /// before the origin sees it; empty leaves it alone.
    pub encodings: Vec<String>,
    /// Fold `Accept-Language` to the first of these the client accepts; empty leaves the
    /// field's own normal form (sorted by weight, lower case).
    pub languages: Vec<String>,
    /// Variants kept per key; the oldest goes.
    pub variants_max: usize,
    /// Fields whose values are purge tags, lower case; stripped before the client.
    pub tag_fields: Vec<String>,
    /// Largest body that is stored.
    pub object_max: u64,
    /// Longer bodies are kept in pieces (`rules::pieces`).
    pub pieces_from: u64,
}

/// What of the query belongs to the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum QueryKey {
    /// All of it, byte for byte.
    #[default]
    All,
    /// None of it.
    None,
    /// Only these parameters (`*` at the end of a name matches a prefix).
    Only(Vec<String>),
    /// All but these.
    Except(Vec<String>),
    /// All, sorted by name; the order of equal names is kept.
    Sorted,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            cache: true,
            targeted: vec!["cdn-cache-control".to_owned()],
            default_ttl: Duration::ZERO,
            status_ttl: Vec::new(),
            force_ttl: None,
            heuristic_percent: 10,
            heuristic_max: Duration::from_secs(86_400),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::from_secs(86_400),
            store_close_delimited: true,
            store_set_cookie: false,
            replay_set_cookie: false,
            honour_client_no_cache: true,
            query: QueryKey::All,
            encodings: vec!["zstd".to_owned(), "br".to_owned(), "gzip".to_owned()],
            languages: Vec::new(),
            variants_max: 16,
            tag_fields: ["surrogate-key", "cache-tag", "edge-cache-tag", "xkey", "cache-groups"]
                .map(str::to_owned)
                .to_vec(),
            object_max: 1 << 40,
            pieces_from: 8 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(hosts: &[&str]) -> Site {
        Site {
            name: hosts.join(" "),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            origin: "o".to_owned(),
            host_header: None,
            redirect_https: None,
            rules: Vec::new(),
            policy: Policy::default(),
        }
    }

    #[test]
    fn the_nearest_name_wins() {
        let sites = Sites::new(vec![
            site(&["*"]),
            site(&["*.example.com"]),
            site(&["*.b.example.com"]),
            site(&["a.example.com", "Other.org"]),
        ]);
        let name = |host: &str| sites.find(host).map(|site| site.hosts[0].clone()).unwrap();
        assert_eq!(name("a.example.com"), "a.example.com");
        assert_eq!(name("other.org"), "a.example.com");
        assert_eq!(name("x.example.com"), "*.example.com");
        assert_eq!(name("x.b.example.com"), "*.b.example.com");
        assert_eq!(name("example.com"), "*");
        assert!(Sites::new(vec![site(&["a"])]).find("b").is_none());
    }
}
