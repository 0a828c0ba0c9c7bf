//! Purge tags (surrogate keys) of an answer, from the fields that name them.
//!
//! Every field has its own grammar, and reading one by another's would make tags that no
//! purge can name: `Surrogate-Key` and `xkey` are words, `Cache-Tag` and `Edge-Cache-Tag`
//! are a list with commas (a tag may have a space in it), `Cache-Groups` is a structured
//! list of strings (RFC 9875 2). A field of any other name is split at both.
//!
//! An answer whose tags break a limit is not stored at all. Storing it with fewer tags was
//! rejected: a later purge by one of the others would miss it and nobody would know.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::purge::TAG_MAX;

/// Bytes of all tag fields of one answer together.
pub const TAGS_MAX: usize = 16 * 1024;

/// Which limit the tags of an answer break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMuch {
    /// One tag is longer than [`TAG_MAX`].
    Tag,
    /// All of them are longer than [`TAGS_MAX`].
    All,
}

impl TooMuch {
    /// One word (an sf-token) for `Cache-Status`, log and counters.
    pub fn word(self) -> &'static str {
        match self {
            TooMuch::Tag => "tag-too-long",
            TooMuch::All => "tags-too-large",
        }
    }
}

/// How a field's value is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grammar {
    Words,
    Commas,
    Either,
    Strings,
}

impl Grammar {
    fn of(name: &str) -> Grammar {
        match name {
            "surrogate-key" | "xkey" => Grammar::Words,
            "cache-tag" | "edge-cache-tag" => Grammar::Commas,
            "cache-groups" => Grammar::Strings,
            _ => Grammar::Either,
        }
    }

    fn divides(self, byte: u8) -> bool {
        let (comma, space) = (byte == b',', matches!(byte, b' ' | b'\t'));
        match self {
            Grammar::Words => space,
            Grammar::Commas => comma,
            Grammar::Either | Grammar::Strings => comma || space,
        }
    }
}

/// The tags in the fields called `names` (lower case), sorted, without duplicates.
pub fn tags(fields: &HeaderMap, names: &[String]) -> Result<Box<[Box<str>]>, TooMuch> {
    let mut tags: Vec<Box<str>> = Vec::new();
    let mut length = 0;
    for name in names {
        let Ok(field) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let lines = || fields.get_all(&field).iter().map(HeaderValue::as_bytes);
        length += lines().map(<[u8]>::len).sum::<usize>();
        if length > TAGS_MAX {
            return Err(TooMuch::All);
        }
        match Grammar::of(name) {
            // RFC 8941 4.2: the lines are one value, and one that does not parse is none.
            Grammar::Strings => {
                let whole = lines().collect::<Vec<_>>().join(&b',');
                tags.extend(strings(&whole).unwrap_or_default());
            }
            grammar => {
                let parts = lines().flat_map(|line| line.split(move |byte| grammar.divides(*byte)));
                let texts = parts.filter_map(|part| std::str::from_utf8(part).ok());
                let texts = texts.map(|text| text.trim_matches([' ', '\t']));
                tags.extend(texts.filter(|text| !text.is_empty()).map(Box::from));
            }
        }
    }
    if tags.iter().any(|tag| tag.len() > TAG_MAX) {
        return Err(TooMuch::Tag);
    }
    tags.sort_unstable();
    tags.dedup();
    Ok(tags.into())
}

/// A structured list of strings (RFC 8941 3.1, 3.3.3); parameters are ignored (RFC 9875 2).
/// `None` if it is anything else.
fn strings(value: &[u8]) -> Option<Vec<Box<str>>> {
    let mut out = Vec::new();
    let mut rest = value.trim_ascii_start();
    if rest.is_empty() {
        return Some(out);
    }
    loop {
        let (text, after) = string(rest)?;
        if !text.is_empty() {
            out.push(text.into());
        }
        rest = skip_parameters(after)?.trim_ascii_start();
        match rest.split_first() {
            None => return Some(out),
            Some((b',', after)) => rest = after.trim_ascii_start(),
            Some(_) => return None,
        }
        if rest.is_empty() {
            return None;
        }
    }
}

/// A quoted string and what follows it (RFC 8941 4.2.5).
fn string(value: &[u8]) -> Option<(String, &[u8])> {
    let mut rest = value.strip_prefix(b"\"")?;
    let mut text = String::new();
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((text, rest)),
            b'\\' => {
                let (escaped, after) = rest.split_first()?;
                if !matches!(escaped, b'"' | b'\\') {
                    return None;
                }
                text.push(char::from(*escaped));
                rest = after;
            }
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => return None,
        }
    }
}

/// What follows `;name=value` pairs: values are strings or run to the next separator.
fn skip_parameters(mut rest: &[u8]) -> Option<&[u8]> {
    while let Some(after) = rest.strip_prefix(b";") {
        let after = after.trim_ascii_start();
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.*".contains(byte);
        let end = after.iter().position(|byte| !is_name(byte)).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        if name.is_empty() {
            return None;
        }
        rest = match after.strip_prefix(b"=") {
            None => after,
            Some(value) if value.starts_with(b"\"") => string(value)?.1,
            Some(value) => {
                let ends = |byte: &u8| matches!(byte, b';' | b',' | b' ' | b'\t');
                value.split_at(value.iter().position(ends).unwrap_or(value.len())).1
            }
        };
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &str)]) -> Result<Vec<String>, TooMuch> {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let names = crate::rules::site::Policy::default().tag_fields;
        tags(&fields, &names).map(|tags| tags.iter().map(|tag| tag.to_string()).collect())
    }

    #[test]
    fn every_field_is_divided_by_its_own_grammar() {
        assert_eq!(read(&[("surrogate-key", "b a\ta"), ("xkey", "c")]).unwrap(), ["a", "b", "c"]);
        assert_eq!(
            read(&[("cache-tag", "news of the day , b,,")]).unwrap(),
            ["b", "news of the day"]
        );
        assert_eq!(read(&[("edge-cache-tag", "x"), ("edge-cache-tag", "y")]).unwrap(), ["x", "y"]);
        assert_eq!(read(&[("surrogate-key", "a,b c")]).unwrap(), ["a,b", "c"]);
        assert_eq!(read(&[("x-other", "a")]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn cache_groups_are_a_structured_list_of_strings_or_nothing() {
        let groups = |value: &str| read(&[("cache-groups", value)]).unwrap();
        assert_eq!(
            groups("\"a\", \"b, c\";x=1;y=\"q,\" ,\"say \\\"hi\\\"\""),
            ["a", "b, c", "say \"hi\""]
        );
        assert_eq!(
            read(&[("cache-groups", "\"a\""), ("cache-groups", "\"b\"")]).unwrap(),
            ["a", "b"]
        );
        for broken in ["a, b", "\"a\" \"b\"", "\"a\",", "\"a", "\"a\\x\"", "(\"a\")", "\"a\";=1"] {
            assert!(groups(broken).is_empty(), "{broken}");
        }
    }

    #[test]
    fn what_breaks_a_limit_says_which() {
        let longest = "t".repeat(TAG_MAX);
        assert_eq!(read(&[("cache-tag", &longest)]).unwrap(), std::slice::from_ref(&longest));
        assert_eq!(read(&[("cache-tag", &format!("{longest}t"))]), Err(TooMuch::Tag));
        let many = "tag ".repeat(TAGS_MAX / 4);
        assert_eq!(read(&[("surrogate-key", &many)]).unwrap(), ["tag"]);
        assert_eq!(read(&[("surrogate-key", &many), ("xkey", "a")]), Err(TooMuch::All));
    }
}
