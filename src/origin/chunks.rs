//! The strict reader of the chunked coding (RFC 9112 7.1).
//!
//! Sizes are plain hexadecimal of at most 16 digits, line ends are CRLF, and what costs
//! work but carries nothing (extensions, trailers) has one budget for the whole message
//! (CVE-2023-39326). White space after a size is refused: readers differ about it.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::framing::FIELDS_MAX;
use super::head::{field, is_text, is_token};

/// Follows one chunked body.
#[derive(Debug)]
pub struct Chunks {
    step: Step,
    /// Bytes of extensions and trailers so far.
    extra: usize,
    /// The trailers as they came, line by line.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Size { digits: u8, value: u64 },
    Extension { value: u64 },
    SizeLf { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

impl Default for Chunks {
    fn default() -> Self {
        Chunks { step: Step::Size { digits: 0, value: 0 }, extra: 0, trailers: Vec::new() }
    }
}

impl Chunks {
    /// Whether the last chunk and the trailers are complete.
    pub fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    /// Takes bytes up to the end of the body; returns how many belong to it.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut at = 0usize;
        loop {
            let (around, data) = self.next(bytes.get(at..).unwrap_or_default())?;
            at += around + data;
            if around + data == 0 {
                return Ok(at);
            }
        }
    }

    /// Takes bytes up to the end of the next run of data: how many come before it, and how
    /// many it has. Both are zero after the end of the body and if there are no bytes.
    pub fn next(&mut self, bytes: &[u8]) -> Result<(usize, usize), &'static str> {
        for (at, &byte) in bytes.iter().enumerate() {
            match self.step {
                Step::Done => return Ok((at, 0)),
                Step::Data { left } => {
                    let take = left.min((bytes.len() - at) as u64);
                    let left = left - take;
                    self.step = if left == 0 { Step::DataCr } else { Step::Data { left } };
                    return Ok((at, take as usize));
                }
                _ => {
                    let next = self.control(byte)?;
                    if is_trailer(next) || next == Step::TrailerStart && is_trailer(self.step) {
                        self.trailers.push(byte);
                    }
                    self.step = next;
                }
            }
        }
        Ok((bytes.len(), 0))
    }

    /// The trailers, once the body is done.
    pub fn trailers(&self) -> Result<Option<HeaderMap>, &'static str> {
        if self.trailers.is_empty() {
            return Ok(None);
        }
        let mut map = HeaderMap::new();
        for line in self.trailers.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            let (name, value) = field(line)?;
            let name = HeaderName::from_bytes(name).map_err(|_| BAD_TRAILER)?;
            let value = HeaderValue::from_bytes(value).map_err(|_| BAD_TRAILER)?;
            map.try_append(name, value).map_err(|_| BAD_TRAILER)?;
            if map.len() > FIELDS_MAX {
                return Err("too many trailers");
            }
        }
        Ok(Some(map))
    }

    /// One byte that is not data.
    fn control(&mut self, byte: u8) -> Result<Step, &'static str> {
        let bad = "a broken chunk";
        Ok(match (self.step, byte) {
            (Step::Size { digits, value }, _) if byte.is_ascii_hexdigit() => {
                if digits >= 16 {
                    return Err("a chunk size that is too long");
                }
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                Step::Size { digits: digits + 1, value: value << 4 | u64::from(digit) }
            }
            (Step::Size { digits: 1.., value }, b';') => {
                self.spend()?;
                Step::Extension { value }
            }
            (Step::Size { digits: 1.., value }, b'\r') | (Step::Extension { value }, b'\r') => {
                Step::SizeLf { value }
            }
            (Step::Size { .. }, _) => return Err("an invalid chunk size"),
            (Step::Extension { value }, _) if is_text(byte) => {
                self.spend()?;
                Step::Extension { value }
            }
            (Step::SizeLf { value: 0 }, b'\n') => Step::TrailerStart,
            (Step::SizeLf { value }, b'\n') => Step::Data { left: value },
            (Step::DataCr, b'\r') => Step::DataLf,
            (Step::DataCr, _) => return Err("a chunk longer than its size"),
            (Step::DataLf, b'\n') => Step::Size { digits: 0, value: 0 },
            (Step::TrailerStart, b'\r') => Step::LastLf,
            (Step::TrailerStart | Step::TrailerName, _) if is_token(byte) => {
                self.spend()?;
                Step::TrailerName
            }
            (Step::TrailerName, b':') => Step::TrailerValue,
            (Step::TrailerValue, b'\r') => Step::TrailerLf,
            (Step::TrailerValue, _) if is_text(byte) => {
                self.spend()?;
                Step::TrailerValue
            }
            (Step::TrailerLf, b'\n') => Step::TrailerStart,
            (Step::LastLf, b'\n') => Step::Done,
            _ => return Err(bad),
        })
    }

    fn spend(&mut self) -> Result<(), &'static str> {
        self.extra += 1;
        if self.extra > EXTRA_MAX {
            return Err("too many bytes of chunk extensions or trailers");
        }
        Ok(())
    }
}

/// Whether a step is within a trailer's line.
fn is_trailer(step: Step) -> bool {
    matches!(step, Step::TrailerName | Step::TrailerValue | Step::TrailerLf)
}

const BAD_TRAILER: &str = "an invalid trailer";

/// Bytes of chunk extensions and trailers in one message.
pub const EXTRA_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
        let mut chunks = Chunks::default();
        let used = chunks.feed(bytes)?;
        Ok(chunks.is_done().then_some(used))
    }

    #[test]
    fn a_body_ends_after_its_trailers_wherever_it_is_split() {
        let body = b"5;a=\"b\"\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n";
        assert_eq!(read(body), Ok(Some(body.len())));
        for split in 0..body.len() {
            let mut chunks = Chunks::default();
            let (a, b) = body.split_at(split);
            assert_eq!(chunks.feed(a), Ok(a.len()));
            assert!(!chunks.is_done());
            assert_eq!(chunks.feed(b), Ok(b.len()));
            assert!(chunks.is_done());
        }
        assert_eq!(read(b"0\r\n\r\nHTTP"), Ok(Some(5)), "what follows is not part of it");
    }

    #[test]
    fn the_data_and_the_trailers_are_told_wherever_they_are_split() {
        let body = b"5;a\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1 \r\nB:\r\n\r\nHTTP";
        for size in 1..body.len() {
            let (mut chunks, mut data) = (Chunks::default(), Vec::new());
            for mut piece in body.chunks(size) {
                while !piece.is_empty() && !chunks.is_done() {
                    let (around, length) = chunks.next(piece).unwrap();
                    data.extend_from_slice(&piece[around..around + length]);
                    piece = &piece[around + length..];
                }
            }
            assert_eq!(data, b"hello0123456789", "{size}");
            let trailers = chunks.trailers().unwrap().unwrap();
            assert_eq!(
                (trailers.len(), &trailers["x-sum"], &trailers["b"]),
                (2, &"1".parse().unwrap(), &"".parse().unwrap())
            );
        }
    }

    #[test]
    fn odd_chunks_are_refused() {
        for bad in [
            &b"\r\n"[..],
            b"0x5\r\nhello\r\n",
            b"-5\r\n",
            b"+5\r\n",
            b"5 \r\nhello\r\n",
            b"5\nhello\r\n",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello\n",
            b"00000000000000005\r\nhello",
            b"5;a\nb\r\n",
            b"0\r\n X: folded\r\n",
            b"0\r\n: empty\r\n",
            b"0\r\nX: a\nb\r\n",
            b"0\r\n\n",
        ] {
            assert!(read(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn extensions_and_trailers_share_one_budget() {
        let mut flood = Vec::new();
        for _ in 0..EXTRA_MAX / 100 {
            flood.extend_from_slice(b"1;");
            flood.extend(std::iter::repeat_n(b'x', 120));
            flood.extend_from_slice(b"\r\na\r\n");
        }
        assert!(read(&flood).is_err());
    }
}
