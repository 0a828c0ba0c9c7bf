//! Bytes and field values: the small grammars of RFC 9110 5 and RFC 3986 that heads and
//! trailers share.

/// `tchar` (RFC 9110 5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

/// A non-empty `token`.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| is_token_byte(*b))
}

/// Whether a field value holds a byte that RFC 9110 5.5 forbids: any control character
/// but HTAB. Written without branches so that it is vectorised.
pub(super) fn has_control(value: &[u8]) -> bool {
    value.iter().fold(false, |bad, &b| bad | ((b < 0x20) & (b != b'\t')) | (b == 0x7f))
}

/// Without the optional whitespace around it (RFC 9110 5.6.3).
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// `uri-host [ ":" port ]` (RFC 9110 7.2), restricted to names and addresses that can
/// exist: letters, digits, `-`, `.`, `_`, or an IPv6 address in brackets.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (host_ok, port) = match value {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let (address, port) = rest.split_at(end);
            let port = port.get(1..).unwrap_or_default();
            let text = std::str::from_utf8(address).ok();
            (text.is_some_and(|t| t.parse::<std::net::Ipv6Addr>().is_ok()), port)
        }
        _ => {
            let end = memchr::memchr(b':', value).unwrap_or(value.len());
            let (name, port) = value.split_at(end);
            let fine = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            let no_empty_label =
                !name.starts_with(b".") && memchr::memmem::find(name, b"..").is_none();
            (
                !name.is_empty()
                    && name.len() <= 253 + 1
                    && name.iter().all(fine)
                    && no_empty_label,
                port,
            )
        }
    };
    let port_ok = match port {
        [] => true,
        // An empty port is the default one (RFC 3986 3.2.3).
        [b':'] => true,
        [b':', digits @ ..] => digits.len() <= 5 && decimal(digits).is_some_and(|n| n <= 65_535),
        _ => false,
    };
    host_ok && port_ok
}

/// `1*DIGIT`, no sign, no space, no overflow (RFC 9110 8.6).
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Bytes a target may have: RFC 3986 and the few more that browsers send unescaped.
/// Never `#`, quotes, angle brackets, controls or anything outside ASCII; no backslash in
/// a path, because some origins take it for a slash.
pub(super) fn is_target(target: &[u8]) -> bool {
    let question = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(question);
    let path_ok =
        |b: &u8| matches!(b, b'!' | b'$'..=b';' | b'=' | b'@'..=b'[' | b']'..=b'_' | b'a'..=b'~');
    let query_ok = |b: &u8| matches!(b, b'!' | b'$'..=b';' | b'=' | b'?'..=b'~');
    path.iter().all(path_ok) && query.iter().all(query_ok)
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        i += 1;
    }
    table
};
