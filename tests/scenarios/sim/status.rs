//! `Cache-Status` (RFC 9211) against the facts: does the node tell the truth about what it
//! did?

use super::client::{Answer, Told};
use super::judge::not_modified;
use super::scene::{Facts, Reply};

/// Checks the node's own member, and a 304.
pub fn check(facts: &Facts, told: &Told, answer: &Answer, reply: &Reply) -> Result<(), String> {
    if answer.status == 304 {
        not_modified(told, &reply.version)?;
    }
    let text = answer.field("cache-status").ok_or("no Cache-Status")?;
    let words: Vec<&str> = text.split("; ").collect();
    let own = reply.request == told.id;
    let asked = facts.seen.contains_key(&told.id);
    let says = |word: &str| words.contains(&word);
    if says("hit") && own {
        return Err(format!("a hit by its own request: {text}"));
    }
    if says("collapsed") && own {
        return Err(format!("collapsed, but asked itself: {text}"));
    }
    let forwarded = words.iter().any(|word| word.starts_with("fwd="));
    if forwarded == says("hit") {
        return Err(format!("neither hit nor forwarded, or both: {text}"));
    }
    let answered = words.iter().find_map(|word| word.strip_prefix("fwd-status="));
    if answered.is_some() && !says("collapsed") && !asked {
        return Err(format!("the origin has not seen it: {text}"));
    }
    if let (true, Some(status)) = (own, answered)
        && status != reply.status.to_string()
    {
        return Err(format!("the origin said {}: {text}", reply.status));
    }
    Ok(())
}

/// The `ttl` of a hit.
pub fn ttl(answer: &Answer) -> Option<i64> {
    let text = answer.field("cache-status")?;
    text.split("; ").find_map(|word| word.strip_prefix("ttl="))?.parse().ok()
}
