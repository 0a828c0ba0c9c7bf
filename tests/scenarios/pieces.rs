//! Large objects: ranges fetch what they need, everybody shares it, and the answers are
//! those of any other stored object.

use crate::support::film::{self, Film, Look};
use crate::support::*;

const MIB: u64 = 1 << 20;
/// Five whole pieces and a short one.
const TOTAL: u64 = 5 * MIB + 12_345;

pub fn node(film: &Film, rest: &str) -> Node {
    Node::start(&format!(
        "[[origin]]\nname = \"film\"\nservers = [\"http://{}\"]\n[[site]]\norigin = \"film\"\n\
         pieces_from = \"1MiB\"\n{rest}\n",
        film.addr
    ))
}

fn world() -> (Film, Node) {
    let film = Film::start(Look::tagged(1, TOTAL));
    let node = node(&film, "");
    (film, node)
}

#[track_caller]
pub fn range(node: &Node, first: u64, last: u64) -> Answer {
    let answer = node.client().get_with("/film", &format!("Range: bytes={first}-{last}\r\n"));
    expect_part(&answer, 1, first, last);
    answer
}

#[track_caller]
pub fn expect_part(answer: &Answer, version: u8, first: u64, last: u64) {
    assert_eq!(answer.status, 206, "{}", answer.head);
    let place = format!("bytes {first}-{last}/{TOTAL}");
    assert_eq!(answer.field("content-range"), Some(place), "{}", answer.head);
    assert_eq!(answer.ended, Ended::Clean, "{}", answer.head);
    assert!(answer.body == film::bytes(version, first, last), "{} bytes", answer.body.len());
}

#[track_caller]
pub fn expect_whole(answer: &Answer, version: u8) {
    assert_eq!((answer.status, answer.ended), (200, Ended::Clean), "{}", answer.head);
    assert_eq!(answer.body.len() as u64, TOTAL);
    assert!(answer.body == film::bytes(version, 0, TOTAL - 1));
}

fn asked(text: &str) -> Option<String> {
    Some(format!("bytes={text}"))
}

#[test]
fn a_cold_range_fetches_the_pieces_it_needs_and_no_more() {
    let (film, node) = world();
    let answer = range(&node, 2 * MIB + 5, 2 * MIB + 9);
    assert!(!answer.is_hit(), "{}", answer.head);
    assert_eq!(film.ranges(), [asked(&format!("{}-{}", 2 * MIB, 3 * MIB - 1))]);
    // The rest of that piece comes too.
    eventually("the piece is there", || range(&node, 2 * MIB, 3 * MIB - 1).is_hit());
    assert_eq!((film.wishes().len(), film.sent()), (1, MIB));
}

#[test]
fn a_whole_request_completes_the_missing_pieces_in_as_few_ranges_as_there_are_gaps() {
    let (film, node) = world();
    range(&node, 2 * MIB, 2 * MIB);
    expect_whole(&node.client().get("/film"), 1);
    let gaps = [
        asked(&format!("{}-{}", 2 * MIB, 3 * MIB - 1)),
        asked(&format!("0-{}", 2 * MIB - 1)),
        asked(&format!("{}-{}", 3 * MIB, TOTAL - 1)),
    ];
    assert_eq!(film.ranges(), gaps);
    assert_eq!(film.sent(), TOTAL, "no byte twice");
    assert!(film.wishes().iter().skip(1).all(|wish| wish.if_range.as_deref() == Some("\"v1\"")));
    let again = node.client().get("/film");
    expect_whole(&again, 1);
    assert!(again.is_hit(), "{}", again.head);
    assert_eq!(film.wishes().len(), 3);
}

#[test]
fn a_whole_request_is_cut_into_pieces_and_any_range_of_it_is_a_hit() {
    let (film, node) = world();
    let first = node.client().get("/film");
    expect_whole(&first, 1);
    assert_eq!(first.field("age"), None, "{}", first.head);
    for (first, last) in [(0, 0), (MIB - 1, MIB), (MIB + 1, 4 * MIB), (5 * MIB, TOTAL - 1)] {
        eventually("the piece is there", || range(&node, first, last).is_hit());
    }
    let tail = node.client().get_with("/film", "Range: bytes=-12400\r\n");
    expect_part(&tail, 1, TOTAL - 12_400, TOTAL - 1);
    let rest = node.client().get_with("/film", &format!("Range: bytes={}-\r\n", 3 * MIB));
    expect_part(&rest, 1, 3 * MIB, TOTAL - 1);
    assert_eq!(film.wishes().len(), 1);
}

#[test]
fn a_long_range_of_the_unknown_is_answered_whole_although_it_comes_in_strides() {
    let (film, node) = world();
    let ask = format!("Range: bytes={}-\r\n", MIB + 5);
    let answer = node.client().get_with("/film", &ask);
    expect_part(&answer, 1, MIB + 5, TOTAL - 1);
    let strides = [format!("{MIB}-{}", 3 * MIB - 1), format!("{}-{}", 3 * MIB, TOTAL - 1)];
    assert_eq!(film.ranges(), strides.map(|range| asked(&range)));
    assert_eq!(film.wishes()[1].if_range.as_deref(), Some("\"v1\""));
    assert!(node.client().get_with("/film", &ask).is_hit());
}

#[test]
fn a_suffix_of_the_unknown_is_asked_for_as_it_is_and_tells_the_length() {
    let (film, node) = world();
    let tail = node.client().get_with("/film", "Range: bytes=-10\r\n");
    expect_part(&tail, 1, TOTAL - 10, TOTAL - 1);
    assert_eq!((film.ranges(), film.sent()), (vec![asked("-10")], 10));
    let tail = node.client().get_with("/film", "Range: bytes=-20\r\n");
    expect_part(&tail, 1, TOTAL - 20, TOTAL - 1);
    assert_eq!(film.ranges()[1], asked(&format!("{}-{}", 5 * MIB, TOTAL - 1)));
    eventually("the piece is there", || range(&node, TOTAL - 10, TOTAL - 1).is_hit());
    assert_eq!(film.wishes().len(), 2);
}

#[test]
fn seeking_does_not_pull_the_file() {
    let total = 400 * MIB;
    let film = Film::start(Look::tagged(1, total));
    let node = node(&film, "");
    for place in [4 * MIB, 300 * MIB, 100 * MIB, 200 * MIB] {
        seek(&node, place, 100_000);
    }
    // No more than was asked for, whatever the sockets can hold.
    eventually("every run ends", || runs_end(&film));
    let stretch = |first: u64| asked(&format!("{first}-{}", first + 2 * MIB - 1));
    assert_eq!(film.ranges(), [4, 300, 100, 200].map(|at| stretch(at * MIB)));
    assert!(film.sent() <= 4 * 2 * MIB, "{} MiB", film.sent() / MIB);
}

#[test]
fn who_reads_on_is_asked_for_more_and_more() {
    let total = 400 * MIB;
    let film = Film::start(Look::tagged(1, total));
    let node = node(&film, "");
    seek(&node, 5, 20 * MIB as usize);
    eventually("the run ends", || runs_end(&film));
    let lengths: Vec<u64> = film.ranges().iter().flatten().map(|range| length(range)).collect();
    assert_eq!(lengths, [2, 2, 4, 8, 16].map(|mib| mib * MIB));
    // What he has seen is there for others.
    let seen = format!("Range: bytes={}-{}\r\n", 10 * MIB, 11 * MIB - 1);
    assert!(node.client().get_with("/film", &seen).is_hit());
}

/// Reads `watched` bytes from `place` on, checks them, and leaves.
#[track_caller]
fn seek(node: &Node, place: u64, watched: usize) {
    let mut player = node.client();
    player.send(client::request("GET", "/film", &format!("Range: bytes={place}-\r\n")));
    assert!(player.head().starts_with("HTTP/1.1 206"));
    let (body, _) = player.take(watched);
    assert!(body == film::bytes(1, place, place + watched as u64 - 1));
    player.reset();
}

/// Length of a range with both ends.
fn length(range: &str) -> u64 {
    let (first, last) = range.trim_start_matches("bytes=").split_once('-').expect("two ends");
    last.parse::<u64>().expect("an end") + 1 - first.parse::<u64>().expect("a beginning")
}

/// Whether nothing more has been sent for a moment.
fn runs_end(film: &Film) -> bool {
    let before = film.sent();
    std::thread::park_timeout(std::time::Duration::from_millis(200));
    film.sent() == before
}

#[test]
fn a_short_object_asked_for_by_range_is_kept_in_one() {
    let film = Film::start(Look::tagged(1, 100_000));
    let node = node(&film, "");
    let answer = node.client().get_with("/film", "Range: bytes=10-19\r\n");
    assert!(answer.status == 206 && answer.body == film::bytes(1, 10, 19), "{}", answer.head);
    assert_eq!(answer.field("content-range").as_deref(), Some("bytes 10-19/100000"));
    let again = || node.client().get_with("/film", "Range: bytes=10-19\r\n");
    eventually("it is there", || again().is_hit());
    let whole = node.client().get("/film");
    assert!(whole.is_hit() && whole.body == film::bytes(1, 0, 99_999), "{}", whole.head);
    assert_eq!(film.wishes().len(), 1);
}

#[test]
fn head_conditions_and_ranges_are_answered_from_the_manifest() {
    let (film, node) = world();
    range(&node, 0, 0);
    let mut client = node.client();
    let head = client.ask("HEAD", "/film", "");
    assert_eq!((head.status, head.is_hit()), (200, true), "{}", head.head);
    assert_eq!(head.field("content-length"), Some(TOTAL.to_string()));
    assert_eq!(head.field("content-range"), None);
    let not_modified = client.get_with("/film", "If-None-Match: \"v1\"\r\n");
    assert_eq!(not_modified.status, 304, "{}", not_modified.head);
    let failed = client.get_with("/film", "If-Match: \"other\"\r\n");
    assert_eq!(failed.status, 412, "{}", failed.head);
    let outside = client.get_with("/film", &format!("Range: bytes={TOTAL}-\r\n"));
    assert_eq!(outside.status, 416, "{}", outside.head);
    assert_eq!(outside.field("content-range"), Some(format!("bytes */{TOTAL}")));
    let guarded = "Range: bytes=5-9\r\nIf-Range: \"v1\"\r\n";
    expect_part(&client.get_with("/film", guarded), 1, 5, 9);
    assert_eq!(film.wishes().len(), 1);
    let refused = client.get_with("/film", "Cache-Control: only-if-cached\r\n");
    assert_eq!(refused.status, 504, "{}", refused.head);
    let cached = "Cache-Control: only-if-cached\r\nRange: bytes=0-9\r\n";
    expect_part(&client.get_with("/film", cached), 1, 0, 9);
    assert_eq!(film.wishes().len(), 1);
    expect_whole(&client.get_with("/film", "Range: bytes=5-9\r\nIf-Range: \"v0\"\r\n"), 1);
}

#[test]
fn a_cold_if_range_goes_to_the_origin_with_its_range() {
    let (film, node) = world();
    let ask = |guard: &str| {
        let fields = format!("Range: bytes=10-19\r\nIf-Range: {guard}\r\n");
        node.client().get_with("/film", &fields)
    };
    expect_part(&ask("\"v1\""), 1, 10, 19);
    expect_part(&ask("\"v1\""), 1, 10, 19);
    assert_eq!(film.wishes().len(), 1);
    let (film, node) = world();
    let stale = "Range: bytes=10-19\r\nIf-Range: \"v0\"\r\n";
    expect_whole(&node.client().get_with("/film", stale), 1);
    assert_eq!(film.wishes().len(), 1);
}

#[test]
fn several_ranges_are_cut_out_of_the_pieces() {
    let (film, node) = world();
    let spec = format!("Range: bytes=1-3, {}-{}\r\n", MIB - 2, MIB + 2);
    for hit in [false, true] {
        let answer = node.client().get_with("/film", &spec);
        assert_eq!((answer.status, answer.ended), (206, Ended::Clean), "{}", answer.head);
        let length = answer.field("content-length").expect("a length");
        assert_eq!(length, answer.body.len().to_string());
        for (first, last) in [(1, 3), (MIB - 2, MIB + 2)] {
            let place = format!("Content-Range: bytes {first}-{last}/{TOTAL}\r\n\r\n");
            let mut part = place.into_bytes();
            part.extend(film::bytes(1, first, last));
            part.extend(b"\r\n--");
            assert!(answer.body.windows(part.len()).any(|window| window == part));
        }
        assert!(!hit || answer.is_hit(), "{}", answer.head);
    }
    assert!(film.sent() < TOTAL + 1);
}

#[test]
fn a_304_freshens_the_manifest_and_keeps_the_pieces() {
    let (film, node) = world();
    expect_whole(&node.client().get("/film"), 1);
    node.advance(3700);
    expect_whole(&node.client().get("/film"), 1);
    assert_eq!(film.wishes()[1].if_none_match.as_deref(), Some("\"v1\""));
    assert_eq!((film.wishes().len(), film.sent()), (2, TOTAL));
    let answer = range(&node, 7, 8);
    assert!(answer.is_hit() && answer.age() == Some(0), "{}", answer.head);
    node.advance(10);
    assert_eq!(range(&node, 7, 8).age(), Some(10));
}

#[test]
fn a_stale_manifest_whose_object_changed_gives_the_new_one() {
    let (film, node) = world();
    expect_whole(&node.client().get("/film"), 1);
    node.advance(3700);
    film.become_(Look::tagged(2, TOTAL));
    expect_whole(&node.client().get("/film"), 2);
    let part = node.client().get_with("/film", "Range: bytes=5-9\r\n");
    expect_part(&part, 2, 5, 9);
}

#[test]
fn variants_have_pieces_of_their_own() {
    let look = |version: u8, _: &str| {
        let mut look = Look::tagged(version, TOTAL);
        look.fields.push_str("Vary: X-Cut\r\n");
        look
    };
    let film = Film::start(look(1, ""));
    let node = node(&film, "");
    let ask = |cut: &str, spec: &str| {
        node.client().get_with("/film", &format!("X-Cut: {cut}\r\nRange: bytes={spec}\r\n"))
    };
    expect_part(&ask("a", "0-9"), 1, 0, 9);
    film.become_(look(2, ""));
    expect_part(&ask("b", "0-9"), 2, 0, 9);
    for (cut, version) in [("a", 1), ("b", 2)] {
        eventually("the piece is there", || {
            let answer = ask(cut, "3-5");
            expect_part(&answer, version, 3, 5);
            answer.is_hit()
        });
    }
    assert_eq!(film.wishes().len(), 2);
}

#[test]
fn many_readers_at_different_places_share_one_fill() {
    let (film, node) = world();
    let gate = film.pause_at(MIB / 2);
    let mut leader = node.client();
    leader.send(client::request("GET", "/film", ""));
    assert!(leader.head().starts_with("HTTP/1.1 200"));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8u64)
            .map(|n| {
                let node = &node;
                scope.spawn(move || {
                    let first = n * 60_000;
                    range(node, first, first + 700_000);
                })
            })
            .collect();
        gate.open();
        let (body, ended) = leader.take(TOTAL as usize);
        assert!(ended == Ended::Clean && body == film::bytes(1, 0, TOTAL - 1));
        readers.into_iter().for_each(|reader| reader.join().expect("a reader is served"));
    });
    assert_eq!(film.sent(), TOTAL, "{:?}", film.ranges());
}

#[test]
fn a_slow_reader_holds_nobody_up() {
    let total = 40 * MIB;
    let film = Film::start(Look::tagged(1, total));
    let node = node(&film, "");
    let mut slow = node.client();
    slow.send(client::request("GET", "/film", ""));
    assert!(slow.head().starts_with("HTTP/1.1 200"));
    let fast = node.client().get("/film");
    assert!(fast.ended == Ended::Clean && fast.body == film::bytes(1, 0, total - 1));
    // And it is served to its end, from what the other one left behind.
    let (rest, ended) = slow.take(total as usize);
    assert!(ended == Ended::Clean && rest == film::bytes(1, 0, total - 1));
    assert!(film.sent() <= total + 2 * MIB, "{} bytes", film.sent());
}

#[test]
fn over_http2_pieces_are_the_same() {
    let (film, node) = world();
    let mut h2 = node.h2();
    let answer = h2.get("/film");
    assert_eq!(answer.status, 200);
    assert!(answer.body == film::bytes(1, 0, TOTAL - 1));
    assert_eq!(film.sent(), TOTAL);
}
