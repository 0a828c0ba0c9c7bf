//! Media types by extension: the ones the web is made of.
//!
//! A table of our own: the crates that know a thousand types disagree about the dozen
//! that matter (`text/javascript`, RFC 9239; fonts, RFC 8081).

/// The media type of a file name, and whether it is worth compressing.
pub fn of(name: &str) -> (&'static str, bool) {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let extension = extension.to_ascii_lowercase();
    let found = TYPES.iter().find(|(known, _, _)| *known == extension);
    found.map_or(("application/octet-stream", false), |&(_, media, text)| (media, text))
}

const TYPES: &[(&str, &str, bool)] = &[
    ("html", "text/html; charset=utf-8", true),
    ("htm", "text/html; charset=utf-8", true),
    ("css", "text/css; charset=utf-8", true),
    ("js", "text/javascript; charset=utf-8", true),
    ("mjs", "text/javascript; charset=utf-8", true),
    ("json", "application/json", true),
    ("map", "application/json", true),
    ("webmanifest", "application/manifest+json", true),
    ("xml", "application/xml", true),
    ("rss", "application/rss+xml", true),
    ("atom", "application/atom+xml", true),
    ("txt", "text/plain; charset=utf-8", true),
    ("md", "text/markdown; charset=utf-8", true),
    ("csv", "text/csv; charset=utf-8", true),
    ("ics", "text/calendar; charset=utf-8", true),
    ("vtt", "text/vtt; charset=utf-8", true),
    ("svg", "image/svg+xml", true),
    ("png", "image/png", false),
    ("jpg", "image/jpeg", false),
    ("jpeg", "image/jpeg", false),
    ("gif", "image/gif", false),
    ("webp", "image/webp", false),
    ("avif", "image/avif", false),
    ("ico", "image/x-icon", true),
    ("bmp", "image/bmp", true),
    ("woff", "font/woff", false),
    ("woff2", "font/woff2", false),
    ("ttf", "font/ttf", true),
    ("otf", "font/otf", true),
    ("wasm", "application/wasm", true),
    ("pdf", "application/pdf", false),
    ("zip", "application/zip", false),
    ("gz", "application/gzip", false),
    ("br", "application/octet-stream", false),
    ("zst", "application/zstd", false),
    ("tar", "application/x-tar", false),
    ("mp3", "audio/mpeg", false),
    ("m4a", "audio/mp4", false),
    ("ogg", "audio/ogg", false),
    ("opus", "audio/ogg", false),
    ("wav", "audio/wav", false),
    ("mp4", "video/mp4", false),
    ("m4v", "video/mp4", false),
    ("webm", "video/webm", false),
    ("m3u8", "application/vnd.apple.mpegurl", true),
    ("mpd", "application/dash+xml", true),
    ("ts", "video/mp2t", false),
    ("m4s", "video/iso.segment", false),
    ("eot", "application/vnd.ms-fontobject", true),
];
