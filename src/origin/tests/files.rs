//! A directory as an origin.

use std::os::unix::fs::symlink;
use std::path::Path;

use http::{HeaderMap, Method};
use http_body_util::BodyExt;

use super::*;
use crate::origin::{DirectoryOptions, Symlinks};

fn group(root: &Path, change: impl FnOnce(&mut DirectoryOptions)) -> Arc<Group> {
    let mut directory = DirectoryOptions::new(root.to_path_buf());
    change(&mut directory);
    let options = GroupOptions {
        name: "files".to_owned(),
        directory: Some(directory),
        ..GroupOptions::default()
    };
    Group::new(options).unwrap()
}

struct Got {
    status: u16,
    fields: HeaderMap,
    body: Bytes,
}

impl Got {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(group: &Group, method: Method, path: &str, fields: &[(&'static str, &str)]) -> Got {
    let mut asking = request(method, path);
    for (name, value) in fields {
        asking.headers_mut().insert(*name, value.parse().unwrap());
    }
    let answer = group.send(asking, &SendContext::default()).await.unwrap();
    let (parts, body) = answer.response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Got { status: parts.status.as_u16(), fields: parts.headers, body }
}

fn site() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("docs")).unwrap();
    std::fs::write(root.path().join("index.html"), "<h1>home</h1>").unwrap();
    std::fs::write(root.path().join("docs/index.html"), "<h1>docs</h1>").unwrap();
    std::fs::write(root.path().join("a.css"), "body{color:red}").unwrap();
    std::fs::write(root.path().join("a.css.br"), "BR").unwrap();
    std::fs::write(root.path().join("a.css.gz"), "GZIP").unwrap();
    std::fs::write(root.path().join(".secret"), "no").unwrap();
    let big: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(root.path().join("big.bin"), big).unwrap();
    root
}

#[tokio::test]
async fn files_come_with_type_length_and_validators() {
    let root = site();
    let group = group(root.path(), |_| {});
    let got = ask(&group, Method::GET, "/", &[]).await;
    assert_eq!((got.status, &got.body[..]), (200, &b"<h1>home</h1>"[..]));
    assert_eq!(got.field("content-type"), "text/html; charset=utf-8");
    assert_eq!(got.field("content-length"), "13");
    assert!(got.field("etag").starts_with('"'));
    assert!(got.field("last-modified").ends_with("GMT"));
    let head = ask(&group, Method::HEAD, "/", &[]).await;
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, "13", 0));
    let docs = ask(&group, Method::GET, "/docs?x=y", &[]).await;
    assert_eq!((docs.status, docs.field("location")), (301, "/docs/?x=y"));
    assert_eq!(ask(&group, Method::GET, "/docs/", &[]).await.body, "<h1>docs</h1>");
    assert_eq!(ask(&group, Method::GET, "/nothing", &[]).await.status, 404);
    assert_eq!(ask(&group, Method::GET, "/a.css/", &[]).await.status, 404);
    assert_eq!(ask(&group, Method::POST, "/", &[]).await.status, 405);
}

#[tokio::test]
async fn an_unchanged_file_is_a_304_and_a_changed_one_is_not() {
    let root = site();
    let group = group(root.path(), |_| {});
    let first = ask(&group, Method::GET, "/a.css", &[]).await;
    let tag = first.field("etag");
    let again = ask(&group, Method::GET, "/a.css", &[("if-none-match", tag)]).await;
    assert_eq!((again.status, again.field("etag"), again.body.len()), (304, tag, 0));
    let since = first.field("last-modified");
    let again = ask(&group, Method::GET, "/a.css", &[("if-modified-since", since)]).await;
    assert_eq!(again.status, 304);
    let new = root.path().join("new");
    std::fs::write(&new, "body{color:blu}").unwrap();
    std::fs::rename(&new, root.path().join("a.css")).unwrap();
    let changed = ask(&group, Method::GET, "/a.css", &[("if-none-match", tag)]).await;
    assert_eq!((changed.status, &changed.body[..]), (200, &b"body{color:blu}"[..]));
}

#[tokio::test]
async fn ranges_are_cut_from_large_files() {
    let root = site();
    let group = group(root.path(), |_| {});
    let whole = ask(&group, Method::GET, "/big.bin", &[]).await;
    assert_eq!(whole.body.len(), 3_000_000);
    for (range, shown, from, to) in [
        ("bytes=0-0", "bytes 0-0/3000000", 0, 1),
        ("bytes=1000-1999999", "bytes 1000-1999999/3000000", 1000, 2_000_000),
        ("bytes=-5", "bytes 2999995-2999999/3000000", 2_999_995, 3_000_000),
    ] {
        let got = ask(&group, Method::GET, "/big.bin", &[("range", range)]).await;
        assert_eq!((got.status, got.field("content-range")), (206, shown));
        assert_eq!(got.body, whole.body.slice(from..to));
    }
    let beyond = ask(&group, Method::GET, "/big.bin", &[("range", "bytes=3000000-")]).await;
    assert_eq!((beyond.status, beyond.field("content-range")), (416, "bytes */3000000"));
    let other = [("range", "bytes=0-0"), ("if-range", "\"other\"")];
    assert_eq!(ask(&group, Method::GET, "/big.bin", &other).await.status, 200);
    let same = [("range", "bytes=0-0"), ("if-range", whole.field("etag"))];
    assert_eq!(ask(&group, Method::GET, "/big.bin", &same).await.status, 206);
}

#[tokio::test]
async fn a_compressed_sibling_is_served_to_those_who_take_it() {
    let root = site();
    let group = group(root.path(), |_| {});
    for (accept, coding, body) in [
        ("gzip, br", "br", "BR"),
        ("gzip, br;q=0", "gzip", "GZIP"),
        ("*", "br", "BR"),
        ("identity", "", "body{color:red}"),
    ] {
        let got = ask(&group, Method::GET, "/a.css", &[("accept-encoding", accept)]).await;
        assert_eq!((got.field("content-encoding"), &got.body[..]), (coding, body.as_bytes()));
        assert_eq!(got.field("vary"), "accept-encoding");
        assert_eq!(got.field("content-type"), "text/css; charset=utf-8");
    }
    let plain = ask(&group, Method::GET, "/", &[("accept-encoding", "br")]).await;
    assert_eq!(plain.field("vary"), "", "no sibling, no variants");
}

#[tokio::test]
async fn nothing_outside_the_root_is_served() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let root = site();
    symlink(outside.path(), root.path().join("out")).unwrap();
    symlink(outside.path().join("secret"), root.path().join("link")).unwrap();
    symlink("../../../../../../etc/passwd", root.path().join("climb")).unwrap();
    symlink("a.css", root.path().join("inside.css")).unwrap();
    symlink("loop", root.path().join("loop")).unwrap();
    let inside = group(root.path(), |_| {});
    for path in
        ["/out/secret", "/link", "/climb", "/loop", "/.secret", "/../x", "/%2e%2e/x", "/docs%2f.."]
    {
        assert_eq!(ask(&inside, Method::GET, path, &[]).await.status, 404, "{path}");
    }
    assert_eq!(ask(&inside, Method::GET, "/inside.css", &[]).await.status, 200);
    let never = group(root.path(), |options| options.symlinks = Symlinks::Never);
    assert_eq!(ask(&never, Method::GET, "/inside.css", &[]).await.status, 404);
    let anywhere = group(root.path(), |options| options.symlinks = Symlinks::Anywhere);
    assert_eq!(ask(&anywhere, Method::GET, "/link", &[]).await.body, "secret");
}

#[tokio::test]
async fn a_fifo_does_not_hang_the_node() {
    let root = site();
    let path = root.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let group = group(root.path(), |_| {});
    assert_eq!(ask(&group, Method::GET, "/fifo", &[]).await.status, 404);
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_sent_is_an_error_and_not_an_end() {
    let root = site();
    let group = group(root.path(), |_| {});
    let answer = get(&group, "/big.bin").await.unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(root.path().join("big.bin")).unwrap();
    file.set_len(1_500_000).unwrap();
    let end = answer.response.into_body().collect().await;
    assert_eq!(end.err(), Some(OriginFault::Truncated));
}
