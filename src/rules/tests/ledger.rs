//! The ledger against a model too simple to be wrong, and the sentences it promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::StatusCode;
use proptest::prelude::*;
use smallvec::SmallVec;

use crate::rules::entry::{Entry, Extent};
use crate::rules::freshness::{Freshness, LifetimeSource};
use crate::rules::head::Head;
use crate::rules::ledger::{Ledger, Verdict};
use crate::rules::purge::{self, Purge, PurgeError, Subject, What};

fn entry(key: &str, tags: &[&str], seq: u64) -> Entry {
    Entry {
        key: key.as_bytes().into(),
        head: Head::from_block(StatusCode::OK, Bytes::new()).unwrap(),
        body: SmallVec::new(),
        extent: Extent::Whole,
        freshness: Freshness {
            received_mono_ms: 0,
            initial_age_ms: 0,
            lifetime_ms: 1,
            while_revalidate_ms: 0,
            if_error_ms: 0,
            always_validate: false,
            never_stale: false,
            immutable: false,
            source: LifetimeSource::MaxAge,
        },
        vary: None,
        tags: tags.iter().map(|tag| (*tag).into()).collect(),
        seq,
        checked_seq: AtomicU64::new(seq),
        soft_purged: AtomicBool::new(false),
    }
}

fn apply(ledger: &Ledger, what: What, soft: bool) -> u64 {
    ledger.apply(ledger.number(vec![what], soft, 0))
}

fn prefix(text: &str, by_segment: bool) -> What {
    What::prefix(text, by_segment).unwrap()
}

#[test]
fn purging_a_tag_touches_neither_longer_tags_nor_untagged_objects() {
    let ledger = Ledger::new();
    let tagged = entry("https://h:443/1", &["a", "b"], 0);
    let longer = entry("https://h:443/2", &["ab"], 0);
    let bare = entry("https://h:443/a", &[], 0);
    apply(&ledger, What::tag("a").unwrap(), false);
    assert_eq!(ledger.verdict(&tagged), Verdict::Gone);
    assert_eq!(ledger.verdict(&longer), Verdict::Live);
    assert_eq!(ledger.verdict(&bare), Verdict::Live);
}

#[test]
fn a_prefix_is_literal_or_by_segment_as_asked() {
    for (path, by_segment, target, hit) in [
        ("/a", false, "/ab", true),
        ("/a", true, "/ab", false),
        ("/a", true, "/a", true),
        ("/a", true, "/a/b", true),
        ("/a", true, "/a?q", true),
        ("/a/", true, "/a/b", true),
        ("/a/", true, "/a", false),
        ("/", true, "/anything", true),
    ] {
        let ledger = Ledger::new();
        apply(&ledger, prefix(&format!("h{path}"), by_segment), false);
        let verdict = ledger.verdict(&entry(&format!("https://h:443{target}"), &[], 0));
        assert_eq!(verdict == Verdict::Gone, hit, "{path} {by_segment} {target}");
    }
}

#[test]
fn a_prefix_with_a_scheme_means_its_port_and_one_without_means_all() {
    let of = |text: &str, key: &str| {
        let ledger = Ledger::new();
        apply(&ledger, prefix(text, false), false);
        ledger.verdict(&entry(key, &[], 0)) == Verdict::Gone
    };
    assert!(of("https://h/a", "https://h:443/a"));
    assert!(!of("https://h/a", "http://h:80/a"));
    assert!(!of("https://h/a", "https://h:8443/a"));
    assert!(of("h/a", "https://h:8443/a") && of("h/a", "http://h:80/a"));
    assert!(of("H:8443/a", "https://h:8443/a") && !of("h:8443/a", "https://h:443/a"));
    assert!(of("[::1]:8443/a", "https://[::1]:8443/a") && of("[::1]/a", "http://[::1]:80/a"));
}

#[test]
fn a_purge_during_a_fetch_dooms_what_was_asked_for_before_it() {
    let ledger = Ledger::new();
    let started = ledger.seq();
    apply(&ledger, What::Everything, false);
    assert_eq!(ledger.verdict(&entry("http://h:80/", &[], started)), Verdict::Gone);
    assert_eq!(ledger.verdict(&entry("http://h:80/", &[], ledger.seq())), Verdict::Live);
}

#[test]
fn a_soft_purge_marks_stale_for_good_and_a_later_hard_one_still_drops() {
    let ledger = Ledger::new();
    let entry = entry("http://h:80/", &["t"], 0);
    apply(&ledger, What::tag("t").unwrap(), true);
    assert_eq!(ledger.verdict(&entry), Verdict::Stale);
    apply(&ledger, What::tag("other").unwrap(), false);
    assert_eq!(ledger.verdict(&entry), Verdict::Stale);
    apply(&ledger, What::host("h").unwrap(), false);
    assert_eq!(ledger.verdict(&entry), Verdict::Gone);
}

#[test]
fn an_entry_that_outlived_a_forgotten_sweep_unjudged_is_gone() {
    let ledger = Ledger::new();
    let judged = entry("http://h:80/1", &[], 0);
    let in_flight = entry("http://h:80/2", &[], 0);
    apply(&ledger, What::tag("t").unwrap(), false);
    assert_eq!(ledger.verdict(&judged), Verdict::Live);
    ledger.forget(ledger.seq());
    assert!(ledger.is_empty());
    assert_eq!(ledger.verdict(&judged), Verdict::Live);
    assert_eq!(ledger.verdict(&in_flight), Verdict::Gone);
    apply(&ledger, What::host("h").unwrap(), false);
    assert_eq!(ledger.verdict(&judged), Verdict::Gone);
}

#[test]
fn an_entry_numbered_by_a_lost_ledger_is_not_trusted() {
    let ledger = Ledger::new();
    assert_eq!(ledger.verdict(&entry("http://h:80/", &[], 7)), Verdict::Gone);
}

#[test]
fn a_pattern_sees_the_url_without_its_default_port() {
    let ledger = Ledger::new();
    apply(&ledger, What::pattern("https://h/*.css", true).unwrap(), false);
    assert_eq!(ledger.verdict(&entry("https://h:443/a/b.css", &[], 0)), Verdict::Gone);
    assert_eq!(ledger.verdict(&entry("https://h:443/a/b.css?x", &[], 0)), Verdict::Live);
    apply(&ledger, What::pattern(r"\.(png|gif)\?v=\d+$", false).unwrap(), false);
    assert_eq!(ledger.verdict(&entry("http://x:8080/i.png?v=12", &[], 0)), Verdict::Gone);
}

#[test]
fn what_cannot_match_or_is_too_long_is_refused_with_a_reason() {
    assert_eq!(What::tag(""), Err(PurgeError::Empty("tag")));
    assert!(matches!(What::tag(&"x".repeat(1025)), Err(PurgeError::TooLong { .. })));
    assert!(What::tag(&"x".repeat(purge::TAG_MAX)).is_ok());
    assert!(matches!(What::tag("a\tb"), Err(PurgeError::BadTag(_))));
    assert!(matches!(What::prefix("example.com", false), Err(PurgeError::BadForm(..))));
    assert!(matches!(What::host("a/b"), Err(PurgeError::BadForm(..))));
    assert!(matches!(What::host("::1"), Err(PurgeError::BadForm(..))));
    assert!(matches!(What::pattern("(", false), Err(PurgeError::BadPattern(_))));
    assert!(matches!(What::pattern("(a{1000}){1000}", false), Err(PurgeError::BadPattern(_))));
    let ledger = Ledger::new();
    let many = vec![What::Everything; 257];
    assert!(matches!(ledger.accepts(&many), Err(PurgeError::TooMany { max: 256, .. })));
    for n in 0..256 {
        let pattern = What::pattern(&format!("x{n}"), false).unwrap();
        assert!(ledger.accepts(std::slice::from_ref(&pattern)).is_ok());
        apply(&ledger, pattern, false);
    }
    let one_more = [What::pattern("y", false).unwrap()];
    assert!(ledger.accepts(&one_more).is_err());
    ledger.forget(ledger.seq());
    assert!(ledger.accepts(&one_more).is_ok());
}

#[test]
fn a_full_ledger_forgets_its_oldest_half_and_stays_correct() {
    let ledger = Ledger::new();
    let old = entry("http://h:80/", &["t0"], 0);
    let whats = |from: u64| (from..from + 250).map(|n| What::tag(&format!("t{n}")).unwrap());
    for batch in 0..801 {
        ledger.apply(ledger.number(whats(batch * 250).collect(), false, 0));
    }
    assert!(ledger.len() <= crate::rules::ledger::PURGES_MAX && ledger.floor() > 0);
    assert_eq!(ledger.verdict(&old), Verdict::Gone);
    let fresh = entry("http://h:80/", &["t0"], ledger.seq());
    assert_eq!(ledger.verdict(&fresh), Verdict::Live);
}

#[test]
fn the_file_and_back_is_the_same_ledger() {
    let ledger = Ledger::new();
    let whats = vec![
        What::Url(b"https://h:443/u"[..].into()),
        prefix("https://h/p", true),
        prefix("[::1]:81/p", false),
        What::tag("t").unwrap(),
        What::host("h:8443").unwrap(),
        What::host("x").unwrap(),
        What::pattern("a*", true).unwrap(),
        What::pattern("a+", false).unwrap(),
        What::Everything,
    ];
    ledger.apply(ledger.number(whats, true, 77));
    let mut read = Vec::new();
    for purge in ledger.kept() {
        let mut bytes = Vec::new();
        purge.encode(&mut bytes);
        for cut in 0..bytes.len() {
            // Any result but a panic: a text cut short may still be one.
            let _ = Purge::decode(bytes.get(..cut).unwrap_or(&[]));
        }
        read.push(Purge::decode(&bytes).unwrap());
        assert_eq!(Some(&*purge), read.last());
    }
    let again = Ledger::restore(12, 0, read);
    assert_eq!((again.seq(), again.len()), (12, 9));
    assert_eq!(again.verdict(&entry("http://z:80/", &[], 0)), Verdict::Stale);
}

#[test]
fn verdicts_hold_while_others_purge() {
    let ledger = Arc::new(Ledger::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let fresh = entry("http://h:80/x", &["t"], ledger.seq());
                    let before = fresh.seq;
                    let verdict = ledger.verdict(&fresh);
                    let after = ledger.seq();
                    // Odd numbers purge the tag, even ones something else.
                    if before == after {
                        assert_eq!(verdict, Verdict::Live);
                    } else if after >= before + 2 {
                        assert_eq!(ledger.verdict(&fresh), Verdict::Gone);
                    }
                }
            });
        }
        for _ in 0..500 {
            apply(&ledger, What::tag("t").unwrap(), false);
            apply(&ledger, What::tag("u").unwrap(), false);
        }
    });
}

fn any_what() -> impl Strategy<Value = What> {
    prop_oneof![
        "[ab]{1,2}".prop_map(|tag| What::tag(&tag).unwrap()),
        "[gh]".prop_map(|host| What::host(&host).unwrap()),
        "[gh]:(80|443)".prop_map(|host| What::host(&host).unwrap()),
        ("(https?://)?[gh](:443)?/[ab/]{0,4}", any::<bool>())
            .prop_map(|(text, by_segment)| prefix(&text, by_segment)),
        "https://[gh]:443/[ab/]{0,4}".prop_map(|key| What::Url(key.into_bytes().into())),
        "[ab*?]{1,4}".prop_map(|glob| What::pattern(&glob, true).unwrap()),
        Just(What::Everything),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Purge(Vec<What>, bool),
    Store(String, Vec<String>),
    Look,
    SweepAndForget,
}

fn any_step() -> impl Strategy<Value = Step> {
    let key = "(http://[gh]:80|https://[gh]:443)/[ab/]{0,5}(\\?a)?";
    prop_oneof![
        4 => (proptest::collection::vec(any_what(), 1..4), any::<bool>())
            .prop_map(|(whats, soft)| Step::Purge(whats, soft)),
        4 => (key, proptest::collection::vec("[ab]{1,2}", 0..3))
            .prop_map(|(key, tags)| Step::Store(key, tags)),
        4 => Just(Step::Look),
        1 => Just(Step::SweepAndForget),
    ]
}

/// The model: every purge ever made, tested one by one.
fn naive(history: &[Purge], entry: &Entry) -> Verdict {
    let subject = Subject::of(&entry.key, &entry.tags).unwrap();
    let hits =
        || history.iter().filter(|purge| purge.seq > entry.seq && purge.what.matches(&subject));
    match (hits().any(|purge| !purge.soft), hits().next().is_some()) {
        (true, _) => Verdict::Gone,
        (false, true) => Verdict::Stale,
        (false, false) => Verdict::Live,
    }
}

proptest! {
    #[test]
    fn the_ledger_agrees_with_the_model(steps in proptest::collection::vec(any_step(), 1..60)) {
        let ledger = Ledger::new();
        let mut history: Vec<Purge> = Vec::new();
        let mut stored: Vec<Entry> = Vec::new();
        for step in steps {
            match step {
                Step::Purge(whats, soft) => {
                    let purges = ledger.number(whats, soft, 0);
                    history.extend(purges.iter().cloned());
                    ledger.apply(purges);
                }
                Step::Store(key, tags) => {
                    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                    stored.push(entry(&key, &tags, ledger.seq()));
                }
                Step::Look => {
                    for entry in &stored {
                        let since = entry.checked_seq.load(Ordering::Acquire);
                        let wanted = naive(&history, entry);
                        let known = entry.is_soft_purged();
                        let asked = ledger.verdict_of(&entry.key, &entry.tags, since);
                        prop_assert_eq!(asked == Verdict::Gone, wanted == Verdict::Gone);
                        prop_assert!(known || asked == wanted);
                        prop_assert_eq!(ledger.verdict(entry), wanted);
                    }
                }
                Step::SweepAndForget => {
                    let upto = ledger.seq();
                    stored.retain(|entry| ledger.verdict(entry) != Verdict::Gone);
                    ledger.forget(upto);
                    prop_assert!(ledger.is_empty());
                }
            }
        }
    }
}
