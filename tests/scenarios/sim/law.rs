//! The rules of HTTP caching once more, as plainly as they can be said, over what the
//! simulated origins are able to say. Written from the RFCs and the documented settings
//! and not from the product's code; where the two differ one of them is wrong.

use brink::base::Now;

use super::scene::{Facts, Reply};
use super::step::Profile;

/// One configuration of the node, as far as the rules depend on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// `stale_while_revalidate`, seconds.
    pub swr: u32,
    /// `stale_if_error`, seconds.
    pub sie: u32,
    /// `default_ttl`, seconds.
    pub default_ttl: u32,
    /// Directory whose URLs are not cached.
    pub passed: Option<u8>,
    /// `honour_client_no_cache` is off.
    pub deaf: bool,
}

impl Plan {
    /// The configuration of that number.
    pub fn of(number: u8) -> Self {
        let usual = Plan { sie: 86_400, ..Plan::default() };
        match number {
            1 => Plan { swr: 20, sie: 0, ..usual },
            2 => Plan { passed: Some(2), ..usual },
            3 => Plan { deaf: true, default_ttl: 5, ..usual },
            _ => usual,
        }
    }

    /// Its lines in a site's section.
    pub fn toml(&self) -> String {
        let mut text = format!(
            "stale_while_revalidate = \"{}s\"\nstale_if_error = \"{}s\"\ndefault_ttl = \"{}s\"\n\
             honour_client_no_cache = {}\n",
            self.swr, self.sie, self.default_ttl, !self.deaf
        );
        if let Some(directory) = self.passed {
            text += &format!(
                "[[site.rule]]\ncache = false\n[site.rule.match]\nprefixes = [\"/d{directory}/\"]\n"
            );
        }
        text
    }

    /// Whether `url` is passed.
    pub fn passes(&self, url: u8) -> bool {
        self.passed == Some(url / 2 % 3)
    }
}

/// What a cache reads of a profile: a targeted field replaces the others (RFC 9213 2.2).
fn heeded(profile: &Profile) -> Profile {
    match profile.targeted {
        None => *profile,
        Some(_) => Profile {
            max_age: profile.targeted,
            s_maxage: None,
            expires: None,
            swr: None,
            sie: None,
            word: None,
            ..*profile
        },
    }
}

/// Whether anybody but its own client may get `reply` (RFC 9111 3, 3.5).
pub fn shareable(reply: &Reply) -> bool {
    let said = heeded(&reply.version.profile);
    let status = reply.version.profile.status;
    let stated = said.max_age.is_some()
        || said.s_maxage.is_some()
        || said.expires.is_some()
        || said.word == Some("public");
    let known = matches!(status, 200 | 301 | 404 | 410);
    let allowed =
        said.s_maxage.is_some() || matches!(said.word, Some("public" | "must-revalidate"));
    !matches!(said.word, Some("private" | "no-store"))
        && !said.cookie
        && said.vary != Some("*")
        && (stated || known)
        && (!reply.secret || allowed)
        && !reply.no_store
}

/// Milliseconds that `reply` is fresh (RFC 9111 4.2.1).
pub fn lifetime_ms(reply: &Reply, plan: &Plan) -> u64 {
    let said = heeded(&reply.version.profile);
    let status = said.status;
    let seconds = if let Some(span) = said.s_maxage.or(said.max_age) {
        u64::from(span)
    } else if let Some(span) = said.expires {
        u64::try_from(span).unwrap_or(0)
    } else if !(matches!(status, 200 | 301 | 404 | 410) || said.word == Some("public")) {
        0
    } else if let Some(modified) = reply.version.modified {
        (reply.at.wall_secs().saturating_sub(modified) / 10).min(86_400)
    } else if status < 400 {
        u64::from(plan.default_ttl)
    } else {
        0
    };
    seconds * 1000
}

/// Milliseconds that it may be shown stale: while it is refreshed, and if that fails
/// (RFC 5861; RFC 9111 4.2.4).
pub fn windows_ms(reply: &Reply, plan: &Plan) -> (u64, u64) {
    let said = heeded(&reply.version.profile);
    if matches!(said.word, Some("no-cache" | "must-revalidate")) {
        return (0, 0);
    }
    let window = |own: Option<u32>, usual: u32| match (own, said.s_maxage) {
        (Some(span), _) => span,
        (None, Some(_)) => 0,
        (None, None) => usual,
    };
    let ms = |span: u32| u64::from(span) * 1000;
    (ms(window(said.swr, plan.swr)), ms(window(said.sie, plan.sie)))
}

/// Whether the client's `max-stale` counts (RFC 9111 5.2.1.2).
pub fn may_be_stale(reply: &Reply) -> bool {
    let said = heeded(&reply.version.profile);
    said.s_maxage.is_none() && !matches!(said.word, Some("no-cache" | "must-revalidate"))
}

/// Whether it must be asked about each time.
pub fn always_asked(reply: &Reply) -> bool {
    heeded(&reply.version.profile).word == Some("no-cache")
}

/// Whether a cache has any use for it: something to show it by, or to ask about it with.
pub fn of_use(reply: &Reply) -> bool {
    let profile = &reply.version.profile;
    let shown = !always_asked(reply)
        && lifetime_ms(reply, &Plan::default())
            > u64::from(profile.age.unwrap_or(0)) * 1000 + reply.delay_ms;
    shareable(reply) && (profile.etag.is_some() || profile.modified || shown)
}

/// Whether a reload need not ask about it.
pub fn immutable(reply: &Reply) -> bool {
    heeded(&reply.version.profile).word == Some("immutable")
}

/// The least and the greatest age of `reply`, in milliseconds, in an exchange between two
/// moments (RFC 9111 4.2.3). Exact while the process lives; across a start only the wall
/// clock is left, and whoever moved it moved the age. The node counts from its first try: an
/// answer to a later one may be said to be older than it is, which is the safe side.
pub fn age_ms(reply: &Reply, facts: &Facts, began: Now, ended: Now) -> (u64, u64) {
    let said = u64::from(reply.version.profile.age.unwrap_or(0)) * 1000;
    let least = said + reply.delay_ms + began.mono_ms.saturating_sub(reply.at.mono_ms);
    let most = said + reply.tried_ms + ended.mono_ms.saturating_sub(reply.at.mono_ms);
    if reply.run == facts.run {
        return (least, most);
    }
    let slips = facts.slips - reply.steps.0;
    let leaps = facts.leaps - reply.steps.1;
    (least.saturating_sub(slips), most + leaps)
}
