//! Which runs are under way, by version of the object.
//!
//! One lock for all: it is held for a few instructions when a reader comes to the end of
//! what it holds, which is once in a MiB.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::store::window::{Broken, Reader, Window, Writer};

type Table = HashMap<u128, SmallVec<[Arc<Window>; 2]>>;

/// The table.
#[derive(Debug, Default)]
pub struct Runs {
    table: Mutex<Table>,
}

/// What [`Runs::join`] gives.
#[derive(Debug)]
pub(in crate::serve) enum Joined {
    /// Somebody fetches already.
    Follow(Reader),
    /// You fetch.
    Lead(Run, Reader),
}

/// The right and the duty to fetch a stretch. Dropping it without a word breaks it.
#[derive(Debug)]
pub(in crate::serve) struct Run {
    runs: Arc<Runs>,
    version: u128,
    window: Arc<Window>,
    writer: Option<Writer>,
}

impl Runs {
    /// A reader of a run that has the bytes at `at` or brings them soon.
    pub fn follow(&self, version: u128, at: u64) -> Option<Reader> {
        self.table.lock().get(&version)?.iter().find_map(|window| window.reader(at))
    }

    /// Whether there is such a run.
    pub fn serves(&self, version: u128, at: u64) -> bool {
        let table = self.table.lock();
        table.get(&version).is_some_and(|runs| runs.iter().any(|window| window.serves(at)))
    }

    /// Runs under way.
    pub fn len(&self) -> usize {
        self.table.lock().values().map(|runs| runs.len()).sum()
    }

    /// Follows a run that serves `at`, or leads one from `start` to `end`; runs that would
    /// come there later end where it begins. With `only` they are left alone, because it is
    /// the whole object that comes, from its first byte.
    pub(in crate::serve) fn join(
        self: &Arc<Self>,
        version: u128,
        at: u64,
        (start, end): (u64, u64),
        only: bool,
    ) -> Joined {
        let mut table = self.table.lock();
        let runs = table.entry(version).or_default();
        if let Some(reader) = runs.iter().find_map(|window| window.reader(at)) {
            return Joined::Follow(reader);
        }
        if !only {
            runs.iter().for_each(|window| window.cut(start));
        }
        let (window, writer, reader) = Window::new(start, end, at, only);
        runs.push(window.clone());
        let run = Run { runs: self.clone(), version, window, writer: Some(writer) };
        Joined::Lead(run, reader)
    }
}

impl Run {
    /// The filling end; `None` after the end.
    pub fn writer(&mut self) -> Option<&mut Writer> {
        self.writer.as_mut()
    }

    /// What came was right, and nothing more comes.
    pub fn finish(mut self) {
        self.leave();
        if let Some(writer) = self.writer.take() {
            writer.finish();
        }
    }

    /// Nothing comes.
    pub fn fail(mut self, why: Broken) {
        self.leave();
        if let Some(writer) = self.writer.take() {
            writer.fail(why);
        }
    }

    fn leave(&self) {
        let mut table = self.runs.table.lock();
        if let Some(runs) = table.get_mut(&self.version) {
            runs.retain(|window| !Arc::ptr_eq(window, &self.window));
            if runs.is_empty() {
                table.remove(&self.version);
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.leave();
    }
}
