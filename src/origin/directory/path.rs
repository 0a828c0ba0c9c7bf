//! From a request target to names inside the root. Pure.
//!
//! Percent-encoding is undone once. What no honest link contains is refused rather than
//! interpreted: an encoded slash, `..`, a backslash, control characters. Names that begin
//! with a dot are not served (`.git`, `.env`), except `.well-known` (RFC 8615).

/// A path inside the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Relative, without leading or trailing slash; empty for the root itself.
    pub path: String,
    /// The target ended with a slash: a directory is meant.
    pub directory: bool,
}

/// Maps the path of a target; `None` if nothing can be there.
pub fn inside(path: &str) -> Option<Inside> {
    let rest = path.strip_prefix('/')?;
    let directory = rest.is_empty() || rest.ends_with('/');
    let mut out = String::with_capacity(rest.len());
    for segment in rest.split('/').filter(|segment| !segment.is_empty()) {
        let name = decode(segment)?;
        let hidden = name.starts_with('.') && name != ".well-known";
        if hidden || name.contains(['/', '\\']) || name.chars().any(char::is_control) {
            return None;
        }
        if !out.is_empty() {
            out.push('/');
        }
        out.push_str(&name);
    }
    Some(Inside { path: out, directory })
}

/// Undoes percent-encoding; `None` for a broken triplet or what is not UTF-8.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push((high << 4 | low) as u8);
    }
    String::from_utf8(bytes).ok()
}

/// Where a directory asked for without its slash is: the same path with one. Leading
/// slashes are folded, because `//host/` in `Location` would lead to another host.
pub fn with_slash(path: &str, query: Option<&str>) -> String {
    let mut out = format!("/{}/", path.trim_start_matches('/'));
    if let Some(query) = query {
        out.push('?');
        out.push_str(query);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_targets_lead_to_files() {
        for (target, path, directory) in [
            ("/", "", true),
            ("/a/b.css", "a/b.css", false),
            ("/a/", "a", true),
            ("//a///b", "a/b", false),
            ("/a%20b", "a b", false),
            ("/%C3%BC.txt", "ü.txt", false),
            ("/.well-known/x", ".well-known/x", false),
            ("/a..b/c", "a..b/c", false),
        ] {
            let wanted = Some(Inside { path: path.to_owned(), directory });
            assert_eq!(inside(target), wanted, "{target}");
        }
    }

    #[test]
    fn targets_that_try_to_get_out_lead_nowhere() {
        for target in [
            "*",
            "/..",
            "/../etc/passwd",
            "/a/../../b",
            "/%2e%2e/x",
            "/.%2e/x",
            "/a%2fb",
            "/a%00b",
            "/a%0ab",
            "/..%5cx",
            "/a\\b",
            "/%",
            "/%zz",
            "/%ff",
            "/.git/config",
            "/.env",
            "/./a",
        ] {
            assert_eq!(inside(target), None, "{target}");
        }
    }

    #[test]
    fn a_redirect_stays_on_this_host() {
        assert_eq!(with_slash("//evil.example/x", None), "/evil.example/x/");
        assert_eq!(with_slash("/a", Some("b=c")), "/a/?b=c");
    }
}
