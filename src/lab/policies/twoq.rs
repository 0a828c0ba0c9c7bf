//! 2Q (Johnson and Shasha, VLDB 1994) in bytes.
//!
//! A quarter of the room is a FIFO of newcomers, whose leavers a ghost remembers for as many
//! bytes as half of the room; what comes back from there enters an LRU of the rest.

use std::collections::VecDeque;

use super::{Gone, Policy};
use crate::lab::trace::Request;

#[derive(Clone, Copy, Default)]
struct State {
    size: u64,
    hits: u32,
    /// Serial number of its valid place in a queue; zero if it is in none.
    place: u64,
    main: bool,
    /// Bytes that had left the FIFO when it did, plus one; zero if it did not.
    left: u64,
}

pub(super) struct TwoQ {
    states: Vec<State>,
    new: VecDeque<(u32, u64)>,
    main: VecDeque<(u32, u64)>,
    capacity: u64,
    new_used: u64,
    main_used: u64,
    left: u64,
    serial: u64,
}

impl TwoQ {
    pub(super) fn new(capacity: u64, objects: usize) -> Self {
        TwoQ {
            states: vec![State::default(); objects],
            new: VecDeque::new(),
            main: VecDeque::new(),
            capacity,
            new_used: 0,
            main_used: 0,
            left: 0,
            serial: 0,
        }
    }

    /// The next resident of a queue; places of objects that have moved on are skipped.
    fn pop(&mut self, main: bool) -> Option<u32> {
        let queue = if main { &mut self.main } else { &mut self.new };
        loop {
            let (object, serial) = queue.pop_front()?;
            if self.states[object as usize].place == serial {
                return Some(object);
            }
        }
    }

    fn evict(&mut self, gone: &mut Vec<Gone>) {
        let newcomers = self.new_used > self.capacity / 4 || self.main_used == 0;
        let Some(object) = self.pop(!newcomers) else { return };
        let state = &mut self.states[object as usize];
        state.place = 0;
        gone.push(Gone { object, size: state.size, hits: state.hits });
        if newcomers {
            state.left = self.left + 1;
            self.left += state.size;
            self.new_used -= state.size;
        } else {
            self.main_used -= state.size;
        }
    }
}

impl Policy for TwoQ {
    fn access(&mut self, request: &Request, gone: &mut Vec<Gone>) -> bool {
        let object = request.object;
        self.serial += 1;
        let (serial, size) = (self.serial, request.size);
        let state = &mut self.states[object as usize];
        if state.place > 0 {
            state.hits += 1;
            if state.main {
                state.place = serial;
                self.main.push_back((object, serial));
            }
            return true;
        }
        if size > self.capacity {
            gone.push(Gone { object, size, hits: 0 });
            return false;
        }
        while self.new_used + self.main_used + size > self.capacity {
            self.evict(gone);
        }
        let left = self.left;
        let state = &mut self.states[object as usize];
        let known = state.left > 0 && left + 1 - state.left <= self.capacity / 2;
        *state = State { size, hits: 0, place: serial, main: known, left: 0 };
        if known {
            self.main_used += size;
            self.main.push_back((object, serial));
        } else {
            self.new_used += size;
            self.new.push_back((object, serial));
        }
        false
    }
}
