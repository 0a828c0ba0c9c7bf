//! `Vary`: which request fields an answer depends on, and with which values (RFC 9110 12.5.5).

use http::header::{self, HeaderMap, HeaderName};

use super::list;
use super::normalise;

/// The request fields a response varies on, with their normalised values then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vary {
    /// Lower-case field name and the normalised value; `None` if the request had none.
    pub fields: Vec<(HeaderName, Option<Box<[u8]>>)>,
}

/// What the `Vary` field of an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Varies {
    /// On nothing.
    Never,
    /// On these fields.
    On(Vary),
    /// On something that requests do not show (`*`), or on what cannot be read: no later
    /// request can match.
    Always,
}

impl Vary {
    /// Bytes it occupies.
    pub fn weight(&self) -> usize {
        self.fields.iter().map(|(_, value)| 64 + value.as_ref().map_or(0, |v| v.len())).sum()
    }

    /// The same fields with the values that `request` has in them.
    pub fn of(&self, request: &HeaderMap) -> Vary {
        let value = |name: &HeaderName| (name.clone(), normalise::form(name, request));
        Vary { fields: self.fields.iter().map(|(name, _)| value(name)).collect() }
    }

    /// Whether `request` has the same selecting fields. `language` is the stored
    /// `Content-Language`: a request that prefers exactly that language to all others
    /// would have been given it (RFC 9110 12.5.4), whatever else it lists.
    pub fn matches(&self, request: &HeaderMap, language: Option<&str>) -> bool {
        self.fields.iter().all(|(name, stored)| {
            same(name, stored.as_deref(), request)
                || (*name == header::ACCEPT_LANGUAGE
                    && language.is_some_and(|language| {
                        normalise::favourite_language(request)
                            .is_some_and(|wanted| wanted.eq_ignore_ascii_case(language.trim()))
                    }))
        })
    }
}

/// Reads `Vary` of an answer to `request`.
pub fn varies(answer: &HeaderMap, request: &HeaderMap) -> Varies {
    let mut fields: Vec<(HeaderName, Option<Box<[u8]>>)> = Vec::new();
    for name in list::all(answer, &header::VARY) {
        let Ok(name) = HeaderName::from_bytes(name) else { return Varies::Always };
        // `*` is a token and so a legal name for the parser.
        if name.as_str() == "*" {
            return Varies::Always;
        }
        if !fields.iter().any(|(known, _)| *known == name) {
            let value = normalise::form(&name, request);
            fields.push((name, value));
        }
    }
    fields.sort_by(|one, two| one.0.as_str().cmp(two.0.as_str()));
    if fields.is_empty() { Varies::Never } else { Varies::On(Vary { fields }) }
}

/// Compares without allocating in the common case: one line that is its own normal form.
fn same(name: &HeaderName, stored: Option<&[u8]>, request: &HeaderMap) -> bool {
    let mut lines = request.get_all(name).into_iter();
    match (lines.next(), stored) {
        (None, None) => true,
        (None, Some(_)) | (Some(_), None) => false,
        (Some(line), Some(stored)) => {
            (lines.next().is_none() && line.as_bytes() == stored)
                || normalise::form(name, request).as_deref() == Some(stored)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn matches(vary: &str, stored: &[(&str, &str)], asked: &[(&str, &str)]) -> bool {
        match varies(&map(&[("vary", vary)]), &map(stored)) {
            Varies::Never => true,
            Varies::Always => false,
            Varies::On(vary) => vary.matches(&map(asked), None),
        }
    }

    #[test]
    fn a_variant_answers_only_requests_with_the_same_fields() {
        assert!(matches("Foo", &[("foo", "1")], &[("foo", "1"), ("other", "2")]));
        assert!(!matches("Foo", &[("foo", "1")], &[("foo", "2")]));
        assert!(!matches("Foo", &[], &[("foo", "1")]));
        assert!(!matches("Foo", &[("foo", "1")], &[]));
        assert!(matches("Foo, Bar", &[("foo", "1")], &[("foo", "1")]));
        assert!(matches("Foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")]));
        assert!(!matches("foo", &[("foo", "1"), ("foo", "2")], &[("foo", "1")]));
    }

    #[test]
    fn a_star_anywhere_matches_nothing() {
        for vary in ["*", "*, *", ", *", "*, Foo", "Foo, *", "a b"] {
            assert_eq!(varies(&map(&[("vary", vary)]), &map(&[])), Varies::Always, "{vary}");
        }
        assert_eq!(varies(&map(&[("vary", ""), ("vary", "*")]), &map(&[])), Varies::Always);
        assert_eq!(varies(&map(&[("vary", " , ")]), &map(&[])), Varies::Never);
    }

    #[test]
    fn the_preferred_language_selects_its_variant() {
        let Varies::On(vary) =
            varies(&map(&[("vary", "Accept-Language")]), &map(&[("accept-language", "en, de")]))
        else {
            panic!("varies on the language");
        };
        let asks = |text: &str| vary.matches(&map(&[("accept-language", text)]), Some("de"));
        assert!(asks("fr;q=0.5, de;q=1.0"));
        assert!(!asks("fr, de"));
        assert!(!asks("de;q=0.5, fr"));
    }
}
