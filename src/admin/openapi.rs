//! `GET /v1/openapi.json`: OpenAPI 3.1, made from the table of routes, so it cannot name a
//! path that does not exist or leave one out. Bodies and queries are described where a
//! caller has something to choose.

use serde_json::{Map, Value, json};

use super::answer::{Answer, ok};
use super::routes::{ROUTES, Route, Scope};
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
            "schemas": {"Purge": purge(), "Purged": purged(), "Error": error()},
        },
    })
}

fn operation(route: &Route) -> Value {
    let in_path = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
    });
    let in_query = query(route.path).iter().map(|(name, required, meaning)| {
        json!({"name": name, "in": "query", "required": required, "description": meaning,
               "schema": {"type": "string"}})
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let refused = json!({"$ref": "#/components/schemas/Error"});
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": {kind(route.path): {}}},
            "4XX": {"description": "Refused.",
                    "content": {"application/json": {"schema": refused}}},
        },
    });
    if let Some(scope) = route.scope {
        operation["security"] = json!([{"token": []}]);
        operation["description"] = json!(format!("Needs a token with the scope {}.", scope.word()));
    }
    if route.scope == Some(Scope::Purge) {
        let reference = |name| json!({"schema": {"$ref": format!("#/components/schemas/{name}")}});
        let body = json!({"required": true, "content": {"application/json": reference("Purge")}});
        operation["requestBody"] = body;
        operation["responses"]["200"]["content"]["application/json"] = reference("Purged");
    }
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
fn query(path: &str) -> &'static [(&'static str, bool, &'static str)] {
    match path {
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
        "/v1/warm" => &[("concurrency", false, "Fetches at a time if the body is a file.")],
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

fn purged() -> Value {
    let number = |meaning: &str| json!({"type": "number", "description": meaning});
    json!({
        "type": "object",
        "properties": {
            "seq": {"type": ["integer", "null"], "description": "Number in the ledger."},
            "matched": number("Stored answers that matched."),
            "freed_bytes": number("Bytes freed."),
            "effective_ms": number("Until it was in effect and durable."),
            "took_ms": number("Until this answer."),
            "swept": {"type": "boolean", "description": "Whether the counts are final."},
            "soft": {"type": "boolean"},
            "dry_run": {"type": "boolean"},
        },
        "required": ["seq", "matched", "freed_bytes", "effective_ms", "took_ms", "swept"],
    })
}

fn error() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "properties": {"error": {
            "type": "object",
            "properties": {"code": text, "message": text},
            "required": ["code", "message"],
        }},
        "required": ["error"],
    })
}
