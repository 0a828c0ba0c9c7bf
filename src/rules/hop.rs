//! Fields that belong to one connection only and never cross the node (RFC 9110 7.6.1).
//!
//! The fixed list and whatever `Connection` names go; except fields that a message cannot
//! do without, because naming those in `Connection` is an attack and no wish (a proxy that
//! obeys drops `Host` or `Content-Length` and says something else than it was told).

use http::header::{self, HeaderMap, HeaderName};
use smallvec::SmallVec;

use super::list;

/// Whether `name` is hop-by-hop by itself.
pub fn is_hop(name: &HeaderName) -> bool {
    HOP.iter().any(|hop| hop == name)
        || matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "proxy-authentication-info" | "http2-settings"
        )
}

/// The fields that `Connection` names, without those in the protected list.
pub fn listed(fields: &HeaderMap) -> SmallVec<[HeaderName; 4]> {
    list::all(fields, &header::CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !is_protected(name))
        .collect()
}

/// What sets a cookie: the field, and the one of RFC 2965 that was to follow it. Nobody sends
/// that one any more, so whoever does gets the careful treatment.
pub(super) fn sets_cookie(name: &HeaderName) -> bool {
    *name == header::SET_COOKIE || name.as_str() == "set-cookie2"
}

/// Fields that stay even if `Connection` names them.
pub(super) fn is_protected(name: &HeaderName) -> bool {
    PROTECTED.iter().any(|kept| kept == name)
        || sets_cookie(name)
        || matches!(name.as_str(), "cdn-loop" | "x-forwarded-for" | "forwarded")
}

static HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

static PROTECTED: [HeaderName; 15] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CACHE_CONTROL,
    header::EXPIRES,
    header::DATE,
    header::AGE,
    header::VARY,
    header::ETAG,
    header::AUTHORIZATION,
    header::COOKIE,
    header::RANGE,
    header::VIA,
];

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn connection_cannot_name_away_what_the_message_needs() {
        let mut fields = HeaderMap::new();
        let value = HeaderValue::from_static("close, X-a, Host, content-length, b c");
        fields.insert(header::CONNECTION, value);
        assert_eq!(listed(&fields).as_slice(), ["close", "x-a"]);
        assert!(is_hop(&header::TE) && is_hop(&HeaderName::from_static("keep-alive")));
        assert!(!is_hop(&header::HOST));
    }
}
