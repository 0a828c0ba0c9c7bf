//! Budgets for HTTP/2 frames that cost the node work and the client almost nothing.
//!
//! h2 bounds what is *held* (streams, windows, header lists); it does not bound how fast
//! SETTINGS, PING, PRIORITY, empty frames or resets may come (CVE-2019-9511 to 9518,
//! CVE-2023-44487, CVE-2025-8671). The budgets here look at frame headers only, on their
//! way in and out, and never touch payload.

use std::sync::atomic::AtomicU64;

use smallvec::SmallVec;

use crate::front::options::Http2Options;
use crate::front::stats::Stats;

/// Finds the frame headers (RFC 9113 4.1) in a stream of bytes, however it is cut.
#[derive(Debug)]
pub(crate) struct Walk {
    header: [u8; 9],
    have: usize,
    skip: usize,
}

/// One frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) len: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Walk {
    /// Starts after `skip` bytes that are no frames (the client's preface).
    pub(crate) fn after(skip: usize) -> Self {
        Walk { header: [0; 9], have: 0, skip }
    }

    /// Whether the bytes so far end with a whole frame.
    pub(crate) fn at_boundary(&self) -> bool {
        self.have == 0 && self.skip == 0
    }

    /// The next frame header in `bytes`, which are advanced past it.
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Option<FrameHead> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        *bytes = bytes.get(skipped..).unwrap_or_default();
        let room = self.header.get_mut(self.have..).unwrap_or_default();
        let n = room.len().min(bytes.len());
        let (now, later) = bytes.split_at(n);
        for (to, from) in room.iter_mut().zip(now) {
            *to = *from;
        }
        self.have += n;
        *bytes = later;
        if self.have < self.header.len() {
            return None;
        }
        self.have = 0;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = self.header;
        let len = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
        self.skip = len;
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        Some(FrameHead { len, kind, flags, stream })
    }
}

/// What a client has used of its budgets.
#[derive(Debug)]
pub(crate) struct Budgets {
    limits: Http2Options,
    head_max: usize,
    minute: u64,
    settings: u32,
    pings: u32,
    priorities: u32,
    empty: u32,
    windows: u32,
    resets: u32,
    finished: u32,
    local_resets: usize,
    data_out: u32,
    /// Of the header block being received.
    continuations: u32,
    block: usize,
    block_open: bool,
    last_stream: u32,
    /// Streams whose request body has not ended.
    uploads: SmallVec<[u32; 8]>,
}

/// Which budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("HTTP/2 flood: {self:?}")]
pub(crate) enum Flood {
    Settings,
    Pings,
    Priorities,
    EmptyFrames,
    WindowUpdates,
    Resets,
    ProvokedResets,
    Continuations,
    HeaderBlock,
    TableSizes,
}

impl Flood {
    /// The counter of the budget.
    pub(crate) fn counter(self, stats: &Stats) -> &AtomicU64 {
        match self {
            Flood::Settings => &stats.flood_settings,
            Flood::Pings => &stats.flood_pings,
            Flood::Priorities => &stats.flood_priorities,
            Flood::EmptyFrames => &stats.flood_empty_frames,
            Flood::WindowUpdates => &stats.flood_window_updates,
            Flood::Resets => &stats.flood_resets,
            Flood::ProvokedResets => &stats.flood_provoked_resets,
            Flood::Continuations => &stats.flood_continuations,
            Flood::HeaderBlock => &stats.flood_header_block,
            Flood::TableSizes => &stats.flood_table_sizes,
        }
    }
}

impl Budgets {
    pub(crate) fn new(limits: Http2Options, head_max: usize) -> Self {
        Budgets {
            limits,
            head_max,
            minute: 0,
            settings: 0,
            pings: 0,
            priorities: 0,
            empty: 0,
            windows: 0,
            resets: 0,
            finished: 0,
            local_resets: 0,
            data_out: 0,
            continuations: 0,
            block: 0,
            block_open: false,
            last_stream: 0,
            uploads: SmallVec::new(),
        }
    }

    /// The highest stream the client has opened, for our GOAWAY.
    pub(crate) fn last_stream(&self) -> u32 {
        self.last_stream
    }

    /// Whether the client is in the middle of a header block.
    pub(crate) fn in_block(&self) -> bool {
        self.block_open
    }

    /// How many request bodies are being received.
    pub(crate) fn uploads(&self) -> usize {
        self.uploads.len()
    }

    /// Begins a new minute when one has passed (`now` in milliseconds).
    pub(crate) fn tick(&mut self, now: u64) {
        if now.saturating_sub(self.minute) < MINUTE {
            return;
        }
        self.minute = now;
        self.settings = 0;
        self.pings = 0;
        self.priorities = 0;
        self.empty = 0;
        self.windows = 0;
        self.resets = 0;
        self.finished = 0;
        self.local_resets = 0;
        self.data_out = 0;
    }

    /// A request was answered whole: one more reset may be forgiven.
    pub(crate) fn finished(&mut self, requests: u32) {
        self.finished = self.finished.saturating_add(requests);
    }

    /// A frame from the client.
    pub(crate) fn received(&mut self, frame: FrameHead) -> Result<(), Flood> {
        let ack = frame.flags & ACK != 0;
        self.follow_upload(frame);
        match frame.kind {
            DATA if frame.len == 0 && frame.flags & END_STREAM == 0 => {
                spend(&mut self.empty, self.limits.empty_frames_per_minute, Flood::EmptyFrames)
            }
            HEADERS => {
                self.last_stream = self.last_stream.max(frame.stream);
                self.continuations = 0;
                self.block = 0;
                self.header_block(frame)
            }
            CONTINUATION => {
                spend(
                    &mut self.continuations,
                    self.limits.continuations_max,
                    Flood::Continuations,
                )?;
                self.header_block(frame)
            }
            PRIORITY | PRIORITY_UPDATE => {
                spend(&mut self.priorities, self.limits.priorities_per_minute, Flood::Priorities)
            }
            RST_STREAM => {
                let allowed = self.limits.resets_per_minute.saturating_add(self.finished);
                spend(&mut self.resets, allowed, Flood::Resets)
            }
            SETTINGS if !ack => {
                spend(&mut self.settings, self.limits.settings_per_minute, Flood::Settings)
            }
            // The node asks once in half a minute: answers nobody asked for count, too.
            PING => spend(&mut self.pings, self.limits.pings_per_minute, Flood::Pings),
            WINDOW_UPDATE => {
                let earned = self.data_out.saturating_mul(4);
                let allowed = self.limits.window_updates_per_minute.saturating_add(earned);
                spend(&mut self.windows, allowed, Flood::WindowUpdates)
            }
            DATA | SETTINGS | GOAWAY => Ok(()),
            // RFC 9113 5.5: unknown frames are ignored, but not for ever.
            _ => spend(&mut self.empty, self.limits.empty_frames_per_minute, Flood::EmptyFrames),
        }
    }

    /// A frame to the client. MadeYouReset: a client that provokes resets is cut off too.
    pub(crate) fn sent(&mut self, frame: FrameHead) -> Result<(), Flood> {
        match frame.kind {
            DATA => self.data_out = self.data_out.saturating_add(1),
            RST_STREAM => {
                self.uploads.retain(|id| *id != frame.stream);
                self.local_resets += 1;
                if self.local_resets > self.limits.local_resets_max {
                    return Err(Flood::ProvokedResets);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// h2 checks the states of streams; here it only matters who still owes a body.
    fn follow_upload(&mut self, frame: FrameHead) {
        let opens = frame.kind == HEADERS && frame.stream > self.last_stream;
        let ends = frame.kind == RST_STREAM
            || (matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0);
        if opens && !ends && self.uploads.len() < UPLOADS_MAX {
            self.uploads.push(frame.stream);
        } else if ends && !self.uploads.is_empty() {
            self.uploads.retain(|id| *id != frame.stream);
        }
    }

    /// Encoded bytes are counted before anything is decoded.
    fn header_block(&mut self, frame: FrameHead) -> Result<(), Flood> {
        self.block = self.block.saturating_add(frame.len);
        self.block_open = frame.flags & END_HEADERS == 0;
        if self.block > self.head_max {
            return Err(Flood::HeaderBlock);
        }
        if frame.len == 0 && self.block_open {
            return spend(&mut self.empty, self.limits.empty_frames_per_minute, Flood::EmptyFrames);
        }
        Ok(())
    }
}

fn spend(used: &mut u32, allowed: u32, what: Flood) -> Result<(), Flood> {
    *used = used.saturating_add(1);
    if *used > allowed { Err(what) } else { Ok(()) }
}

/// GOAWAY with ENHANCE_YOUR_CALM (RFC 9113 6.8, 7).
pub(crate) fn goaway(last_stream: u32) -> [u8; 17] {
    let [a, b, c, d] = last_stream.to_be_bytes();
    [0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, 0x0b]
}

/// Bytes of the client's connection preface (RFC 9113 3.4).
pub(crate) const PREFACE_LEN: usize = 24;

/// RFC 9113 6.1.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
/// RFC 9218 7.1.
const PRIORITY_UPDATE: u8 = 0x10;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const MINUTE: u64 = 60_000;
/// More streams than any setting allows; h2 refuses what is over its limit.
const UPLOADS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize, kind: u8, flags: u8) -> FrameHead {
        FrameHead { len, kind, flags, stream: 1 }
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let mut stream = b"0123456789abcdef01234567".to_vec();
        stream.extend([0, 0, 3, SETTINGS, 1, 0, 0, 0, 0, 7, 7, 7]);
        stream.extend([0, 0, 0, DATA, 0, 0x80, 0, 0, 5]);
        for cut in 1..stream.len() {
            let (mut walk, mut seen) = (Walk::after(PREFACE_LEN), Vec::new());
            for part in stream.chunks(cut) {
                let mut rest = part;
                while let Some(head) = walk.next(&mut rest) {
                    seen.push((head.len, head.kind, head.stream));
                }
            }
            assert_eq!(seen, [(3, SETTINGS, 0), (0, DATA, 5)], "cut every {cut}");
            assert!(walk.at_boundary());
        }
    }

    #[test]
    fn each_budget_ends_and_begins_again_after_a_minute() {
        let limits = Http2Options::default();
        let cases = [
            (SETTINGS, 0, limits.settings_per_minute),
            (PING, 0, limits.pings_per_minute),
            (PRIORITY, 0, limits.priorities_per_minute),
            (RST_STREAM, 0, limits.resets_per_minute),
            (DATA, 0, limits.empty_frames_per_minute),
            (0xfa, 0, limits.empty_frames_per_minute),
        ];
        for (kind, flags, allowed) in cases {
            let mut budgets = Budgets::new(limits.clone(), 32 << 10);
            for _ in 0..allowed {
                assert_eq!(budgets.received(frame(0, kind, flags)), Ok(()));
            }
            assert!(budgets.received(frame(0, kind, flags)).is_err(), "kind {kind}");
            budgets.tick(MINUTE);
            assert_eq!(budgets.received(frame(0, kind, flags)), Ok(()));
        }
    }

    #[test]
    fn a_finished_request_earns_a_reset() {
        let limits = Http2Options { resets_per_minute: 0, ..Http2Options::default() };
        let mut budgets = Budgets::new(limits, 1024);
        budgets.finished(1);
        assert_eq!(budgets.received(frame(4, RST_STREAM, 0)), Ok(()));
        assert!(budgets.received(frame(4, RST_STREAM, 0)).is_err());
    }

    #[test]
    fn continuations_are_bounded_in_number_and_in_bytes() {
        let mut budgets = Budgets::new(Http2Options::default(), 100);
        budgets.received(frame(10, HEADERS, 0)).unwrap();
        assert!(budgets.in_block());
        for _ in 0..8 {
            budgets.received(frame(1, CONTINUATION, 0)).unwrap();
        }
        assert!(budgets.received(frame(1, CONTINUATION, END_HEADERS)).is_err());
        budgets.received(frame(60, HEADERS, 0)).unwrap();
        assert!(budgets.received(frame(60, CONTINUATION, END_HEADERS)).is_err());
    }

    #[test]
    fn a_request_body_is_owed_until_it_ends_or_is_reset() {
        let mut budgets = Budgets::new(Http2Options::default(), 100);
        let of = |stream, kind, flags| FrameHead { len: 4, kind, flags, stream };
        budgets.received(of(1, HEADERS, END_HEADERS)).unwrap();
        budgets.received(of(3, HEADERS, END_HEADERS)).unwrap();
        budgets.received(of(5, HEADERS, END_HEADERS)).unwrap();
        budgets.received(of(7, HEADERS, END_HEADERS | END_STREAM)).unwrap();
        assert_eq!(budgets.uploads(), 3);
        budgets.received(of(1, DATA, END_STREAM)).unwrap();
        budgets.received(of(3, RST_STREAM, 0)).unwrap();
        budgets.sent(of(5, RST_STREAM, 0)).unwrap();
        assert_eq!(budgets.uploads(), 0);
    }

    #[test]
    fn provoked_resets_are_counted_too() {
        let limits = Http2Options { local_resets_max: 1, ..Http2Options::default() };
        let mut budgets = Budgets::new(limits, 100);
        assert_eq!(budgets.sent(frame(4, RST_STREAM, 0)), Ok(()));
        assert!(budgets.sent(frame(4, RST_STREAM, 0)).is_err());
    }
}
