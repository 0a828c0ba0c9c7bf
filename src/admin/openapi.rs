//! `GET /v1/openapi.json`: OpenAPI 3.1, made from the table of routes, so it cannot name a
//! path that does not exist or leave one out, and of the schemas of the answers. Bodies and
//! queries are described where a caller has something to choose.

use serde_json::{Map, Value, json};

use super::answer::{Answer, ok};
use super::routes::{ROUTES, Route};
use super::schemas;
use crate::rules::purge::{ITEMS_MAX, PATTERN_MAX, TAG_MAX, URL_MAX};

/// `GET /v1/openapi.json`.
pub(super) async fn openapi() -> Answer {
    ok(document())
}

pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = path {
            methods.insert(route.method.to_ascii_lowercase(), operation(route));
        }
    }
    let mut schemas = schemas::all();
    schemas.insert("Purge".to_owned(), purge());
    schemas.insert("Warm".to_owned(), warm());
    schemas.insert("DiskChange".to_owned(), disk_change());
    schemas.insert("OriginChange".to_owned(), origin_change());
    schemas.insert("ServerChange".to_owned(), server_change());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Brink admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "PURGE with a URL as target works too; OpenAPI cannot say so.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
        },
    })
}

fn operation(route: &Route) -> Value {
    let in_path = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
    });
    let in_query = query(route).iter().map(|(name, required, meaning)| {
        json!({"name": name, "in": "query", "required": required, "description": meaning,
               "schema": {"type": "string"}})
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let reference = |name: &str| {
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        json!({ "schema": schema })
    };
    let answer = schemas::answer(route.path, route.method).map_or(json!({}), reference);
    let done = if route.path == "/v1/warm" && route.method == "POST" { "202" } else { "200" };
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            done: {"description": "Done.", "content": {kind(route.path): answer}},
            "4XX": {"description": "Refused.",
                    "content": {"application/json": reference("Error")}},
        },
    });
    if let Some(scope) = route.scope {
        operation["security"] = json!([{"token": []}]);
        operation["description"] = json!(format!("Needs a token with the scope {}.", scope.word()));
    }
    let body = match (route.method, route.path) {
        ("POST", "/v1/purge") => "Purge",
        ("POST", "/v1/warm") => "Warm",
        ("PUT", "/v1/disk") => "DiskChange",
        ("PUT", "/v1/origins/{origin}") => "OriginChange",
        ("PUT", "/v1/origins/{origin}/servers/{server}") => "ServerChange",
        _ => return operation,
    };
    let mut content = json!({"application/json": reference(body)});
    if body == "Warm" {
        content["text/plain"] = json!({"schema": {"type": "string",
            "description": "A file: one URL a line, or a sitemap; gzip is fine."}});
    }
    operation["requestBody"] = json!({"required": true, "content": content});
    operation
}

fn kind(path: &str) -> &'static str {
    match path {
        "/" => "text/html",
        "/healthz" | "/readyz" | "/metrics" => "text/plain",
        "/dashboard/style.css" => "text/css",
        "/dashboard/app.js" | "/dashboard/lab.js" => "text/javascript",
        "/dashboard/icon.svg" => "image/svg+xml",
        "/v1/log" => "application/x-ndjson",
        "/v1/lab/sample" => "text/csv",
        _ => "application/json",
    }
}

/// Query parameters: name, required, meaning.
fn query(route: &Route) -> &'static [(&'static str, bool, &'static str)] {
    match route.path {
        "/v1/explain" => &[
            ("url", true, "Whole URL with scheme."),
            ("header", false, "A request field, \"Name: value\"; may be given several times."),
        ],
        "/v1/objects" => &[
            ("tag", false, "Only with this tag. One filter at a time."),
            ("prefix", false, "Only below this prefix."),
            ("host", false, "Only of this host."),
            ("url", false, "Only variants of this URL."),
            ("tier", false, "memory or disk; both by default."),
            ("limit", false, "Keys on a page, at most 1,000."),
            ("after", false, "`next` of the page before."),
        ],
        "/v1/top" => &[
            ("by", false, "requests, bytes, misses or miss_bytes."),
            ("limit", false, "At most 500."),
        ],
        "/v1/log" => &[("filter", false, "field=text,field=text on the JSON of a line.")],
        "/v1/warm" if route.method == "POST" => {
            &[("concurrency", false, "Fetches at a time if the body is a file.")]
        }
        "/v1/purges" => &[("since", false, "Only purges after this number.")],
        _ => &[],
    }
}

fn purge() -> Value {
    let list = |meaning: &str, longest: usize| {
        json!({"type": "array", "maxItems": ITEMS_MAX, "description": meaning,
               "items": {"type": "string", "minLength": 1, "maxLength": longest}})
    };
    json!({
        "type": "object",
        "additionalProperties": false,
        "description": format!("At least one item and at most {ITEMS_MAX} together."),
        "properties": {
            "urls": list("Whole URLs; all variants go.", URL_MAX),
            "prefixes": list("https://host/path or host/path for both schemes.", URL_MAX),
            "prefix_by": {"enum": ["literal", "segment"], "default": "literal"},
            "tags": list("Surrogate keys, compared exactly.", TAG_MAX),
            "hosts": list("Hosts, with a port if only that one is meant.", URL_MAX),
            "everything": {"type": "boolean"},
            "pattern": {"type": "string", "maxLength": PATTERN_MAX},
            "pattern_syntax": {"enum": ["regex", "glob"], "default": "regex"},
            "soft": {"type": "boolean", "description": "Mark stale instead of dropping."},
            "dry_run": {"type": "boolean", "description": "Only count."},
            "wait_ms": {"type": "integer", "default": 2000, "maximum": 30000,
                        "description": "How long to wait for the sweep's count."},
        },
    })
}

fn warm() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "urls": {"type": "array", "maxItems": 50_000, "items": {"type": "string"}},
            "sitemap": {"type": "string", "description": "URL of a sitemap, or of an index."},
            "concurrency": {"type": "integer", "minimum": 1, "maximum": 64, "default": 8},
        },
    })
}

fn origin_change() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "description": "One of the two.",
        "properties": {
            "switch_to": {"type": "string", "description": "Name of another origin."},
            "roll_back": {"type": "boolean"},
        },
    })
}

fn server_change() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "state": {"enum": ["up", "drain"]},
            "weight": {"type": "integer", "minimum": 0, "maximum": 1000},
        },
    })
}

fn disk_change() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["directory", "state"],
        "properties": {
            "directory": {"type": "string", "description": "As GET /v1/disk names it."},
            "state": {"enum": ["ready", "out"]},
        },
    })
}
