//! S3-FIFO (Yang and others, SOSP 2023) in bytes, without a limit on object size.
//!
//! A tenth of the room is a queue for newcomers. What was asked for twice there moves to
//! the main queue, the rest leaves its name in a ghost; a newcomer in the ghost enters the
//! main queue at once. The main queue gives what was asked for another round.

use std::collections::VecDeque;

use super::{Gone, Policy};
use crate::lab::trace::Request;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    Small,
    Main,
}

#[derive(Clone, Copy)]
struct State {
    place: Place,
    /// Requests since it was last looked at, at most 3.
    frequency: u8,
    size: u64,
    hits: u32,
    /// When it entered the ghost, in bytes that had entered before; none if it is not there.
    ghost: Option<u64>,
}

pub(super) struct S3Fifo {
    states: Vec<State>,
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    capacity: u64,
    small_used: u64,
    main_used: u64,
    ghost_passed: u64,
}

impl S3Fifo {
    pub(super) fn new(capacity: u64, objects: usize) -> Self {
        let state = State { place: Place::Nowhere, frequency: 0, size: 0, hits: 0, ghost: None };
        S3Fifo {
            states: vec![state; objects],
            small: VecDeque::new(),
            main: VecDeque::new(),
            capacity,
            small_used: 0,
            main_used: 0,
            ghost_passed: 0,
        }
    }

    fn state(&mut self, object: u32) -> &mut State {
        &mut self.states[object as usize]
    }

    fn evict(&mut self, gone: &mut Vec<Gone>) {
        let from_small = self.small_used > self.capacity / 10 || self.main.is_empty();
        if from_small && let Some(object) = self.small.pop_front() {
            let passed = self.ghost_passed;
            let state = self.state(object);
            let size = state.size;
            if state.frequency > 1 {
                (state.place, state.frequency) = (Place::Main, 0);
                self.main_used += size;
                self.main.push_back(object);
            } else {
                (state.place, state.ghost) = (Place::Nowhere, Some(passed));
                gone.push(Gone { object, size, hits: state.hits });
                self.ghost_passed += size;
            }
            self.small_used -= size;
            return;
        }
        while let Some(object) = self.main.pop_front() {
            let state = self.state(object);
            if state.frequency > 0 {
                state.frequency -= 1;
                self.main.push_back(object);
                continue;
            }
            state.place = Place::Nowhere;
            gone.push(Gone { object, size: state.size, hits: state.hits });
            self.main_used -= gone.last().map_or(0, |gone| gone.size);
            return;
        }
    }
}

impl Policy for S3Fifo {
    fn access(&mut self, request: &Request, gone: &mut Vec<Gone>) -> bool {
        let object = request.object;
        let state = self.state(object);
        if state.place != Place::Nowhere {
            state.frequency = (state.frequency + 1).min(3);
            state.hits += 1;
            return true;
        }
        if request.size > self.capacity {
            gone.push(Gone { object, size: request.size, hits: 0 });
            return false;
        }
        while self.small_used + self.main_used + request.size > self.capacity {
            self.evict(gone);
        }
        // The ghost remembers as many bytes as the main queue holds.
        let reach = self.capacity / 10 * 9;
        let passed = self.ghost_passed;
        let state = self.state(object);
        let known = state.ghost.take().is_some_and(|entered| passed - entered <= reach);
        (state.size, state.hits, state.frequency) = (request.size, 0, 0);
        if known {
            state.place = Place::Main;
            self.main_used += request.size;
            self.main.push_back(object);
        } else {
            state.place = Place::Small;
            self.small_used += request.size;
            self.small.push_back(object);
        }
        false
    }
}
