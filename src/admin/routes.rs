//! The routes as one table: for scopes, the OpenAPI document and the tests. `router` leads
//! them to their handlers.

use axum::http::Method;

/// What a token may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Look.
    Read,
    /// Purge.
    Purge,
    /// Change how the node works: origins, warming.
    Operate,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 3] = [Scope::Read, Scope::Purge, Scope::Operate];

    /// The word in the token file.
    pub fn word(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Purge => "purge",
            Scope::Operate => "operate",
        }
    }

    /// The scope called `word`.
    pub fn named(word: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.word() == word)
    }
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Method.
    pub method: &'static str,
    /// Path with `{parameters}`.
    pub path: &'static str,
    /// Scope a token needs; `None`: no token.
    pub scope: Option<Scope>,
    /// One sentence.
    pub summary: &'static str,
}

const fn route(
    method: &'static str,
    path: &'static str,
    scope: Option<Scope>,
    summary: &'static str,
) -> Route {
    Route { method, path, scope, summary }
}

const READ: Option<Scope> = Some(Scope::Read);

/// Every route.
pub const ROUTES: &[Route] = &[
    route("GET", "/", None, "The dashboard."),
    route("GET", "/dashboard/style.css", None, "Its style."),
    route("GET", "/dashboard/app.js", None, "Its script."),
    route("GET", "/dashboard/lab.js", None, "The script of its lab."),
    route("GET", "/dashboard/icon.svg", None, "Its icon."),
    route("GET", "/v1/openapi.json", READ, "This API as an OpenAPI document."),
    route("GET", "/healthz", None, "The process answers."),
    route("GET", "/readyz", None, "The node takes traffic."),
    route("GET", "/metrics", READ, "Prometheus metrics."),
    route("GET", "/v1/stats", READ, "Totals since start, fill of the tiers."),
    route("GET", "/v1/history", READ, "Totals every two seconds of the last ten minutes."),
    route("POST", "/v1/purge", Some(Scope::Purge), "Purge by URL, prefix, tag, host, pattern."),
    route("GET", "/v1/purges", READ, "Purges, newest first, and where the ledger stands."),
    route("GET", "/v1/objects", READ, "Stored objects by tag, prefix, host or URL, in pages."),
    route("GET", "/v1/explain", READ, "Why a URL is or is not a hit, without asking the origin."),
    route("GET", "/v1/top", READ, "Heaviest URLs of the last minutes."),
    route("GET", "/v1/log", READ, "Exchanges as they finish, one JSON object a line."),
    route("GET", "/v1/audit", READ, "The last changes made through this API."),
    route("POST", "/v1/warm", Some(Scope::Operate), "Fetch URLs through the cache; a job."),
    route("GET", "/v1/warm", READ, "Warming jobs, newest first."),
    route("GET", "/v1/warm/{id}", READ, "One warming job."),
    route("DELETE", "/v1/warm/{id}", Some(Scope::Operate), "Cancel a warming job."),
    route("GET", "/v1/lab/curve", READ, "Miss ratio by cache size, and what other sizes would do."),
    route("GET", "/v1/lab/sample", READ, "The sample of requests as csv, keys hashed anew."),
    route("GET", "/v1/disk", READ, "Directories of the disk tier: state, reason, fill, events."),
    route(
        "PUT",
        "/v1/disk",
        Some(Scope::Operate),
        "Put a disk directory back into service, or take it out.",
    ),
    route("GET", "/v1/origins", READ, "Origins and their servers."),
    route(
        "PUT",
        "/v1/origins/{origin}",
        Some(Scope::Operate),
        "Let another origin answer in place of this one, or roll that back.",
    ),
    route(
        "PUT",
        "/v1/origins/{origin}/servers/{server}",
        Some(Scope::Operate),
        "Drain a server, take it back, or change its weight.",
    ),
];

/// The scope a call needs; paths that are no route still need a token that may read.
pub(super) fn scope(method: &Method, path: &str) -> Option<Scope> {
    if method.as_str() == "PURGE" {
        return Some(Scope::Purge);
    }
    let same = |route: &&Route| {
        let asked = if *method == Method::HEAD { "GET" } else { method.as_str() };
        route.method == asked && matches(route.path, path)
    };
    match ROUTES.iter().find(same) {
        Some(route) => route.scope,
        None if *method == Method::GET || *method == Method::HEAD => READ,
        None => Some(Scope::Operate),
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(want), Some(got)) if want.starts_with('{') || want == got => {}
            _ => return false,
        }
    }
}

/// Whether this is a page or asset a link on another site may lead to.
pub(super) fn is_page(method: &Method, path: &str) -> bool {
    *method == Method::GET && scope(method, path).is_none()
}
