//! Lists of URLs to warm: plain text with one a line, and sitemaps (sitemaps.org 0.9),
//! plain or compressed with gzip.
//!
//! No XML parser: of a sitemap only the text of `<loc>` matters, and what is not a URL is
//! refused later, like every other URL.

use std::io::Read;

use flate2::read::MultiGzDecoder;

/// Longest list or sitemap in bytes, decompressed; the protocol's own limit.
pub(super) const LIST_MAX: usize = 50 << 20;

/// What a list names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Pages.
    pub urls: Vec<String>,
    /// Further sitemaps, of an index.
    pub sitemaps: Vec<String>,
}

/// Reads a list or a sitemap.
///
/// # Errors
/// What is wrong with it, in words.
pub fn listed(bytes: &[u8]) -> Result<Listed, String> {
    let unpacked;
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut out = Vec::new();
        let mut reader = MultiGzDecoder::new(bytes).take(LIST_MAX as u64 + 1);
        reader.read_to_end(&mut out).map_err(|error| format!("not gzip: {error}"))?;
        unpacked = out;
        &unpacked[..]
    } else {
        bytes
    };
    if bytes.len() > LIST_MAX {
        return Err(format!("longer than {LIST_MAX} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned())?;
    let text = text.trim_start_matches('\u{feff}');
    if !text.trim_start().starts_with('<') {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        return Ok(Listed { urls: lines.map(str::to_owned).collect(), sitemaps: Vec::new() });
    }
    let places = text.split("<loc>").skip(1).filter_map(|rest| rest.split("</loc>").next());
    let urls: Vec<String> = places.map(plain).collect();
    match (urls.is_empty(), text.contains("<sitemapindex")) {
        (true, _) => Err("a sitemap without a <loc>".to_owned()),
        (false, true) => Ok(Listed { urls: Vec::new(), sitemaps: urls }),
        (false, false) => Ok(Listed { urls, sitemaps: Vec::new() }),
    }
}

/// The text of an element.
fn plain(text: &str) -> String {
    let text = text.trim();
    if let Some(data) = text.strip_prefix("<![CDATA[") {
        return data.trim_end_matches("]]>").trim().to_owned();
    }
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    pairs.iter().fold(text.to_owned(), |text, (name, sign)| text.replace(name, sign))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn urls(text: &str) -> Vec<String> {
        listed(text.as_bytes()).unwrap().urls
    }

    #[test]
    fn lists_and_sitemaps_give_their_urls() {
        assert_eq!(urls("# a\nhttp://h/1\n\n http://h/2 \n"), ["http://h/1", "http://h/2"]);
        let map = "\u{feff}<?xml version=\"1.0\"?><urlset><url><loc>http://h/?a=1&amp;b=2</loc>\
                   </url><url><loc>\nhttp://h/2\n</loc></url><url>\
                   <loc><![CDATA[http://h/3?x&y]]></loc></url></urlset>";
        assert_eq!(urls(map), ["http://h/?a=1&b=2", "http://h/2", "http://h/3?x&y"]);
        let index = "<sitemapindex><sitemap><loc>http://h/1.xml</loc></sitemap></sitemapindex>";
        let found = listed(index.as_bytes()).unwrap();
        assert_eq!((found.urls.len(), found.sitemaps), (0, vec!["http://h/1.xml".to_owned()]));
    }

    #[test]
    fn a_compressed_sitemap_is_unpacked_and_a_bad_one_refused() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"http://h/1\n").unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(listed(&packed).unwrap().urls, ["http://h/1"]);
        assert!(listed(&packed[..packed.len() - 6]).is_err());
        assert!(listed(b"<html></html>").is_err());
        assert!(listed(b"\xff\xfe").is_err());
    }
}
