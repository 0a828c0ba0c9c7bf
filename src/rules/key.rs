//! The cache key: canonical text and its 128-bit keyed hash.
//!
//! The text is `scheme://host:port/path?query` with what the site's key options say of
//! the query. It is kept in every entry and compared on every hit, so a collision of the
//! hash is a miss and never somebody else's answer. Built in one pass; short keys stay
//! on the stack.

use super::asked::Asked;
use super::site::QueryKey;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The random seed of the hash: one a node, kept with the disk cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySeed(pub u64);

/// Text and hash of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    hash: u128,
    text: SmallVec<[u8; 160]>,
}

impl Key {
    /// Hashes `text`.
    pub fn new(seed: KeySeed, text: SmallVec<[u8; 160]>) -> Self {
        Key { hash: xxh3_128_with_seed(&text, seed.0), text }
    }

    /// The 128-bit hash that tables are keyed by.
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// The canonical text.
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

/// The key of a request: scheme, host, port and path byte for byte as they are forwarded,
/// and of the query what the site's option says.
pub fn key_of(seed: KeySeed, asked: &Asked, query: &QueryKey) -> Key {
    let mut text: SmallVec<[u8; 160]> = SmallVec::new();
    origin(&mut text, asked);
    text.extend_from_slice(asked.target.path().as_bytes());
    if let Some(sent) = asked.target.query() {
        put_query(&mut text, sent.as_bytes(), query);
    }
    Key::new(seed, text)
}

/// `scheme://host:port`
fn origin(text: &mut SmallVec<[u8; 160]>, asked: &Asked) {
    text.extend_from_slice(asked.scheme.as_str().as_bytes());
    text.extend_from_slice(b"://");
    text.extend_from_slice(asked.host.as_str().as_bytes());
    text.push(b':');
    text.extend_from_slice(itoa::Buffer::new().format(asked.port).as_bytes());
}

/// An empty query (`/a?`) differs from none under `All`, because an origin can tell.
fn put_query(text: &mut SmallVec<[u8; 160]>, sent: &[u8], option: &QueryKey) {
    let parameters = || sent.split(|&byte| byte == b'&').filter(|part| !part.is_empty());
    let listed = |names: &[String], part: &[u8]| {
        let name = name_of(part);
        names.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix.as_bytes()),
            None => name == wanted.as_bytes(),
        })
    };
    let mut kept: SmallVec<[&[u8]; 16]> = match option {
        QueryKey::All => {
            text.push(b'?');
            return text.extend_from_slice(sent);
        }
        QueryKey::None => return,
        QueryKey::Only(names) => parameters().filter(|part| listed(names, part)).collect(),
        QueryKey::Except(names) => parameters().filter(|part| !listed(names, part)).collect(),
        QueryKey::Sorted => parameters().collect(),
    };
    if *option == QueryKey::Sorted {
        // Stable: the order of equal names means something to many origins.
        kept.sort_by(|one, two| name_of(one).cmp(name_of(two)));
    }
    for (place, part) in kept.iter().enumerate() {
        text.push(if place == 0 { b'?' } else { b'&' });
        text.extend_from_slice(part);
    }
}

fn name_of(part: &[u8]) -> &[u8] {
    part.split(|&byte| byte == b'=').next().unwrap_or(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::asked::{Host, Scheme};

    fn text(target: &'static str, query: &QueryKey) -> String {
        let asked = Asked {
            method: http::Method::GET,
            scheme: Scheme::Https,
            host: Host::from_valid("Example.COM"),
            port: 8443,
            target: http::uri::PathAndQuery::from_static(target),
        };
        String::from_utf8(key_of(KeySeed(1), &asked, query).text().to_vec()).unwrap()
    }

    #[test]
    fn the_key_keeps_every_byte_an_origin_could_tell_apart() {
        let all = |target| text(target, &QueryKey::All);
        assert_eq!(all("/A%2f/../b?x=1&&y"), "https://example.com:8443/A%2f/../b?x=1&&y");
        assert_ne!(all("/a?"), all("/a"));
        assert_ne!(all("/a%2F"), all("/a%2f"));
    }

    #[test]
    fn query_options_keep_ignore_and_sort() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let tail = |query: &QueryKey| text("/p?b=2&utm_a=1&a=1&b=1", query)[26..].to_owned();
        assert_eq!(tail(&QueryKey::None), "");
        assert_eq!(tail(&QueryKey::Only(names(&["b"]))), "?b=2&b=1");
        assert_eq!(tail(&QueryKey::Except(names(&["utm_*", "b"]))), "?a=1");
        assert_eq!(tail(&QueryKey::Sorted), "?a=1&b=2&b=1&utm_a=1");
    }

    #[test]
    fn the_seed_changes_the_hash_and_the_text_stays() {
        let text = || SmallVec::from_slice(b"https://a:443/x");
        let (one, two) = (Key::new(KeySeed(1), text()), Key::new(KeySeed(2), text()));
        assert_ne!(one.hash(), two.hash());
        assert_eq!(one.text(), two.text());
    }
}
