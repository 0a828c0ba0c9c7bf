//! The life of a directory's thread: join, write, be out, join again.
//!
//! ```text
//! join > serve --(fault too many)--> out --(put back)--> join
//!          '--(close)--> checkpoint, end       '--(close)--> end
//! ```

use std::io;
use std::sync::Arc;

use super::directory::Directory;
use super::health::State;
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
            Command::Close | Command::Abort => break,
        }
        told = join(&dir);
    }
    dir.health.take_out("closed".to_owned());
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
