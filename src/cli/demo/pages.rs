//! The files of the demo's site, embedded in the program. All of them were made for it:
//! the font is a 5 by 7 pixel design drawn by a script, the picture comes from numbers.

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

/// One file and the rule that the origin gives for it.
#[derive(Debug)]
pub struct File {
    /// Where it is.
    pub path: &'static str,
    /// Its media type.
    pub kind: &'static str,
    /// `Cache-Control`.
    pub cache: &'static str,
    /// `Surrogate-Key`.
    pub tags: &'static str,
    /// Whether it is also offered as gzip.
    pub compress: bool,
    /// Its bytes.
    pub body: &'static [u8],
}

/// Pages: fresh for half a minute, then shown stale for a minute while they are fetched.
const PAGE: &str = "max-age=0, s-maxage=30, stale-while-revalidate=60";
/// Assets never change under their name (RFC 8246).
const ASSET: &str = "public, max-age=31536000, immutable";
const HTML: &str = "text/html; charset=utf-8";

/// All files.
pub const FILES: &[File] = &[
    page("/", include_bytes!("site/index.html"), "pages home"),
    page("/experiments.html", include_bytes!("site/experiments.html"), "pages experiments"),
    page("/journey.html", include_bytes!("site/journey.html"), "pages journey"),
    asset("/assets/style.css", "text/css; charset=utf-8", include_bytes!("site/style.css"), true),
    asset("/assets/app.js", "text/javascript; charset=utf-8", include_bytes!("site/app.js"), true),
    asset("/assets/mark.svg", "image/svg+xml", include_bytes!("site/mark.svg"), true),
    asset("/assets/pixel.woff2", "font/woff2", include_bytes!("site/pixel.woff2"), false),
    asset("/assets/skyline.png", "image/png", include_bytes!("site/skyline.png"), false),
];

const fn page(path: &'static str, body: &'static [u8], tags: &'static str) -> File {
    File { path, kind: HTML, cache: PAGE, tags, compress: true, body }
}

const fn asset(
    path: &'static str,
    kind: &'static str,
    body: &'static [u8],
    compress: bool,
) -> File {
    File { path, kind, cache: ASSET, tags: "assets", compress, body }
}

/// Where the large download is.
pub const SAMPLE: &str = "/download/sample.bin";

/// Its size: 4 MiB.
const SAMPLE_BYTES: usize = 4 << 20;

/// The large download: noise that does not compress, the same at every start.
pub fn sample() -> Bytes {
    let mut body = vec![0; SAMPLE_BYTES];
    SmallRng::seed_from_u64(2026).fill_bytes(&mut body);
    Bytes::from(body)
}
