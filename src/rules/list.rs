//! Comma lists of field values (RFC 9110 5.6.1) over all lines of a field.
//!
//! A comma inside a quoted string does not split, a backslash inside one quotes the next
//! byte, and an unfinished quoted string swallows the rest: what follows it cannot be
//! told from its content.

use http::header::{HeaderMap, HeaderName};

/// The elements of one line, trimmed, empty ones left out.
pub fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = element_end(rest);
            let (element, after) = rest.split_at_checked(end)?;
            rest = after.get(1..).unwrap_or(&[]);
            let element = element.trim_ascii();
            if !element.is_empty() {
                return Some(element);
            }
        }
        None
    })
}

/// The elements of every line of `name`, in order (RFC 9110 5.3).
pub fn all<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    fields.get_all(name).into_iter().flat_map(|value| elements(value.as_bytes()))
}

/// Every line of `name` joined by a comma and a space (RFC 9110 5.3); `None` if absent.
pub fn joined(fields: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = fields.get_all(name).into_iter();
    let mut whole = lines.next()?.as_bytes().to_vec();
    for line in lines {
        whole.extend_from_slice(b", ");
        whole.extend_from_slice(line.as_bytes());
    }
    Some(whole)
}

/// The text inside a quoted string, if `value` is exactly one; backslashes resolved.
pub fn unquote(value: &[u8]) -> Option<Vec<u8>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => text.push(*bytes.next()?),
            _ => text.push(byte),
        }
    }
    Some(text)
}

fn element_end(rest: &[u8]) -> usize {
    let mut quoted = false;
    let mut at = 0;
    while let Some(&byte) = rest.get(at) {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            b',' if !quoted => return at,
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_commas_do_not_split() {
        let split = |line: &'static str| {
            elements(line.as_bytes()).map(|e| std::str::from_utf8(e).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(split("a, b=\"c, d\\\", e\" ,,f"), ["a", "b=\"c, d\\\", e\"", "f"]);
        assert_eq!(split("a, b=\"open, c"), ["a", "b=\"open, c"]);
        assert_eq!(split(" , ,"), Vec::<&str>::new());
        assert_eq!(split("a=\"\\"), ["a=\"\\"]);
    }

    #[test]
    fn unquoting_resolves_backslashes_and_refuses_the_rest() {
        assert_eq!(unquote(br#""a\"b""#), Some(b"a\"b".to_vec()));
        assert_eq!(unquote(b"\"\""), Some(Vec::new()));
        for bad in [&b"a"[..], b"\"", b"\"a", b"\"a\"b\"", b"\"a\\\""] {
            assert_eq!(unquote(bad), None);
        }
    }
}
