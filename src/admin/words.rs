//! Reasons in plain words: what happened and what would change it.

use crate::rules::outcome::Fwd;

/// Why the origin is asked.
pub(super) fn fwd(fwd: Fwd) -> &'static str {
    match fwd {
        Fwd::Bypass => "the site's rule passes this without the cache",
        Fwd::Method => "only GET and HEAD are answered from the cache",
        Fwd::UriMiss | Fwd::Miss => "nothing is stored under this key",
        Fwd::VaryMiss => "only variants for other request fields are stored",
        Fwd::Request => "the request itself asks for the origin (no-store, no-cache, a body)",
        Fwd::Stale => "what is stored is stale",
        Fwd::Partial => "only a part of it is stored",
    }
}

/// What to do about a request that forbids a stored answer.
pub(super) fn client_no_cache() -> &'static str {
    "the request itself forbids a stored answer (Cache-Control: no-cache, no-store or max-age, \
     Pragma, or a body); drop that there, or set honour_client_no_cache = false in the site's rule"
}

/// What would have made the node store an answer that it did not store.
pub(super) fn reason(word: &str) -> &'static str {
    match word {
        "no-store" => {
            "the origin sends Cache-Control: no-store; drop it there, or override it for this \
             node alone with CDN-Cache-Control: max-age=N"
        }
        "private" => {
            "the origin sends Cache-Control: private, so it is for one user; if it is the same \
             for everybody, send public or CDN-Cache-Control: max-age=N"
        }
        "set-cookie" => {
            "the origin sends Set-Cookie; drop it at the origin, or allow it with \
             store_set_cookie = true in the site's rule (the field is then not served)"
        }
        "authorization" => {
            "the request has Authorization; an answer that is the same for everybody needs \
             public or s-maxage from the origin (RFC 9111 3.5)"
        }
        "no-freshness" => {
            "the origin states no lifetime and gives no validator; send Cache-Control: \
             max-age=N, or set default_ttl in the site's rule"
        }
        "status" => {
            "answers with this status are not stored without an explicit lifetime; send \
             Cache-Control: max-age=N with it, or set status_ttl in the site's rule"
        }
        "vary-star" => "the origin sends Vary: *, which no stored answer can match; name fields",
        "must-understand" => "the origin sends must-understand with a status unknown here",
        "too-large" => "the body is larger than object_max of the site's rule",
        "content-length" => "the origin's Content-Length is not a number",
        "content-range" | "unasked-part" => "the origin's range does not fit what was asked for",
        "head-too-large" => "the answer's header fields are too large to store",
        "second-vote" => "the two independent checks of storability do not agree, so it is not",
        "request-no-store" => "the request said no-store",
        "request-body" => "the request had a body, which is not part of the key",
        "close-delimited" => {
            "the body ends with the connection, so a cut cannot be seen; let the origin send \
             Content-Length, or set store_close_delimited = true in the site's rule"
        }
        "method" => "only answers to GET are stored",
        "bypass" => "the site's rule says cache = false",
        "tag-too-long" => "one of its purge tags is longer than 1,024 bytes; shorten it",
        "tags-too-large" => "its purge tags are longer than 16 KiB together; send fewer",
        "uncacheable" => "a recent answer for this key could not be stored; see its reason",
        _ => "see the word in Cache-Status; the origin's answer could not be kept",
    }
}
