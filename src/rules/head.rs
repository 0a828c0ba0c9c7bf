//! Status and header fields of a stored response, packed into one block.
//!
//! The block is our own memory: fields in the order they came, standard names as one
//! byte, other names inline, values as bytes. Values are handed out again as shared
//! slices of the block, so a hit copies none of them. Keeping hyper's `HeaderMap` was
//! rejected: it pins the connection's read buffer. A field is
//!
//! ```text
//! id (1 byte, 0 = name follows) [name length (1) name] value length (2, big endian) value
//! ```
//!
//! The ids are also what the disk tier writes: the table may grow at its end only.

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// A packed head. Cloning shares the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The stored status.
    pub status: StatusCode,
    block: Bytes,
}

impl Head {
    /// Packs `fields`, except those for which `keep` says no. `None` if a name or value
    /// is longer than the block can say (255 and 65,535 bytes).
    pub fn pack(
        status: StatusCode,
        fields: &HeaderMap,
        keep: impl Fn(&HeaderName) -> bool,
    ) -> Option<Head> {
        let mut block = BytesMut::with_capacity(packed_len(fields));
        for (name, value) in fields.iter().filter(|(name, _)| keep(name)) {
            match id_of(name) {
                Some(id) => block.put_u8(id),
                None => {
                    block.put_u8(0);
                    block.put_u8(u8::try_from(name.as_str().len()).ok()?);
                    block.put_slice(name.as_str().as_bytes());
                }
            }
            block.put_u16(u16::try_from(value.len()).ok()?);
            block.put_slice(value.as_bytes());
        }
        // An exact-size copy: what BytesMut over-allocated must not stay.
        Some(Head { status, block: Bytes::copy_from_slice(&block) })
    }

    /// A head from a block that was stored elsewhere; `None` if it is not one.
    pub fn from_block(status: StatusCode, block: Bytes) -> Option<Head> {
        let head = Head { status, block };
        let mut at = 0;
        while at < head.block.len() {
            let field = field_at(&head.block, at)?;
            HeaderValue::from_bytes(head.block.get(field.value.0..field.value.1)?).ok()?;
            field.name(&head.block)?;
            at = field.value.1;
        }
        Some(head)
    }

    /// The same with another status and without `Content-Range`: for parts that have been
    /// joined, whose old range is no longer true.
    pub fn joined(&self, status: StatusCode) -> Head {
        let keep = |name: &HeaderName| *name != header::CONTENT_RANGE;
        Head::pack(status, &self.to_map(0), keep)
            .unwrap_or_else(|| Head { status, block: self.block.clone() })
    }

    /// The same in a block of its own. A shared block keeps its count of owners beside it
    /// for as long as it lives, which is 32 bytes an object once it is stored.
    pub fn apart(&self) -> Head {
        Head { status: self.status, block: Bytes::copy_from_slice(&self.block) }
    }

    /// The packed bytes, for the disk tier.
    pub fn block(&self) -> &Bytes {
        &self.block
    }

    /// Bytes it occupies.
    pub fn weight(&self) -> usize {
        self.block.len()
    }

    /// The first value of `name`.
    pub fn find(&self, name: &HeaderName) -> Option<&[u8]> {
        let id = id_of(name);
        let mut at = 0;
        while let Some(field) = field_at(&self.block, at) {
            if field.is(&self.block, id, name) {
                return self.block.get(field.value.0..field.value.1);
            }
            at = field.value.1;
        }
        None
    }

    /// The first value of `name`, if it is text.
    pub fn text(&self, name: &HeaderName) -> Option<&str> {
        std::str::from_utf8(self.find(name)?).ok()
    }

    /// Every field in order; values share the block.
    pub fn iter(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let field = field_at(&self.block, at)?;
            at = field.value.1;
            let value = self.block.slice(field.value.0..field.value.1);
            Some((field.name(&self.block)?, HeaderValue::from_maybe_shared(value).ok()?))
        })
    }

    /// Every field in order as bytes.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let field = field_at(&self.block, at)?;
            at = field.value.1;
            let name = match field.id {
                0 => self.block.get(field.name.0..field.name.1)?,
                id => NAMES.get(usize::from(id) - 1)?.as_str().as_bytes(),
            };
            Some((name, self.block.get(field.value.0..field.value.1)?))
        })
    }

    /// All fields as a map with room for `spare` more.
    pub fn to_map(&self, spare: usize) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(16 + spare);
        for (name, value) in self.iter() {
            map.append(name, value);
        }
        map
    }
}

/// Where a field of the block lies: its id, its inline name, its value.
struct Field {
    id: u8,
    name: (usize, usize),
    value: (usize, usize),
}

impl Field {
    fn name(&self, block: &[u8]) -> Option<HeaderName> {
        match self.id {
            0 => HeaderName::from_bytes(block.get(self.name.0..self.name.1)?).ok(),
            id => NAMES.get(usize::from(id) - 1).cloned(),
        }
    }

    fn is(&self, block: &[u8], id: Option<u8>, name: &HeaderName) -> bool {
        match id {
            Some(id) => self.id == id,
            None => {
                self.id == 0
                    && block.get(self.name.0..self.name.1) == Some(name.as_str().as_bytes())
            }
        }
    }
}

fn field_at(block: &[u8], at: usize) -> Option<Field> {
    let id = *block.get(at)?;
    let name = match id {
        0 => (at + 2, at + 2 + usize::from(*block.get(at + 1)?)),
        _ => (at + 1, at + 1),
    };
    let length = match block.get(name.1..name.1 + 2)? {
        [high, low] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => return None,
    };
    let value = (name.1 + 2, name.1 + 2 + length);
    (value.1 <= block.len()).then_some(Field { id, name, value })
}

fn packed_len(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

fn id_of(name: &HeaderName) -> Option<u8> {
    NAMES.iter().position(|known| known == name).map(|at| at as u8 + 1)
}

/// Names with an id (place in the list plus one). Append only: the disk tier keeps ids.
static NAMES: [HeaderName; 34] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CACHE_CONTROL,
    header::DATE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::EXPIRES,
    header::AGE,
    header::VARY,
    header::SERVER,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::CONTENT_DISPOSITION,
    header::CONTENT_SECURITY_POLICY,
    header::ACCEPT_RANGES,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    header::STRICT_TRANSPORT_SECURITY,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_FRAME_OPTIONS,
    header::X_XSS_PROTECTION,
    header::REFERRER_POLICY,
    header::LINK,
    header::LOCATION,
    header::PRAGMA,
    header::VIA,
    header::ALT_SVC,
    header::SET_COOKIE,
    header::RETRY_AFTER,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(header::ETAG, HeaderValue::from_static("\"a\""));
        map.append(header::LINK, HeaderValue::from_static("</a>"));
        map.append(header::LINK, HeaderValue::from_static("</b>"));
        map.insert("x-custom", HeaderValue::from_bytes(b"\xfc empty follows").unwrap());
        map.insert("x-empty", HeaderValue::from_static(""));
        map
    }

    #[test]
    fn what_is_packed_unpacks_with_every_line() {
        let head = Head::pack(StatusCode::OK, &sample(), |_| true).unwrap();
        assert_eq!(head.to_map(4), sample());
        assert_eq!(head.find(&header::LINK), Some(&b"</a>"[..]));
        assert_eq!(head.find(&HeaderName::from_static("x-empty")), Some(&b""[..]));
        assert_eq!(head.find(&header::AGE), None);
        assert_eq!(Head::from_block(StatusCode::OK, head.block().clone()), Some(head));
    }

    #[test]
    fn a_hit_shares_the_value_bytes() {
        let head = Head::pack(StatusCode::OK, &sample(), |_| true).unwrap();
        let block = head.block().as_ptr_range();
        for (_, value) in head.iter().filter(|(_, value)| !value.is_empty()) {
            assert!(block.contains(&value.as_bytes().as_ptr()));
        }
    }

    #[test]
    fn a_garbled_block_is_not_a_head() {
        let block = Head::pack(StatusCode::OK, &sample(), |_| true).unwrap().block().clone();
        for cut in 1..block.len() {
            // A cut either ends at a field's border or is refused; it never panics.
            let _ = Head::from_block(StatusCode::OK, block.slice(..cut));
        }
        for bad in [&b"\x01\x00"[..], b"\xff\x00\x00", b"\x00\x01 \x00\x00", b"\x01\x00\x01\n"] {
            assert_eq!(Head::from_block(StatusCode::OK, Bytes::copy_from_slice(bad)), None);
        }
    }
}
