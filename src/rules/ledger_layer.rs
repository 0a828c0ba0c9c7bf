//! A run of purges with exact maps over them; never changes once made.
//!
//! Tags, URLs and hosts are hash lookups. The prefixes of a host are kept sorted: all
//! that cover a path are found by looking for the greatest one not above it, then for the
//! greatest one not above what the two have in common, and so on. That needs no trie and
//! visits only prefixes of the path and a few neighbours.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::asked::Scheme;
use super::purge::{Pattern, Purge, Subject, What, covers};

/// Newest matching sequence numbers; zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Of hard purges.
    pub(super) hard: u64,
    /// Of soft purges.
    pub(super) soft: u64,
}

impl Marks {
    /// Keeps the newer of each.
    pub(super) fn join(&mut self, other: Marks) {
        self.hard = self.hard.max(other.hard);
        self.soft = self.soft.max(other.soft);
    }

    fn of(purge: &Purge) -> Marks {
        if purge.soft {
            Marks { hard: 0, soft: purge.seq }
        } else {
            Marks { hard: purge.seq, soft: 0 }
        }
    }
}

/// The run.
#[derive(Debug, Default)]
pub(super) struct Layer {
    purges: Vec<Arc<Purge>>,
    everything: Marks,
    urls: HashMap<Box<[u8]>, Marks>,
    tags: HashMap<Box<str>, Marks>,
    hosts: HashMap<Box<[u8]>, OfHost>,
    patterns: Vec<(Pattern, Marks)>,
}

#[derive(Debug, Default)]
struct OfHost {
    whole: HashMap<Option<u16>, Marks>,
    prefixes: BTreeMap<Box<[u8]>, HashMap<Shape, Marks>>,
}

/// What else a prefix asks for: scheme, port, by segment.
type Shape = (Option<Scheme>, Option<u16>, bool);

impl Layer {
    /// Indexes `purges`, which are in order of their numbers.
    pub(super) fn new(purges: Vec<Arc<Purge>>) -> Self {
        let mut layer = Layer::default();
        for purge in &purges {
            layer.add(purge);
        }
        layer.purges = purges;
        layer
    }

    fn add(&mut self, purge: &Purge) {
        let new = Marks::of(purge);
        match &purge.what {
            What::Everything => self.everything.join(new),
            What::Url(key) => self.urls.entry(key.clone()).or_default().join(new),
            What::Tag(tag) => self.tags.entry(tag.clone()).or_default().join(new),
            What::Host(at) => {
                let host = self.hosts.entry(at.host.as_bytes().into()).or_default();
                host.whole.entry(at.port).or_default().join(new);
            }
            What::Prefix(prefix) => {
                let host = self.hosts.entry(prefix.at.host.as_bytes().into()).or_default();
                let shapes = host.prefixes.entry(prefix.path.as_bytes().into()).or_default();
                let shape = (prefix.scheme, prefix.at.port, prefix.by_segment);
                shapes.entry(shape).or_default().join(new);
            }
            What::Pattern(pattern) => {
                match self.patterns.iter_mut().find(|(known, _)| known == pattern) {
                    Some((_, marks)) => marks.join(new),
                    None => self.patterns.push((pattern.clone(), new)),
                }
            }
        }
    }

    /// Number of the newest purge.
    pub(super) fn newest(&self) -> u64 {
        self.purges.last().map_or(0, |purge| purge.seq)
    }

    /// All of it, oldest first.
    pub(super) fn purges(&self) -> &[Arc<Purge>] {
        &self.purges
    }

    /// How many patterns each judgement runs.
    pub(super) fn patterns(&self) -> usize {
        self.patterns.len()
    }

    /// The newest purges that hit `subject`. Patterns not newer than `since` are not run.
    pub(super) fn marks(&self, subject: &Subject<'_>, since: u64) -> Marks {
        let mut marks = self.everything;
        if let Some(url) = self.urls.get(subject.key) {
            marks.join(*url);
        }
        if !self.tags.is_empty() {
            for tag in subject.tags.iter().filter_map(|tag| self.tags.get(tag)) {
                marks.join(*tag);
            }
        }
        if let Some(host) = self.hosts.get(subject.host) {
            for port in [None, Some(subject.port)] {
                if let Some(whole) = host.whole.get(&port) {
                    marks.join(*whole);
                }
            }
            host.prefix_marks(subject, &mut marks);
        }
        let newer = |m: &Marks| m.hard > since || m.soft > since;
        let mut url = None;
        for (pattern, own) in self.patterns.iter().filter(|(_, own)| newer(own)) {
            if pattern.matches(url.get_or_insert_with(|| subject.url())) {
                marks.join(*own);
            }
        }
        marks
    }
}

impl OfHost {
    /// The greatest prefix not above `upto`.
    fn longest(&self, upto: &[u8]) -> Option<(&[u8], &HashMap<Shape, Marks>)> {
        let range = (Bound::Unbounded, Bound::Included(upto));
        let (path, shapes) = self.prefixes.range::<[u8], _>(range).next_back()?;
        Some((path, shapes))
    }

    fn prefix_marks(&self, subject: &Subject<'_>, marks: &mut Marks) {
        let mut upto = subject.target;
        while let Some((path, shapes)) = self.longest(upto) {
            let common = path.iter().zip(upto).take_while(|(a, b)| a == b).count();
            if common == path.len() {
                for ((scheme, port, by_segment), own) in shapes {
                    if scheme.is_none_or(|scheme| scheme == subject.scheme)
                        && port.is_none_or(|port| port == subject.port)
                        && covers(path, subject.target, *by_segment)
                    {
                        marks.join(*own);
                    }
                }
            }
            // Every other prefix of the target that is not above `path` is also a prefix
            // of `path`, so it is no longer than what they have in common; one that is as
            // long as `path` has just been seen.
            let shorter = if common == path.len() { common.checked_sub(1) } else { Some(common) };
            let Some(next) = shorter.and_then(|length| upto.get(..length)) else { return };
            upto = next;
        }
    }
}
