//! LRU, FIFO and SIEVE: one list in three ways.
//!
//! The list links objects by their index in the trace: two arrays and no allocation.
//! SIEVE (Zhang and others, NSDI 2024) keeps a hand that walks from old to young, spares
//! what was asked for since it last passed, and evicts the first that was not.

use super::{Gone, Policy};
use crate::lab::trace::Request;

/// What a hit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Lru,
    Fifo,
    Sieve,
}

const NIL: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    younger: u32,
    older: u32,
    size: u64,
    hits: u32,
    visited: bool,
    here: bool,
}

pub(super) struct Queue {
    kind: Kind,
    capacity: u64,
    used: u64,
    links: Vec<Link>,
    youngest: u32,
    oldest: u32,
    hand: u32,
}

impl Queue {
    pub(super) fn new(kind: Kind, capacity: u64, objects: usize) -> Self {
        let link = Link { younger: NIL, older: NIL, size: 0, hits: 0, visited: false, here: false };
        Queue {
            kind,
            capacity,
            used: 0,
            links: vec![link; objects],
            youngest: NIL,
            oldest: NIL,
            hand: NIL,
        }
    }

    fn link(&mut self, object: u32) -> &mut Link {
        &mut self.links[object as usize]
    }

    fn unlink(&mut self, object: u32) {
        let Link { younger, older, .. } = *self.link(object);
        match younger {
            NIL => self.youngest = older,
            _ => self.link(younger).older = older,
        }
        match older {
            NIL => self.oldest = younger,
            _ => self.link(older).younger = younger,
        }
    }

    fn push(&mut self, object: u32) {
        let youngest = self.youngest;
        let link = self.link(object);
        (link.younger, link.older) = (NIL, youngest);
        match youngest {
            NIL => self.oldest = object,
            _ => self.link(youngest).younger = object,
        }
        self.youngest = object;
    }

    fn victim(&mut self) -> u32 {
        if self.kind != Kind::Sieve {
            return self.oldest;
        }
        let mut hand = if self.hand == NIL { self.oldest } else { self.hand };
        while self.link(hand).visited {
            self.link(hand).visited = false;
            hand = self.link(hand).younger;
            if hand == NIL {
                hand = self.oldest;
            }
        }
        self.hand = self.link(hand).younger;
        hand
    }
}

impl Policy for Queue {
    fn access(&mut self, request: &Request, gone: &mut Vec<Gone>) -> bool {
        let object = request.object;
        if self.link(object).here {
            let link = self.link(object);
            link.hits += 1;
            link.visited = true;
            if self.kind == Kind::Lru {
                self.unlink(object);
                self.push(object);
            }
            return true;
        }
        if request.size > self.capacity {
            gone.push(Gone { object, size: request.size, hits: 0 });
            return false;
        }
        while self.used + request.size > self.capacity {
            let victim = self.victim();
            self.unlink(victim);
            let link = self.link(victim);
            link.here = false;
            gone.push(Gone { object: victim, size: link.size, hits: link.hits });
            self.used -= gone.last().map_or(0, |gone| gone.size);
        }
        let link = self.link(object);
        (link.size, link.hits, link.visited, link.here) = (request.size, 0, false, true);
        self.used += request.size;
        self.push(object);
        false
    }
}
