//! What can happen in the simulated world, and how a seed becomes a list of it.
//!
//! A step carries everything it needs, so a list from which steps have been taken out is
//! still a run: that is what makes a failing list short by leaving things away.

use super::dice::Dice;

/// Number of URLs; the host of one is its number modulo [`HOSTS`].
pub const URLS: u8 = 20;
/// Number of hosts, each with an origin of its own.
pub const HOSTS: u8 = 2;
/// Number of clients.
pub const CLIENTS: u8 = 4;
/// Number of configurations that a reload switches between.
pub const PLANS: u8 = 4;
/// Tags `t0` to `t3`; a profile has some of them.
pub const TAGS: u8 = 4;

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// One request.
    Ask(Ask),
    /// The same plain request by several clients at once.
    Burst { ask: Ask, clients: u8 },
    /// The origin has something new under a URL.
    Change { url: u8, profile: Profile },
    /// The next requests to a host end badly.
    Fault { host: u8, fault: Fault, times: u8 },
    /// A host answers nothing until released.
    Hold { host: u8 },
    /// A host answers again.
    Release { host: u8 },
    /// Time goes by.
    Advance { ms: u64 },
    /// Somebody sets the wall clock.
    Wall { ms: i64 },
    /// A purge by the admin API.
    Purge { what: What, soft: bool },
    /// The disk fails in one way for one step.
    Disk(DiskFault),
    /// The directory is put back into service if it is out.
    PutBack,
    /// The node dies: power goes with what was not synced, or only the process.
    Crash { power: bool },
    /// A clean stop and a new start.
    Restart,
    /// Another configuration.
    Reload { plan: u8 },
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who.
    pub client: u8,
    /// What.
    pub url: u8,
    /// The method.
    pub method: Method,
    /// `Accept-Language`.
    pub language: Option<&'static str>,
    /// `X-Kind`, a field that no cache knows.
    pub kind: Option<&'static str>,
    /// With credentials.
    pub secret: bool,
    /// `Cache-Control`.
    pub control: Option<Control>,
    /// `Range`.
    pub range: Option<Range>,
    /// A condition.
    pub condition: Option<Condition>,
    /// The client goes after so many bytes of the answer.
    pub leaves: Option<u32>,
}

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST: changes the resource, answered 200.
    Post,
    /// DELETE, answered 404: changes nothing.
    Delete,
}

/// One directive of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// `no-cache`.
    NoCache,
    /// `no-store`.
    NoStore,
    /// `only-if-cached`.
    OnlyIfCached,
    /// `max-age`, seconds.
    MaxAge(u32),
    /// `min-fresh`, seconds.
    MinFresh(u32),
    /// `max-stale`, seconds.
    MaxStale(u32),
}

/// One range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// `a-`.
    From(u32),
    /// `a-b`.
    Closed(u32, u32),
    /// `-n`.
    Suffix(u32),
    /// Two closed ranges.
    Two(u32, u32),
}

/// A condition, about the tag that the client saw last under that URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `If-None-Match` with it.
    NoneMatch,
    /// `If-None-Match` with another.
    NoneMatchOther,
    /// `If-Range` with it (only with a range).
    IfRange,
    /// `If-Modified-Since` the last change known to the client.
    ModifiedSince,
}

/// What the origin says of one URL.
#[derive(Clone, Copy, Debug, Default)]
pub struct Profile {
    /// Status of the answer to GET.
    pub status: u16,
    /// `max-age`, seconds.
    pub max_age: Option<u32>,
    /// `s-maxage`, seconds.
    pub s_maxage: Option<u32>,
    /// `CDN-Cache-Control: max-age`, seconds.
    pub targeted: Option<u32>,
    /// `Expires`, seconds from `Date`.
    pub expires: Option<i32>,
    /// `stale-while-revalidate`, seconds.
    pub swr: Option<u32>,
    /// `stale-if-error`, seconds.
    pub sie: Option<u32>,
    /// A word: `no-cache`, `no-store`, `private`, `must-revalidate`, `public`, `immutable`.
    pub word: Option<&'static str>,
    /// `Set-Cookie`.
    pub cookie: bool,
    /// `Vary`.
    pub vary: Option<&'static str>,
    /// `ETag`; weak or strong.
    pub etag: Option<bool>,
    /// `Last-Modified`.
    pub modified: bool,
    /// `Age`, seconds.
    pub age: Option<u32>,
    /// Length of the body.
    pub size: u32,
    /// Framing of the body.
    pub chunked: bool,
    /// Whether ranges are served.
    pub ranges: bool,
    /// Bits of tags.
    pub tags: u8,
}

/// How an exchange with the origin goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection.
    Refuse,
    /// The connection ends before the answer.
    Silent,
    /// It ends within the head.
    CutHead,
    /// It ends after this share of the body, in per cent.
    CutBody(u8),
    /// Something that is not HTTP.
    Garbage,
    /// An error status.
    Status(u16),
    /// The body is longer than the head says.
    Long,
}

/// What is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// One URL.
    Url(u8),
    /// A directory of one host.
    Prefix(u8),
    /// A tag.
    Tag(u8),
    /// A host.
    Host(u8),
    /// All.
    Everything,
    /// URLs by a pattern on the last digit of their number.
    Pattern(u8),
}

/// How the disk goes wrong, for one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// Writes fail.
    Writes,
    /// Half of each write is taken before it fails.
    Torn,
    /// Reads fail.
    Reads,
    /// One bit of what is read is wrong.
    FlipReads,
    /// Syncs fail.
    Syncs,
    /// No space.
    Full,
}

const SPANS: [u32; 8] = [0, 1, 3, 10, 30, 60, 300, 3600];
const SIZES: [u32; 10] = [0, 1, 15, 16, 200, 1000, 4096, 9000, 20_000, 60_000];

impl Profile {
    /// One at random.
    pub fn roll(dice: &mut Dice) -> Self {
        let mut profile = Profile {
            status: if dice.percent(85) { 200 } else { dice.of(&[404, 301, 410, 500, 503, 302]) },
            max_age: dice.maybe(75, &SPANS),
            s_maxage: dice.maybe(10, &SPANS),
            targeted: dice.maybe(5, &SPANS),
            expires: dice.maybe(10, &[-10, 0, 20, 100]),
            swr: dice.maybe(25, &SPANS),
            sie: dice.maybe(25, &SPANS),
            word: dice.maybe(
                30,
                &["no-cache", "no-store", "private", "must-revalidate", "public", "immutable"],
            ),
            cookie: dice.percent(6),
            vary: dice.maybe(25, &["Accept-Language", "X-Kind", "X-Kind, Accept-Language", "*"]),
            etag: dice.maybe(70, &[false, false, true]),
            modified: dice.percent(40),
            age: dice.maybe(8, &[1, 5, 40]),
            size: dice.of(&SIZES),
            chunked: dice.percent(40),
            ranges: dice.percent(60),
            tags: (dice.bits() & dice.bits()) as u8 % (1 << TAGS),
        };
        if profile.vary == Some("*") && dice.percent(70) {
            profile.vary = None;
        }
        profile
    }
}

impl Ask {
    /// The plainest.
    pub fn plain(client: u8, url: u8) -> Self {
        Ask {
            client,
            url,
            method: Method::Get,
            language: None,
            kind: None,
            secret: false,
            control: None,
            range: None,
            condition: None,
            leaves: None,
        }
    }

    fn roll(dice: &mut Dice, url: u8) -> Self {
        let mut ask = Ask::plain(dice.below(CLIENTS.into()) as u8, url);
        ask.language = dice.maybe(30, &["en", "de"]);
        ask.kind = dice.maybe(30, &["a", "b"]);
        ask.secret = dice.percent(6);
        ask.method = match dice.below(100) {
            0..92 => Method::Get,
            92..96 => Method::Head,
            96..99 => Method::Post,
            _ => Method::Delete,
        };
        let seconds = dice.of(&SPANS);
        ask.control = dice.maybe(
            12,
            &[
                Control::NoCache,
                Control::NoStore,
                Control::OnlyIfCached,
                Control::MaxAge(seconds),
                Control::MinFresh(seconds),
                Control::MaxStale(seconds),
            ],
        );
        let (low, high) = (dice.of(&SIZES), dice.of(&SIZES));
        ask.range = dice.maybe(
            18,
            &[
                Range::From(low),
                Range::Closed(low.min(high), low.max(high)),
                Range::Suffix(low),
                Range::Two(low.min(high), low.max(high)),
            ],
        );
        ask.condition = dice.maybe(
            15,
            &[Condition::NoneMatch, Condition::NoneMatchOther, Condition::ModifiedSince],
        );
        if ask.range.is_some() && dice.percent(25) {
            ask.condition = Some(Condition::IfRange);
        }
        ask.leaves = dice.maybe(3, &[0, 1, 300, 10_000]);
        ask
    }
}

/// Popular URLs are asked for more often.
fn url(dice: &mut Dice) -> u8 {
    let (one, two) = (dice.below(URLS.into()), dice.below(URLS.into()));
    one.min(two) as u8
}

fn purge(dice: &mut Dice) -> Step {
    let what = match dice.below(12) {
        0..5 => What::Url(url(dice)),
        5..7 => What::Prefix(url(dice)),
        7..9 => What::Tag(dice.below(TAGS.into()) as u8),
        9 => What::Host(dice.below(HOSTS.into()) as u8),
        10 => What::Everything,
        _ => What::Pattern(dice.below(10) as u8),
    };
    Step::Purge { what, soft: dice.percent(35) }
}

fn fault(dice: &mut Dice) -> Step {
    let share = dice.below(100) as u8;
    let status = dice.of(&[500, 502, 503, 504, 404]);
    let fault = dice.of(&[
        Fault::Refuse,
        Fault::Silent,
        Fault::CutHead,
        Fault::CutBody(share),
        Fault::CutBody(share),
        Fault::Garbage,
        Fault::Status(status),
        Fault::Long,
    ]);
    Step::Fault { host: dice.below(HOSTS.into()) as u8, fault, times: dice.below(4) as u8 + 1 }
}

/// The step number `place` of a run.
pub fn roll(dice: &mut Dice) -> Step {
    let host = dice.below(HOSTS.into()) as u8;
    match dice.below(1000) {
        0..700 => {
            let url = url(dice);
            Step::Ask(Ask::roll(dice, url))
        }
        700..730 => {
            let mut ask = Ask::plain(0, url(dice));
            ask.language = dice.maybe(30, &["en", "de"]);
            Step::Burst { ask, clients: dice.below(5) as u8 + 2 }
        }
        730..790 => Step::Change { url: url(dice), profile: Profile::roll(dice) },
        790..820 => fault(dice),
        820..840 => Step::Hold { host },
        840..870 => Step::Release { host },
        870..930 => {
            let most = dice.of(&[500, 2_000, 12_000, 70_000, 4_000_000]);
            Step::Advance { ms: dice.below(most) }
        }
        930..933 => Step::Wall { ms: dice.below(400_000) as i64 - 200_000 },
        933..968 => purge(dice),
        968..980 => Step::Disk(dice.of(&[
            DiskFault::Writes,
            DiskFault::Torn,
            DiskFault::Reads,
            DiskFault::FlipReads,
            DiskFault::Syncs,
            DiskFault::Full,
        ])),
        980..984 => Step::PutBack,
        984..989 => Step::Crash { power: dice.percent(40) },
        989..992 => Step::Restart,
        _ => Step::Reload { plan: dice.below(PLANS.into()) as u8 },
    }
}
