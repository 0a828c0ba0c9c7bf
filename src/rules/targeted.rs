//! Targeted cache control (RFC 9213): `CDN-Cache-Control` and its like, which are
//! structured-field dictionaries and replace `Cache-Control` and `Expires` for us.
//!
//! A field that cannot be parsed, is empty, or gives a directive we know a value of the
//! wrong type is ignored as if it were absent (2.1): the next one in the site's list
//! counts, and in the end `Cache-Control`.

use http::header::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::control::{DELTA_MAX, ResponseControl};
use super::list;
use super::site::Policy;

/// The control that applies and the place of the targeted field it comes from; `None`
/// for plain `Cache-Control`.
pub fn applicable(fields: &HeaderMap, policy: &Policy) -> (ResponseControl, Option<u8>) {
    for (place, name) in policy.targeted.iter().enumerate() {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        if let Some(control) = list::joined(fields, &name).and_then(|text| parse(&text)) {
            return (control, Some(u8::try_from(place).unwrap_or(u8::MAX)));
        }
    }
    (ResponseControl::of(fields), None)
}

/// Parses the joined lines of a targeted field; `None` means: ignore it.
pub fn parse(text: &[u8]) -> Option<ResponseControl> {
    let members: Dictionary = Parser::new(text).parse().ok()?;
    if members.is_empty() {
        return None;
    }
    let mut control = ResponseControl::default();
    for (name, entry) in &members {
        let name = name.as_str();
        let item = match entry {
            ListEntry::Item(item) => Some(&item.bare_item),
            ListEntry::InnerList(_) => None,
        };
        match name {
            "max-age" => control.max_age = Some(seconds(item)?),
            "s-maxage" => control.s_maxage = Some(seconds(item)?),
            "stale-while-revalidate" => control.while_revalidate = Some(seconds(item)?),
            "stale-if-error" => control.if_error = Some(seconds(item)?),
            "no-cache" | "private" => {
                let whole = match item? {
                    BareItem::Boolean(said) => *said,
                    BareItem::String(names) => !control.withhold(names.as_str().as_bytes()),
                    _ => return None,
                };
                match name {
                    "private" => control.private = whole,
                    _ => control.no_cache = whole,
                }
            }
            "no-store" | "public" | "must-revalidate" | "proxy-revalidate" | "must-understand"
            | "immutable" => match item? {
                BareItem::Boolean(true) => control.flag(name.as_bytes()),
                BareItem::Boolean(false) => {}
                _ => return None,
            },
            // RFC 9111 5.2.3: unknown directives are ignored.
            _ => {}
        }
    }
    Some(control)
}

/// A non-negative sf-integer, clamped like delta-seconds.
fn seconds(item: Option<&BareItem>) -> Option<u32> {
    match item? {
        BareItem::Integer(value) => {
            let value = i64::from(*value);
            u64::try_from(value).ok().map(|value| value.min(u64::from(DELTA_MAX)) as u32)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn lifetime(targeted: &str, plain: &'static str) -> (Option<u32>, bool, Option<u8>) {
        let mut fields = HeaderMap::new();
        fields.insert("cache-control", HeaderValue::from_static(plain));
        fields.insert("cdn-cache-control", HeaderValue::from_str(targeted).unwrap());
        let (control, place) = applicable(&fields, &Policy::default());
        (control.max_age, control.no_store, place)
    }

    #[test]
    fn a_valid_targeted_field_replaces_cache_control() {
        assert_eq!(lifetime("max-age=60", "no-store"), (Some(60), false, Some(0)));
        assert_eq!(lifetime("foo, max-age=99999999999", ""), (Some(DELTA_MAX), false, Some(0)));
        assert_eq!(lifetime("no-store", "max-age=9"), (None, true, Some(0)));
        assert_eq!(lifetime("max-age=0;x=1, a=(1 2)", "max-age=9"), (Some(0), false, Some(0)));
    }

    #[test]
    fn a_bad_targeted_field_is_as_good_as_absent() {
        for bad in [
            "",
            "max-age=10, &&&&",
            "max-age=\"10\"",
            "max-age =10",
            "max-age= 10",
            "MaX-aGe=10",
            "max-age=-1",
            "max-age=1.5",
            "no-store=1",
            "max-age",
            "private=(a)",
        ] {
            assert_eq!(lifetime(bad, "no-store"), (None, true, None), "{bad}");
        }
    }
}
