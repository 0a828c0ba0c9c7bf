//! The framing of a chunked body (RFC 9112 7.1), byte for byte.
//!
//! Sizes are plain hex, lines end in CRLF and nothing else, extensions and trailers are
//! bounded together (CVE-2023-39326), and trailers cannot speak about framing or routing
//! (RFC 9110 6.5.1). Whatever is not exactly that breaks the body: the request that was
//! being forwarded is aborted, never ended as if it were whole.

use smallvec::SmallVec;

use super::field::is_token_byte;
use super::head::HeadLimits;
use crate::rules::fault::Fault;

/// Where in a chunked body the stream is.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// Data bytes so far.
    data: u64,
    data_max: u64,
    /// Bytes of extensions and trailers so far.
    overhead: usize,
    overhead_max: usize,
    fields: usize,
    fields_max: usize,
    /// The name of the trailer being read, lower case, as long as it could matter.
    name: SmallVec<[u8; 24]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size { value: u64, digits: u8 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

impl Chunks {
    pub(super) fn new(limits: &HeadLimits) -> Self {
        Chunks {
            at: At::Size { value: 0, digits: 0 },
            data: 0,
            data_max: limits.body,
            overhead: 0,
            overhead_max: limits.overhead,
            fields: 0,
            fields_max: limits.fields,
            name: SmallVec::new(),
        }
    }

    /// Reads on; returns how many bytes belong to the body and whether it has ended.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Fault> {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            if let At::Data { left } = self.at {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - taken);
                taken += n;
                let left = left - n as u64;
                self.at = if left == 0 { At::DataCr } else { At::Data { left } };
                continue;
            }
            taken += 1;
            let ended = self.at == At::EndLf && byte == b'\n';
            self.at = self.step(byte)?;
            if ended {
                return Ok((taken, true));
            }
        }
        Ok((taken, false))
    }

    fn step(&mut self, byte: u8) -> Result<At, Fault> {
        match (self.at, byte) {
            (At::Size { value, digits }, _) => self.size(value, digits, byte),
            (At::Extension { size }, b'\r') => Ok(At::SizeLf { size }),
            (At::Extension { size }, b'\t' | 0x20..=0x7e | 0x80..=0xff) => {
                self.spend()?;
                Ok(At::Extension { size })
            }
            (At::SizeLf { size: 0 }, b'\n') => Ok(At::TrailerStart),
            (At::SizeLf { size }, b'\n') => {
                self.data = self.data.saturating_add(size);
                if self.data > self.data_max {
                    return Err(Fault::BodyTooLarge);
                }
                Ok(At::Data { left: size })
            }
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size { value: 0, digits: 0 }),
            (At::TrailerStart, b'\r') => Ok(At::EndLf),
            (At::TrailerStart | At::TrailerName | At::TrailerValue, _) => self.trailer(byte),
            (At::TrailerLf, b'\n') => Ok(At::TrailerStart),
            (At::EndLf, b'\n') => Ok(At::EndLf),
            _ => Err(Fault::BadRequest("bad chunk framing")),
        }
    }

    fn size(&mut self, value: u64, digits: u8, byte: u8) -> Result<At, Fault> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if digits > 0 => return Ok(At::SizeLf { size: value }),
            b';' if digits > 0 => {
                self.spend()?;
                return Ok(At::Extension { size: value });
            }
            _ => return Err(Fault::BadRequest("bad chunk size")),
        };
        // Fifteen digits are 2^60: no size that exists is refused, none overflows.
        if digits >= SIZE_DIGITS_MAX {
            return Err(Fault::BadRequest("chunk size too long"));
        }
        Ok(At::Size { value: (value << 4) | u64::from(digit), digits: digits + 1 })
    }

    fn trailer(&mut self, byte: u8) -> Result<At, Fault> {
        self.spend()?;
        match (self.at, byte) {
            (At::TrailerStart, _) if is_token_byte(byte) => {
                self.fields += 1;
                if self.fields > self.fields_max {
                    return Err(Fault::BodyTooLarge);
                }
                self.name.clear();
                self.name.push(byte.to_ascii_lowercase());
                Ok(At::TrailerName)
            }
            (At::TrailerName, b':') => {
                if FORBIDDEN.contains(&self.name.as_slice()) {
                    return Err(Fault::BadRequest("a trailer that decides framing or routing"));
                }
                Ok(At::TrailerValue)
            }
            (At::TrailerName, _) if is_token_byte(byte) => {
                if self.name.len() < self.name.inline_size() {
                    self.name.push(byte.to_ascii_lowercase());
                }
                Ok(At::TrailerName)
            }
            (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
            (At::TrailerValue, b'\t' | 0x20..=0x7e | 0x80..=0xff) => Ok(At::TrailerValue),
            _ => Err(Fault::BadRequest("bad trailer")),
        }
    }

    fn spend(&mut self) -> Result<(), Fault> {
        self.overhead += 1;
        if self.overhead > self.overhead_max { Err(Fault::BodyTooLarge) } else { Ok(()) }
    }
}

const SIZE_DIGITS_MAX: u8 = 15;

/// RFC 9110 6.5.1: fields that framing, routing or authentication depend on.
const FORBIDDEN: [&[u8]; 7] = [
    b"content-length",
    b"transfer-encoding",
    b"host",
    b"connection",
    b"te",
    b"trailer",
    b"authorization",
];
