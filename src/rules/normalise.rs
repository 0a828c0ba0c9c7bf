//! Normal forms of request fields, so that requests an origin must treat alike share a
//! variant (RFC 9111 4.1).
//!
//! Two steps. `normalise` folds `Accept-Encoding` and `Accept-Language` in the request
//! itself, before anything else looks: what the origin sees is what was matched, so
//! folding can never serve an answer the origin would not have given. `form` then is the
//! value compared between requests; for unknown fields it only joins lines and drops
//! white space around commas, which no list syntax can tell apart.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::list;
use super::site::Policy;

/// Members of one field that are looked at; what follows is dropped when it is folded.
const MEMBERS_MAX: usize = 32;

/// Folds the negotiation fields of a request by the site's policy.
pub fn normalise(fields: &mut HeaderMap, policy: &Policy) {
    if !policy.encodings.is_empty() && fields.contains_key(header::ACCEPT_ENCODING) {
        fold_encodings(fields, &policy.encodings);
    }
    if fields.contains_key(header::ACCEPT_LANGUAGE) {
        fold_languages(fields, &policy.languages);
    }
}

/// The value of `name` as it is compared between requests; `None` if absent.
pub fn form(name: &HeaderName, fields: &HeaderMap) -> Option<Box<[u8]>> {
    if !fields.contains_key(name) {
        return None;
    }
    if *name == header::ACCEPT_LANGUAGE || *name == header::ACCEPT_ENCODING {
        let mut members = weighted(fields, name);
        // Order among equal weights means nothing (RFC 9110 12.5.4).
        members.sort_by(|one, two| two.weight.cmp(&one.weight).then(one.name.cmp(&two.name)));
        members.dedup();
        return Some(written(&members).into_bytes().into());
    }
    let mut whole = Vec::new();
    for (place, element) in list::all(fields, name).enumerate() {
        if place > 0 {
            whole.push(b',');
        }
        whole.extend_from_slice(element);
    }
    Some(whole.into())
}

/// The language that the request prefers to every other, in lower case, if there is one.
pub fn favourite_language(fields: &HeaderMap) -> Option<String> {
    let members = weighted(fields, &header::ACCEPT_LANGUAGE);
    let best = members.iter().max_by_key(|member| member.weight)?;
    let rivals = members.iter().filter(|member| member.weight == best.weight).count();
    (rivals == 1 && best.weight > 0 && best.name != "*").then(|| best.name.clone())
}

/// Keeps of `wanted` what the client accepts, in the order of `wanted`.
fn fold_encodings(fields: &mut HeaderMap, wanted: &[String]) {
    let members = weighted(fields, &header::ACCEPT_ENCODING);
    let weight = |name: &str| {
        let named = members.iter().find(|member| member.name == name);
        named.or_else(|| members.iter().find(|member| member.name == "*")).map(|m| m.weight)
    };
    let mut kept: Vec<&str> =
        wanted.iter().map(String::as_str).filter(|name| weight(name) > Some(0)).collect();
    // RFC 9110 12.5.3: not accepting the plain form must reach the origin.
    if members.iter().any(|member| member.name == "identity" && member.weight == 0) {
        kept.push("identity;q=0");
    }
    replace(fields, header::ACCEPT_ENCODING, &kept.join(", "));
}

/// The first of `wanted` that the client accepts; without such a list, the field's own
/// members in lower case, heaviest first.
fn fold_languages(fields: &mut HeaderMap, wanted: &[String]) {
    let mut members = weighted(fields, &header::ACCEPT_LANGUAGE);
    members.sort_by_key(|member| std::cmp::Reverse(member.weight));
    if wanted.is_empty() {
        let text = written(&members);
        return replace(fields, header::ACCEPT_LANGUAGE, &text);
    }
    let best = members.iter().filter(|member| member.weight > 0).find_map(|member| {
        wanted.iter().find(|language| {
            member.name == "*" || covers(&member.name, language) || covers(language, &member.name)
        })
    });
    replace(fields, header::ACCEPT_LANGUAGE, best.map_or("", String::as_str));
}

/// Basic filtering (RFC 4647 3.3.1): `en` covers `en-GB`.
fn covers(range: &str, tag: &str) -> bool {
    let Some(head) = tag.as_bytes().get(..range.len()) else { return false };
    head.eq_ignore_ascii_case(range.as_bytes())
        && matches!(tag.as_bytes().get(range.len()), None | Some(b'-'))
}

fn replace(fields: &mut HeaderMap, name: HeaderName, text: &str) {
    match HeaderValue::from_str(text) {
        Ok(value) if !text.is_empty() => {
            fields.insert(name, value);
        }
        _ => {
            fields.remove(name);
        }
    }
}

/// One member with its weight in thousandths.
#[derive(Debug, PartialEq, Eq)]
struct Member {
    name: String,
    weight: u16,
}

fn weighted(fields: &HeaderMap, name: &HeaderName) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for element in list::all(fields, name).take(MEMBERS_MAX) {
        let Ok(text) = std::str::from_utf8(element) else { continue };
        let (name, parameters) = text.split_once(';').unwrap_or((text, ""));
        let name = name.trim().to_ascii_lowercase();
        let weight = weight(parameters.trim());
        // What is no token or tag names nothing that could be preferred.
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-*_.+".contains(&byte);
        let valid = !name.is_empty() && name.bytes().all(named);
        if valid && !members.iter().any(|member| member.name == name) {
            members.push(Member { name, weight });
        }
    }
    members
}

/// `q=0.5` in thousandths (RFC 9110 12.4.2); what cannot be read is not acceptable.
fn weight(parameters: &str) -> u16 {
    if parameters.is_empty() {
        return 1000;
    }
    let Some((name, value)) = parameters.split_once('=') else { return 0 };
    if !name.trim().eq_ignore_ascii_case("q") {
        return 1000;
    }
    let (whole, part) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    let digits = part.bytes().all(|digit| digit.is_ascii_digit()) && part.len() <= 3;
    let part: u16 = format!("{part:0<3}").parse().unwrap_or(0);
    match whole {
        "0" if digits => part,
        "1" if digits && part == 0 => 1000,
        _ => 0,
    }
}

fn written(members: &[Member]) -> String {
    let mut text = String::new();
    for member in members {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&member.name);
        if member.weight < 1000 {
            let part = format!("{:03}", member.weight);
            let part = part.trim_end_matches('0');
            text.push_str(if part.is_empty() { ";q=0" } else { ";q=0." });
            text.push_str(part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: HeaderName, lines: &[&str]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(name.clone(), HeaderValue::from_str(line).unwrap());
        }
        fields
    }

    #[test]
    fn encodings_fold_to_the_site_s_own_order() {
        let policy = Policy::default();
        for (sent, wanted) in [
            ("gzip, deflate, br", Some("br, gzip")),
            ("GZIP;q=0.5, br;q=0", Some("gzip")),
            ("*", Some("zstd, br, gzip")),
            ("*;q=0.1, br;q=0", Some("zstd, gzip")),
            ("deflate", None),
            ("identity;q=0, gzip", Some("gzip, identity;q=0")),
            ("gzip;q=nonsense", None),
        ] {
            let mut fields = one(header::ACCEPT_ENCODING, &[sent]);
            normalise(&mut fields, &policy);
            let text = fields.get(header::ACCEPT_ENCODING).map(|value| value.to_str().unwrap());
            assert_eq!(text, wanted, "{sent}");
            let again = fields.clone();
            normalise(&mut fields, &policy);
            assert_eq!(fields, again, "folding twice is folding once");
        }
    }

    #[test]
    fn languages_keep_their_order_or_fold_to_the_site_s() {
        let fold = |sent: &str, languages: &[&str]| {
            let languages = languages.iter().map(|&l| l.to_owned()).collect();
            let policy = Policy { languages, ..Policy::default() };
            let mut fields = one(header::ACCEPT_LANGUAGE, &[sent]);
            normalise(&mut fields, &policy);
            fields.get(header::ACCEPT_LANGUAGE).map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(fold("en;q=0.5 ,DE-at", &[]).unwrap(), "de-at, en;q=0.5");
        assert_eq!(fold("fr, en-GB;q=0.8, de;q=0.7", &["de", "en"]).unwrap(), "en");
        assert_eq!(fold("fr", &["de", "en"]), None);
        assert_eq!(fold("*", &["de", "en"]).unwrap(), "de");
    }

    #[test]
    fn forms_ignore_what_means_nothing() {
        let foo = HeaderName::from_static("foo");
        let form_of = |name: &HeaderName, lines: &[&str]| form(name, &one(name.clone(), lines));
        assert_eq!(form_of(&foo, &["1, 2"]), form_of(&foo, &["1", "2"]));
        assert_eq!(form_of(&foo, &["1,2"]), form_of(&foo, &[" 1, 2 "]));
        assert_ne!(form_of(&foo, &["1 2"]), form_of(&foo, &["12"]));
        assert_ne!(form_of(&foo, &["A"]), form_of(&foo, &["a"]));
        assert_ne!(form_of(&foo, &[""]), form_of(&foo, &[]));
        let language = header::ACCEPT_LANGUAGE;
        assert_eq!(form_of(&language, &["en, de"]), form_of(&language, &["De,  eN"]));
        assert_ne!(form_of(&language, &["en, de;q=0.5"]), form_of(&language, &["de, en;q=0.5"]));
    }
}
