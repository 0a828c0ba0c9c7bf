//! What the API answers, as JSON Schema: one small language for all of it, so that a schema
//! is as long as the answer it describes.
//!
//! A field is `name: type`; `?` behind the type says that it may be null or absent, `[]`
//! that it is a list; `...` at the end says that there may be more. A type that begins with
//! a capital is a schema of this file. Answers have no other fields than these: a scenario
//! holds the running API to it.

use serde_json::{Map, Value, json};

/// Every named schema.
pub(super) const SCHEMAS: &[(&str, &str)] = &[
    (
        "Stats",
        "version: string, now_ms: integer, memory: Fill, tiers: object, purge: Ledger, \
         requests: integer, hits: integer, stale: integer, revalidated: integer, \
         misses: integer, passes: integer, refused: integer, failed: integer, \
         request_hit_ratio: number, byte_hit_ratio: number, bytes: integer, \
         bytes_memory: integer, bytes_disk: integer, bytes_origin: integer, \
         origin_requests: integer, origin_bytes: integer, connections: integer, \
         collapsed: integer, aborted: integer, latency: Latency, sites: Site[]",
    ),
    ("History", "every_ms: integer, samples: Sample[]"),
    (
        "Sample",
        "at_ms: integer, requests: integer, hits: integer, asked: integer, bytes: integer, \
         origin_bytes: integer",
    ),
    ("Directories", "directories: Directory[]"),
    (
        "Directory",
        "directory: string, state: string, reason: string?, records: integer, \
         bytes: integer, bytes_max: integer, index_bytes: integer, queued_bytes: integer, \
         faults: integer, counters: object, ...",
    ),
    ("Fill", "objects: integer, bytes: integer"),
    ("Ledger", "seq: integer, pending: integer, sweeps: Sweeps"),
    ("Sweeps", "memory: Sweep, disk: Sweep?"),
    ("Sweep", "running: boolean, examined: integer, total: integer"),
    (
        "Latency",
        "hit_p50_us: integer, hit_p99_us: integer, miss_p50_us: integer, miss_p99_us: integer",
    ),
    (
        "Site",
        "site: string, requests: integer, hits: integer, bytes: integer, \
         bytes_saved: integer, request_hit_ratio: number",
    ),
    (
        "Purged",
        "seq: integer?, matched: integer, freed_bytes: integer, effective_ms: number, \
         took_ms: number, swept: boolean, soft: boolean, dry_run: boolean",
    ),
    ("Purges", "seq: integer, floor: integer, pending: integer, sweeps: Sweeps, purges: Report[]"),
    (
        "Report",
        "seq: integer, at_ms: integer, who: string, items: string[], items_total: integer, \
         soft: boolean, found: Found",
    ),
    ("Found", "matched: integer, freed_bytes: integer, swept: boolean"),
    ("Objects", "objects: Object[], next: string?"),
    (
        "Object",
        "url: string, tier: string, on_disk: boolean, status: integer, bytes: integer, \
         weight: integer, age_s: integer, ttl_s: integer, lifetime_s: integer, \
         lifetime_from: string, fresh: boolean, soft_purged: boolean, tags: string[], \
         vary: array, seq: integer, checked_seq: integer",
    ),
    (
        "Explain",
        "url: string, site: string?, rule: string?, origin: string?, key: Key?, \
         request: string[]?, tier: string?, tiers: string[]?, hits: integer?, \
         variants: Variant[]?, now: Now, pieces: Pieces?, freshness: Freshness?, \
         last_purge: LastPurge?, \
         last_eviction: Evicted?, last_not_stored: NotStored?, advice: string[]",
    ),
    (
        "Key",
        "text: string, hash: string, scheme: string, host: string, port: integer, \
         path: string, query: string?, query_rule: string",
    ),
    ("Pieces", "total: integer, memory: integer, disk: integer"),
    ("Variant", "selected: boolean, object: Object"),
    ("Now", "verdict: string, fwd: string?, why: string"),
    (
        "Freshness",
        "lifetime_s: integer, age_s: integer, initial_age_s: integer, ttl_s: integer, \
         from: string, stale_while_revalidate_s: integer, stale_if_error_s: integer, \
         always_validate: boolean, never_stale: boolean, immutable: boolean, sum: string",
    ),
    ("LastPurge", "seq: integer, kind: string, what: string, soft: boolean, at_ms: integer"),
    ("Evicted", "at_s: integer, hits: integer"),
    ("NotStored", "reason: string, status: integer, at_ms: integer"),
    ("Top", "by: string, window_s: integer, top: Hitter[]"),
    ("Hitter", "url: string, count: integer, error: integer"),
    ("Audit", "changes: Change[]"),
    (
        "Change",
        "time: string, who: string, peer: string, call: string, what: string, \
         status: integer, result: string",
    ),
    ("Jobs", "jobs: Job[]"),
    (
        "Job",
        "id: integer, state: string, total: integer, concurrency: integer, \
         took_ms: integer, counts: Counts",
    ),
    ("Counts", "done: integer, hits: integer, failed: integer, bytes: integer, problems: string[]"),
    ("Origins", "origins: Origin[]"),
    (
        "Origin",
        "name: string, switched_to: string?, directory: string?, retries: integer, \
         retries_refused: integer, homeless: integer, failing: boolean, servers: Server[], ...",
    ),
    (
        "Server",
        "name: string, address: string, resolved: string[], state: string, reason: string, \
         retry_in_s: integer?, ejections: object, weight: integer, priority: integer, \
         in_flight: integer, waiting: integer, latency_ms: number, requests: integer, \
         failures: integer, connections: integer, reused: integer, queued: integer, \
         bytes: integer, ...",
    ),
    ("Error", "error: Refused"),
    ("Refused", "code: string, message: string"),
];

/// Name of the schema that a call is answered with, if it is JSON of one form.
pub(super) fn answer(path: &str, method: &str) -> Option<&'static str> {
    Some(match (path, method) {
        ("/v1/stats", _) => "Stats",
        ("/v1/history", _) => "History",
        ("/v1/disk", "GET") => "Directories",
        ("/v1/disk", _) => "Directory",
        ("/v1/purge", _) => "Purged",
        ("/v1/purges", _) => "Purges",
        ("/v1/objects", _) => "Objects",
        ("/v1/explain", _) => "Explain",
        ("/v1/top", _) => "Top",
        ("/v1/audit", _) => "Audit",
        ("/v1/warm", "GET") => "Jobs",
        ("/v1/warm" | "/v1/warm/{id}", _) => "Job",
        ("/v1/origins", _) => "Origins",
        ("/v1/origins/{origin}" | "/v1/origins/{origin}/servers/{server}", _) => "Origin",
        _ => return None,
    })
}

/// All of them, as OpenAPI's `components.schemas` wants them.
pub(super) fn all() -> Map<String, Value> {
    SCHEMAS.iter().map(|(name, fields)| ((*name).to_owned(), object(fields))).collect()
}

fn object(fields: &str) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, kind) in fields.split(", ").filter_map(|field| field.trim().split_once(": ")) {
        let (kind, optional) = match kind.strip_suffix('?') {
            Some(kind) => (kind, true),
            None => (kind, false),
        };
        let schema = typed(kind);
        if optional {
            properties.insert(name.to_owned(), json!({"anyOf": [schema, {"type": "null"}]}));
        } else {
            required.push(name);
            properties.insert(name.to_owned(), schema);
        }
    }
    let open = fields.ends_with("...");
    json!({"type": "object", "additionalProperties": open, "properties": properties,
           "required": required})
}

fn typed(kind: &str) -> Value {
    match kind.strip_suffix("[]") {
        Some(item) => json!({"type": "array", "items": typed(item)}),
        None if kind.starts_with(char::is_uppercase) => {
            json!({"$ref": format!("#/components/schemas/{kind}")})
        }
        None => json!({ "type": kind }),
    }
}
