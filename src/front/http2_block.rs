//! What h2 passes over in a header block, looked for before h2 sees it.
//!
//! h2 (by way of the `http` crate) drops a fragment from `:path`, puts a slash before one that
//! has none, and drops pseudo-fields from trailers; RFC 9113 8.1.1, 8.3 want such a message
//! refused, because another server may read it in another way. Blocks are walked field by field,
//! without the dynamic table: a literal field tells all that is needed, and what is compressed
//! stays compressed, for a `#` can be found by the lengths of codes alone. A field taken from the
//! dynamic table is not looked at: this is a second lock, the first one is that nothing is
//! forwarded that h2 did not read.
//!
//! Nothing is copied as long as a block arrives in one read. Pure.

use smallvec::SmallVec;

use super::frames::{Flood, FrameHead};
use super::http2_text::{Text, number, string};

/// What is wrong with the header block of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oddity {
    /// `:path` has a fragment, or is no path.
    Path,
    /// Trailers have a pseudo-field.
    PseudoTrailer,
}

impl Oddity {
    /// For the log.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Oddity::Path => "a :path that is none",
            Oddity::PseudoTrailer => "pseudo-field among the trailers",
        }
    }
}

/// Gathers the blocks of a connection.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Bytes of the current frame's payload that have not come yet.
    left: usize,
    /// The stream of the current block, and whether it is the second one there.
    stream: u32,
    trailers: bool,
    /// The rest of the block comes in CONTINUATION frames.
    open: bool,
    /// The first frame is being received, and it ends with padding.
    padded: bool,
    /// Payloads that came in pieces, framing of the first one included.
    held: Vec<u8>,
    flags: u8,
    /// Streams with something odd that nobody has asked about yet.
    odd: SmallVec<[(u32, Oddity); 2]>,
}

impl Blocks {
    /// A HEADERS or CONTINUATION frame begins; `last` is the newest stream before it.
    pub(super) fn begin(&mut self, frame: FrameHead, headers: bool, last: u32) {
        self.left = frame.len;
        if headers {
            self.stream = frame.stream;
            self.trailers = frame.stream <= last;
            self.flags = frame.flags;
            self.held.clear();
        }
        self.open = frame.flags & END_HEADERS == 0;
        self.padded = headers && self.open && frame.flags & PADDED != 0;
    }

    /// Takes what of `bytes` belongs to the current frame; whether more of it is to come. Too
    /// many new sizes of the table are an error of the connection.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<bool, Flood> {
        let piece = bytes.get(..self.left.min(bytes.len())).unwrap_or_default();
        self.left -= piece.len();
        let whole = self.left == 0 && !self.open;
        if whole && self.held.is_empty() {
            return self.judge(piece).map(|()| false);
        }
        self.held.extend_from_slice(piece);
        if self.left == 0 && self.padded {
            let padding = self.held.first().copied().map_or(0, usize::from);
            self.held.truncate(self.held.len().saturating_sub(padding));
        }
        if whole {
            let held = std::mem::take(&mut self.held);
            self.judge(&held)?;
        }
        Ok(self.left > 0)
    }

    /// What is odd about this stream's latest block; said once.
    pub(super) fn odd(&mut self, stream: u32) -> Option<Oddity> {
        let at = self.odd.iter().position(|(of, _)| *of == stream)?;
        Some(self.odd.swap_remove(at).1)
    }

    fn judge(&mut self, payload: &[u8]) -> Result<(), Flood> {
        let Some(block) = without_framing(payload, self.flags) else { return Ok(()) };
        let block = after_sizes(block)?;
        if let Some(oddity) = look(block, self.trailers) {
            if self.odd.len() >= ODD_MAX {
                self.odd.remove(0);
            }
            self.odd.push((self.stream, oddity));
        }
        Ok(())
    }
}

/// What is odd about a block that comes in pieces of this size and, if `frames` is set, each
/// piece in a frame of its own: what the fuzz target compares.
pub fn replay(block: &[u8], trailers: bool, piece: usize, frames: bool) -> Option<&'static str> {
    let mut blocks = Blocks::default();
    let frame = |len, last| FrameHead {
        len,
        kind: 1,
        flags: if last { END_HEADERS } else { 0 },
        stream: 1,
    };
    let last_stream = u32::from(trailers);
    if !frames {
        blocks.begin(frame(block.len(), true), true, last_stream);
    }
    let mut left = block.len();
    for (n, piece) in block.chunks(piece.max(1)).enumerate() {
        left -= piece.len();
        if frames {
            blocks.begin(frame(piece.len(), left == 0), n == 0, last_stream);
        }
        if blocks.take(piece).is_err() {
            return Some("too many table sizes");
        }
    }
    blocks.odd(1).map(Oddity::reason)
}

/// The block without padding and priority (RFC 9113 6.2). The padding of a first frame that
/// others follow is gone already.
fn without_framing(payload: &[u8], flags: u8) -> Option<&[u8]> {
    let (padding, skip) = match flags & PADDED != 0 {
        true => (usize::from(*payload.first()?), 1),
        false => (0, 0),
    };
    let skip = skip + if flags & PRIORITY != 0 { 5 } else { 0 };
    let end = match flags & END_HEADERS != 0 {
        true => payload.len().checked_sub(padding)?,
        false => payload.len(),
    };
    payload.get(skip..end)
}

/// The block without the new sizes of the table at its beginning: two at most (RFC 7541 4.2).
fn after_sizes(mut block: &[u8]) -> Result<&[u8], Flood> {
    for _ in 0..=SIZES_MAX {
        if !matches!(block.first(), Some(0x20..0x40)) || number(&mut block, 5).is_none() {
            return Ok(block);
        }
    }
    Err(Flood::TableSizes)
}

/// Walks a block (RFC 7541 6). What it cannot read h2 refuses.
fn look(mut block: &[u8], trailers: bool) -> Option<Oddity> {
    while let Some(&first) = block.first() {
        let (indexed, prefix) = match first {
            0x80.. => (true, 7),
            0x40..0x80 => (false, 6),
            // A new size of the table, where none may be.
            0x20..0x40 => return None,
            _ => (false, 4),
        };
        let index = number(&mut block, prefix)?;
        let name = if index == 0 { Some(string(&mut block)?) } else { None };
        let pseudo = name.map_or(index <= STATIC_PSEUDO, Text::begins_with_colon);
        if pseudo && trailers {
            return Some(Oddity::PseudoTrailer);
        }
        if indexed {
            continue;
        }
        let value = string(&mut block)?;
        let path = matches!(index, 4 | 5) || name.is_some_and(Text::names_path);
        if path && !value.is_path() {
            return Some(Oddity::Path);
        }
        if !pseudo && !trailers && index <= STATIC_LAST {
            // Pseudo-fields come first (RFC 9113 8.3).
            return None;
        }
    }
    None
}

/// The static table (RFC 7541 appendix A): its pseudo-fields are the first 14 of 61.
const STATIC_PSEUDO: usize = 14;
const STATIC_LAST: usize = 61;

/// New sizes of the table in one block.
const SIZES_MAX: usize = 2;

const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
const END_HEADERS: u8 = 4;

/// Streams remembered; more than any client has open that does so by mistake.
const ODD_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// A literal field without indexing; `name` is an index of the static table or a name.
    fn literal(name: Result<u8, &str>, value: &[u8], coded: bool) -> Vec<u8> {
        let mut out = vec![name.unwrap_or(0)];
        if let Err(name) = name {
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
        }
        out.push(value.len() as u8 | if coded { 0x80 } else { 0 });
        out.extend_from_slice(value);
        out
    }

    fn judged(block: &[u8], trailers: bool) -> Option<Oddity> {
        let mut blocks = Blocks::default();
        let frame = |len, flags| FrameHead { len, kind: 1, flags, stream: 3 };
        blocks.begin(frame(block.len(), END_HEADERS), true, if trailers { 3 } else { 1 });
        blocks.take(block).unwrap();
        let whole = blocks.odd(3);
        assert_eq!(blocks.odd(3), None, "said once");
        for cut in 1..block.len() {
            let (first, rest) = block.split_at(cut);
            blocks.begin(frame(cut, 0), true, if trailers { 3 } else { 1 });
            for byte in first {
                blocks.take(&[*byte]).unwrap();
            }
            blocks.begin(frame(rest.len(), END_HEADERS), false, 3);
            blocks.take(rest).unwrap();
            assert_eq!(blocks.odd(3), whole, "in two frames, cut at {cut}");
        }
        whole
    }

    /// As RFC 7541 appendix B codes it.
    fn code(text: &str) -> Vec<u8> {
        // Only what the tests use.
        let codes = text.bytes().map(|byte| match byte {
            b'/' => (0x18u64, 6),
            b'a' => (0x3, 5),
            b'b' => (0x23, 6),
            b'#' => (0xffa, 12),
            b'~' => (0x1ffd, 13),
            b'?' => (0x3fc, 10),
            b'|' => (0x7fc, 11),
            _ => panic!("no code for {byte}"),
        });
        let (mut out, mut bits, mut have) = (Vec::new(), 0u64, 0);
        for (code, length) in codes {
            bits = bits << length | code;
            have += length;
            while have >= 8 {
                have -= 8;
                out.push((bits >> have) as u8);
            }
        }
        if have > 0 {
            out.push((bits << (8 - have)) as u8 | (0xffu16 >> have) as u8);
        }
        out
    }

    #[test]
    fn a_path_that_is_none_is_found_plain_or_coded() {
        let odd =
            ["", "a", "?a", "/a#b", "#", "/#", "/~#", "/?#a", "/|#|", "/aaaaaaa#", "/~~~~~~~~#"];
        for path in odd {
            for name in [Ok(4), Ok(5), Err(":path")] {
                let plain = literal(name, path.as_bytes(), false);
                assert_eq!(judged(&plain, false), Some(Oddity::Path), "{path}");
                let coded = literal(name, &code(path), true);
                assert_eq!(judged(&coded, false), Some(Oddity::Path), "{path}");
            }
        }
        for path in ["/", "/ab", "/~a", "/~~", "/a?~|", "/||||a", "/~?a?~"] {
            assert_eq!(judged(&literal(Ok(4), path.as_bytes(), false), false), None, "{path}");
            assert_eq!(judged(&literal(Ok(4), &code(path), true), false), None, "{path}");
        }
    }

    #[test]
    fn a_number_sign_elsewhere_is_none_of_our_business() {
        let path = literal(Ok(4), b"/", false);
        let referer = literal(Ok(51), b"http://a/#b", false);
        let own = literal(Err("x-a"), b"#", false);
        let method = [0x82u8];
        let block = [&method[..], &path, &referer, &own].concat();
        assert_eq!(judged(&block, false), None);
    }

    #[test]
    fn a_pseudo_field_among_trailers_is_found() {
        for block in [
            vec![0x82],
            literal(Ok(4), b"/", false),
            literal(Err(":path"), b"/", false),
            [literal(Err("x"), b"y", false), literal(Err(":status"), b"200", false)].concat(),
            [vec![0x3f, 0xe1, 0x1f], literal(Err(":"), b"", false)].concat(),
        ] {
            assert_eq!(judged(&block, true), Some(Oddity::PseudoTrailer), "{block:?}");
        }
        assert_eq!(judged(&literal(Err("x-sum"), b":1", false), true), None);
        assert_eq!(judged(&[0xbe], true), None, "the dynamic table is not known");
    }

    #[test]
    fn a_block_changes_the_size_of_the_table_twice_at_most() {
        let of = |sizes: usize| [[0x3f, 0xe1, 0x1f].repeat(sizes), vec![0x82]].concat();
        for (sizes, odd) in [(0, false), (1, false), (2, false), (3, true), (5_000, true)] {
            assert_eq!(replay(&of(sizes), false, 100, true).is_some(), odd, "{sizes}");
        }
    }

    #[test]
    fn padding_and_priority_are_no_part_of_a_block() {
        let path = literal(Ok(4), b"/#", false);
        let payload = [&[3u8, 0, 0, 0, 0, 9][..], &path, &[0, 0, 0]].concat();
        let mut blocks = Blocks::default();
        let flags = END_HEADERS | PADDED | PRIORITY;
        blocks.begin(FrameHead { len: payload.len(), kind: 1, flags, stream: 1 }, true, 0);
        blocks.take(&payload).unwrap();
        assert_eq!(blocks.odd(1), Some(Oddity::Path));
        let (first, last) = path.split_at(2);
        let payload = [&[3u8][..], first, &[0, 0, 0]].concat();
        blocks.begin(FrameHead { len: 6, kind: 1, flags: PADDED, stream: 3 }, true, 1);
        blocks.take(&payload).unwrap();
        let flags = END_HEADERS;
        blocks.begin(FrameHead { len: last.len(), kind: 9, flags, stream: 3 }, false, 3);
        blocks.take(last).unwrap();
        assert_eq!(blocks.odd(3), Some(Oddity::Path));
    }

    #[test]
    fn noise_is_never_a_panic() {
        let mut state = 1u32;
        for _ in 0..20_000 {
            let block: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .take(24)
            .collect();
            let _ = (look(&block, false), look(&block, true));
        }
    }
}
