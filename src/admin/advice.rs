//! What would make a URL a hit, in plain words.

use super::words;
use crate::base::Now;
use crate::rules::outcome::Fwd;
use crate::rules::plan::Plan;
use crate::rules::purge::Purge;
use crate::rules::site::Policy;
use crate::telemetry::Evicted;

/// What an observer knows of a URL beside what is stored.
pub(super) struct Known<'a> {
    pub(super) verdict: &'a Plan,
    /// Whether anything is stored under its key.
    pub(super) stored: bool,
    /// Why its last answer was not stored.
    pub(super) not_stored: Option<&'static str>,
    pub(super) evicted: Option<Evicted>,
    pub(super) purged: Option<&'a Purge>,
    pub(super) policy: &'a Policy,
    pub(super) now: Now,
}

/// Sentences, the most telling first; never none.
pub(super) fn advice(known: &Known<'_>) -> Vec<String> {
    let mut advice = Vec::new();
    if !known.policy.cache {
        advice.push("the site's rule says cache = false; remove that for this path".to_owned());
    }
    match known.verdict {
        Plan::Hit(_) => advice.push("nothing to do: it is a hit".to_owned()),
        Plan::Revalidate { entry, .. } if entry.is_soft_purged() => {
            advice.push("soft-purged: the next request asks the origin, then it is a hit".into());
        }
        Plan::Revalidate { entry, .. } if entry.freshness.lifetime_ms == 0 => {
            advice.push(words::reason("no-freshness").to_owned());
        }
        Plan::Revalidate { entry, .. } if entry.freshness.always_validate => {
            advice
                .push("drop no-cache at the origin if the answer may be reused unasked".to_owned());
        }
        Plan::Revalidate { entry, .. } if entry.freshness.is_fresh(known.now) => {
            advice.push(words::client_no_cache().to_owned());
        }
        Plan::Revalidate { .. } | Plan::StaleHit(_) => advice.push(
            "a longer max-age (or s-maxage) at the origin keeps it fresh longer; \
             stale_while_revalidate hides the refresh from clients"
                .to_owned(),
        ),
        Plan::Complete { .. } => {
            advice.push("a part is stored; the next request for all of it completes it".to_owned());
        }
        Plan::Miss(fwd) | Plan::MissRange(fwd) | Plan::Pass(fwd) => {
            miss(known, *fwd, &mut advice);
        }
        Plan::Refuse(fault) => advice.push(format!(
            "the request itself is refused ({}); it cannot be a hit as it stands",
            fault.reason()
        )),
    }
    advice
}

fn miss(known: &Known<'_>, fwd: Fwd, advice: &mut Vec<String>) {
    if fwd == Fwd::Request {
        advice.push(words::client_no_cache().to_owned());
    }
    if fwd == Fwd::Method {
        advice.push("ask with GET or HEAD: no other method is answered from the cache".to_owned());
    }
    if known.stored {
        advice.push(
            "variants are stored for other request fields; send the same ones, or fold them \
             (encodings, languages) in the site's rule"
                .to_owned(),
        );
        return;
    }
    if let Some(reason) = known.not_stored {
        advice.push(words::reason(reason).to_owned());
        return;
    }
    if !known.policy.cache {
        return;
    }
    let ago = |at_s: u64| known.now.wall_secs().saturating_sub(at_s);
    let purged = known.purged.map(|purge| purge.wall_ms / 1000);
    match (known.evicted, purged) {
        // What happened last explains it.
        (Some(gone), purged) if purged.is_none_or(|purged| purged <= gone.at_s) => {
            advice.push(format!(
                "it gave way to others {} s ago after {} hits: more memory, or a disk tier, would \
                 have kept it (brink lab says how much)",
                ago(gone.at_s),
                gone.hits
            ));
        }
        (_, Some(purged)) => advice.push(format!(
            "it may have been purged {} s ago; the next request stores it again if the origin \
             allows it",
            ago(purged)
        )),
        (_, None) => advice.push(
            "not asked for yet: the next answer is stored if the origin allows it; brink warm \
             asks for it now"
                .to_owned(),
        ),
    }
}
