//! The life of a directory's thread: join, write, be out, join again.
//!
//! ```text
//! join > serve --(fault too many)--> out --(put back)--> join
//!          '--(close)--> checkpoint, end       '--(close)--> bury what was missed, end
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::directory::Directory;
use super::health::State;
use super::identity::Identity;
use super::queue::Command;
use super::recover::recover;

/// Body of the thread.
pub(super) fn run(dir: Arc<Directory>) {
    // One that could not be opened at the start is out before it has begun.
    let mut told = (dir.health.state() != State::Out).then(|| join(&dir)).flatten();
    loop {
        if told.is_none() {
            // Out: what it holds is let go, so that the device can be changed.
            dir.index.clear();
            dir.segments.clear();
            dir.device.release();
        }
        match told.unwrap_or_else(|| dir.queue.wait_command()) {
            Command::Run | Command::PutBack => dir.health.set(State::Joining),
            Command::Close => {
                if told.is_none() && dir.queue.has_missed() {
                    bury_missed(&dir);
                }
                break;
            }
            Command::Abort => break,
        }
        told = join(&dir);
    }
    dir.health.take_out("closed".to_owned());
}

/// What was removed or replaced while the directory was out is known in memory alone. If the
/// device works again, it is told before the node ends: otherwise it would be back at the next
/// start. Nothing is made where another directory, or none, is by now.
fn bury_missed(dir: &Arc<Directory>) {
    let own = |found: Identity| found.id == dir.id.load(Ordering::Relaxed);
    if Identity::read(&dir.path).ok().flatten().is_some_and(own) {
        dir.health.set(State::Joining);
        // The queue says `Close` as soon as the tombstones are written.
        join(dir);
    }
}

/// Joins and writes until told otherwise; `None` when the directory is out.
fn join(dir: &Arc<Directory>) -> Option<Command> {
    dir.queue.joining();
    let taken = dir.take_again().map_err(io::Error::other);
    match taken.and_then(|()| recover(dir)) {
        Ok(mut writer) => writer.serve(),
        Err(error) => {
            let path = dir.path.display();
            if dir.health.take_out(error.to_string()) {
                tracing::error!(%path, %error, "disk directory cannot join");
            }
            None
        }
    }
}
