//! Counters of the listeners, shared by all threads.
//!
//! They count connections and refusals, never requests, so atomics are cheap enough: a
//! request on an open connection touches none of them.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Live counters.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[$doc])* pub(crate) $name: AtomicU64,)* }

        /// One reading of all counters.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct StatsReading { $($(#[$doc])* pub $name: u64,)* }

        impl Stats {
            /// Reads all counters; each is exact, together they are not a snapshot.
            pub fn read(&self) -> StatsReading {
                StatsReading { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl StatsReading {
            /// Name and value of each counter, for exposition.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted and served.
    accepted,
    /// Connections that have ended, of those accepted.
    closed,
    /// Connections turned away because of the total limit.
    shed_total,
    /// Connections turned away because of the limit an address.
    shed_address,
    /// Unfinished request heads let go because all together were too large.
    shed_heads,
    /// Times accept ran out of file descriptors.
    files_exhausted,
    /// TLS handshakes that succeeded.
    handshakes,
    /// TLS handshakes that resumed a session.
    handshakes_resumed,
    /// TLS handshakes or PROXY headers that failed or took too long.
    handshakes_failed,
    /// HTTP/1 messages refused by the request guard.
    refused,
    /// Requests answered 408 because the head took too long.
    head_timeouts,
    /// Request bodies that were too slow.
    body_timeouts,
    /// Connections closed because they were idle.
    idle_timeouts,
    /// Connections reset because the client did not read.
    write_timeouts,
    /// HTTP/2 connections closed for using up a budget.
    http2_floods,
    /// Of those: SETTINGS frames.
    flood_settings,
    /// PING frames, answers included.
    flood_pings,
    /// PRIORITY frames.
    flood_priorities,
    /// Empty or unknown frames.
    flood_empty_frames,
    /// WINDOW_UPDATE frames.
    flood_window_updates,
    /// Streams the client reset.
    flood_resets,
    /// Streams the client made this side reset.
    flood_provoked_resets,
    /// CONTINUATION frames of one header block.
    flood_continuations,
    /// Encoded bytes of one header block.
    flood_header_block,
    /// HPACK table sizes in one header block.
    flood_table_sizes,
    /// HTTP/2 connections ended by an error of the protocol or a bound of its parser.
    http2_errors,
    /// HTTP/2 streams reset because the client took nothing of the answer.
    http2_stalls,
    /// Handlers that panicked.
    panics,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
