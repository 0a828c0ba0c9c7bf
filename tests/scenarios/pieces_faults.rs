//! Large objects when something is wrong: no ranges, no validators, changes and cuts half
//! way, purges, disks. Never a wrong byte, never a clean end of what is not whole.

use super::pieces::{expect_part, expect_whole, node, range};
use crate::support::film::{self, Film, Look};
use crate::support::*;

const MIB: u64 = 1 << 20;
const TOTAL: u64 = 5 * MIB + 12_345;

fn look(version: u8) -> Look {
    Look::tagged(version, TOTAL)
}

#[test]
fn an_origin_without_ranges_gives_one_stream_that_everybody_reads() {
    let film = Film::start(Look { ranges: false, ..look(1) });
    let node = node(&film, "");
    let gate = film.pause_at(MIB / 2);
    std::thread::scope(|scope| {
        let one = scope.spawn(|| range(&node, 3 * MIB, 3 * MIB + 9));
        eventually("the stream has begun", || film.sent() == MIB / 2);
        let two = scope.spawn(|| range(&node, 4 * MIB, TOTAL - 1));
        let three = scope.spawn(|| range(&node, 10, 19));
        gate.open();
        for reader in [one, two, three] {
            reader.join().expect("a reader is served");
        }
    });
    let streams = film.wishes().iter().filter(|wish| wish.range.is_none()).count();
    assert!(film.sent() <= 2 * TOTAL && streams <= 1, "{:?}", film.wishes());
}

#[test]
fn what_has_no_validator_is_kept_from_one_stream_only() {
    let fields = "Cache-Control: max-age=3600\r\n".to_owned();
    let film = Film::start(Look { fields, ranges: false, ..look(1) });
    let node = node(&film, "");
    expect_whole(&node.client().get("/film"), 1);
    eventually("it is stored", || node.client().get_with("/film", "Range: bytes=0-0\r\n").is_hit());
    let before = film.wishes().len();
    assert!(range(&node, 2 * MIB, 3 * MIB).is_hit());
    expect_whole(&node.client().get("/film"), 1);
    assert_eq!(film.wishes().len(), before);
}

#[test]
fn a_date_is_a_validator_when_it_is_old_enough() {
    let fields = "Last-Modified: Mon, 01 Dec 2025 00:00:00 GMT\r\n\
                  Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nCache-Control: max-age=60\r\n";
    let film = Film::start(Look { fields: fields.to_owned(), ..look(1) });
    let node = node(&film, "");
    range(&node, 5, 9);
    range(&node, 2 * MIB, 2 * MIB + 1);
    eventually("both pieces are there", || film.sent() == 2 * MIB);
    let guard = film.wishes()[1].if_range.clone();
    assert_eq!(guard.as_deref(), Some("Mon, 01 Dec 2025 00:00:00 GMT"));
}

#[test]
fn a_change_seen_before_the_head_goes_out_starts_anew() {
    let film = Film::start(look(1));
    let node = node(&film, "");
    range(&node, 0, 9);
    film.become_(look(2));
    // The old piece is there, what is missing has changed: all of it is new.
    expect_whole(&node.client().get("/film"), 2);
    let part = node.client().get_with("/film", "Range: bytes=0-9\r\n");
    expect_part(&part, 2, 0, 9);
    assert!(part.is_hit(), "{}", part.head);
}

#[test]
fn a_change_half_way_cuts_the_client_off_and_never_mixes() {
    let film = Film::start(look(1));
    let node = node(&film, "");
    range(&node, 0, 0);
    // The first gap is pieces 1 and 2, the next one begins after piece 3.
    range(&node, 3 * MIB, 3 * MIB);
    let gate = film.pause_at(2 * MIB);
    let mut client = node.client();
    client.send(client::request("GET", "/film", ""));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    film.become_(look(2));
    gate.open();
    let (body, ended) = client.take(TOTAL as usize);
    assert_eq!(ended, Ended::Cut);
    assert_eq!(body.len() as u64, 4 * MIB);
    assert!(body == film::bytes(1, 0, 4 * MIB - 1));
    expect_whole(&node.client().get("/film"), 2);
}

#[test]
fn a_stream_that_breaks_is_taken_up_where_it_stopped() {
    let film = Film::start(look(1));
    let node = node(&film, "");
    range(&node, 0, 0);
    film.cut_at(2 * MIB + 77);
    expect_whole(&node.client().get("/film"), 1);
    expect_whole(&node.client().get("/film"), 1);
}

#[test]
fn an_origin_that_is_down_costs_only_what_is_missing() {
    let film = Film::start(look(1));
    let node = node(&film, "");
    range(&node, 0, 0);
    eventually("the piece is there", || range(&node, 5, MIB - 1).is_hit());
    film.go_down();
    assert!(range(&node, 5, MIB - 1).is_hit());
    let missing = node.client().get_with("/film", &format!("Range: bytes={}-\r\n", 2 * MIB));
    assert!((500..=504).contains(&missing.status), "{}", missing.head);
    let whole = node.client().get("/film");
    assert!((500..=504).contains(&whole.status), "{}", whole.head);
}

#[test]
fn an_uncacheable_film_is_passed_range_by_range() {
    let fields = "ETag: \"v1\"\r\nCache-Control: private\r\n".to_owned();
    let film = Film::start(Look { fields, ..look(1) });
    let node = node(&film, "");
    for _ in 0..2 {
        let answer = range(&node, 10, 19);
        assert!(!answer.is_hit());
    }
    assert_eq!(film.ranges().last(), Some(&Some("bytes=10-19".to_owned())));
    expect_whole(&node.client().get("/film"), 1);
}

#[test]
fn what_changes_between_two_strides_cuts_the_client_off() {
    let film = Film::start(look(1));
    let node = node(&film, "");
    let gate = film.pause_at(2 * MIB - 9);
    let mut client = node.client();
    client.send(client::request("GET", "/film", "Range: bytes=5-\r\n"));
    assert!(client.head().starts_with("HTTP/1.1 206"));
    film.become_(look(2));
    gate.open();
    let (body, ended) = client.take(TOTAL as usize);
    assert_eq!((body.len() as u64, ended), (2 * MIB - 5, Ended::Cut));
    assert!(body == film::bytes(1, 5, 2 * MIB - 1));
    expect_whole(&node.client().get("/film"), 2);
}

#[test]
fn a_long_range_of_what_has_no_validator_is_one_stream_from_then_on() {
    let fields = "Cache-Control: max-age=3600\r\n".to_owned();
    let film = Film::start(Look { fields, ..look(1) });
    let node = node(&film, "");
    for _ in 0..2 {
        let answer = node.client().get_with("/film", "Range: bytes=5-\r\n");
        expect_part(&answer, 1, 5, TOTAL - 1);
    }
    let cut = film.ranges().iter().flatten().filter(|range| !range.ends_with('-')).count();
    assert_eq!(cut, 1, "{:?}", film.ranges());
}

#[test]
fn a_purge_takes_the_pieces_with_it() {
    let film = Film::start(look(1));
    let dir = tempfile::tempdir().expect("a directory");
    let token = dir.path().join("token");
    let node = node(&film, &format!("[admin]\naddr = \"127.0.0.1:0\"\ntoken_file = {token:?}\n"));
    let secret = std::fs::read_to_string(&token).expect("the token");
    let purge = |body: &str| {
        let fields = format!(
            "Authorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            secret.trim(),
            body.len()
        );
        let mut admin = node.admin();
        let host = "Host: 127.0.0.1\r\n";
        admin.send(format!("POST /v1/purge HTTP/1.1\r\n{host}{fields}"));
        let answer = admin.answer();
        assert!((200..300).contains(&answer.status), "{} {}", answer.head, answer.text());
    };
    let explain = || {
        let mut admin = node.admin();
        let ask = "GET /v1/explain?url=http%3A%2F%2Fsite.test%2Ffilm HTTP/1.1\r\nHost: 127.0.0.1";
        admin.send(format!("{ask}\r\nAuthorization: Bearer {}\r\n\r\n", secret.trim()));
        admin.answer().text()
    };
    for what in [
        "{\"urls\": [\"http://site.test/film\"]}",
        "{\"prefixes\": [\"site.test/\"]}",
        "{\"everything\": true}",
    ] {
        expect_whole(&node.client().get("/film"), 1);
        assert!(range(&node, 0, 9).is_hit());
        let before = film.sent();
        purge(what);
        expect_whole(&node.client().get("/film"), 1);
        assert_eq!(film.sent(), before + TOTAL, "{what}: every byte comes from the origin again");
    }
    let told = explain();
    assert!(told.contains("\"pieces\":{\"disk\":0,\"memory\":6,\"total\":6}"), "{told}");
    // A soft purge asks; nothing changed, so the pieces stay.
    let before = film.sent();
    purge("{\"urls\": [\"http://site.test/film\"], \"soft\": true}");
    expect_whole(&node.client().get("/film"), 1);
    assert_eq!(film.sent(), before);
    assert_eq!(
        film.wishes().last().and_then(|wish| wish.if_none_match.clone()).as_deref(),
        Some("\"v1\"")
    );
}

fn on_disk(film: &Film, dir: &std::path::Path) -> Node {
    node(
        film,
        &format!(
            "[memory]\ncapacity = \"2MiB\"\n[disk]\nadmit = \"all\"\n[[disk.directory]]\n\
             path = {dir:?}\ncapacity = \"128MiB\"\n"
        ),
    )
}

#[test]
fn pieces_and_manifest_are_found_on_disk_and_after_a_restart() {
    let film = Film::start(look(1));
    let dir = tempfile::tempdir().expect("a directory");
    let node = on_disk(&film, dir.path());
    expect_whole(&node.client().get("/film"), 1);
    eventually("everything is on disk", || {
        let before = film.sent();
        expect_whole(&node.client().get("/film"), 1);
        film.sent() == before
    });
    let before = film.sent();
    node.stop();
    let node = on_disk(&film, dir.path());
    eventually("the disk joins", || range(&node, 5, 9).is_hit());
    expect_whole(&node.client().get("/film"), 1);
    // The last batch may have been waiting when the node stopped.
    assert!(film.sent() <= before + 2 * MIB, "{} more", film.sent() - before);
}

#[test]
fn rot_under_a_running_node_is_never_a_wrong_byte() {
    let film = Film::start(look(1));
    let dir = tempfile::tempdir().expect("a directory");
    let node = on_disk(&film, dir.path());
    eventually("everything is on disk", || {
        let before = film.sent();
        expect_whole(&node.client().get("/film"), 1);
        film.sent() == before
    });
    for round in 0..3u64 {
        rot(dir.path(), 5_000 + round * 300_000, 900_000);
        // What is rotten comes from the origin again, in the middle of the answer too.
        expect_whole(&node.client().get("/film"), 1);
        expect_whole(&node.client().get("/film"), 1);
    }
}

/// Flips a bit every so many bytes of every segment file, where they lie.
fn rot(dir: &std::path::Path, first: u64, every: u64) {
    use std::os::unix::fs::FileExt;
    for file in std::fs::read_dir(dir.join("segments")).expect("the segments").flatten() {
        let path = file.path();
        let file = std::fs::File::options().read(true).write(true).open(path).expect("a segment");
        let length = file.metadata().expect("its length").len();
        let mut at = first;
        while at < length {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("a byte");
            file.write_all_at(&[byte[0] ^ 0x10], at).expect("written back");
            at += every;
        }
    }
}

#[test]
fn a_purge_half_way_brings_the_rest_from_the_origin_and_the_client_gets_it_all() {
    let total = 40 * MIB;
    let film = Film::start(Look::tagged(1, total));
    let dir = tempfile::tempdir().expect("a directory");
    let token = dir.path().join("token");
    let node = node(&film, &format!("[admin]\naddr = \"127.0.0.1:0\"\ntoken_file = {token:?}\n"));
    let secret = std::fs::read_to_string(&token).expect("the token");
    node.client().get("/film");
    let last = format!("Range: bytes={}-\r\n", total - 1);
    eventually("it is there", || node.client().get_with("/film", &last).is_hit());
    let mut client = node.client();
    client.send(client::request("GET", "/film", ""));
    let head = client.head();
    assert!(head.contains("; hit"), "{head}");
    let before = film.sent();
    let mut admin = node.admin();
    admin.send(format!(
        "POST /v1/purge HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{{\"everything\": true}}",
        secret.trim()
    ));
    assert_eq!(admin.answer().status / 100, 2);
    let (body, ended) = client.take(total as usize);
    assert_eq!((body.len() as u64, ended), (total, Ended::Clean));
    assert!(body == film::bytes(1, 0, total - 1));
    assert!(film.sent() > before, "what was purged is not sent from memory");
}

#[test]
fn a_body_without_a_length_is_served_whole_and_never_short() {
    let film = Film::start(Look { lengths: false, ranges: false, ..look(1) });
    let node = node(&film, "");
    let answer = node.client().get("/film");
    assert!(answer.body == film::bytes(1, 0, TOTAL - 1));
    // It is kept in pieces, once its length is known.
    eventually("it is there", || range(&node, MIB - 2, MIB + 2).is_hit());
    expect_whole(&node.client().get("/film"), 1);
    assert_eq!(film.wishes().len(), 1);
}
