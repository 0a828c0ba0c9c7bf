//! The texts of a header block (RFC 7541 5), looked at without being decoded.
//!
//! Two questions are asked of a text: is it a pseudo-field's name, and is it a path? Both can
//! be answered of a Huffman coded one by its first byte and by the lengths of the codes, so
//! there is no second decoder beside h2's. Pure.

/// An integer with a prefix of so many bits (RFC 7541 5.1).
pub(super) fn number(block: &mut &[u8], bits: u8) -> Option<usize> {
    let (first, mut rest) = block.split_first()?;
    let full = (1usize << bits) - 1;
    let mut value = usize::from(*first) & full;
    if value == full {
        for shift in [0, 7, 14, 21] {
            let (byte, later) = rest.split_first()?;
            rest = later;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *block = rest;
                return Some(value);
            }
        }
        return None;
    }
    *block = rest;
    Some(value)
}

/// A string literal (RFC 7541 5.2).
#[derive(Clone, Copy)]
pub(super) enum Text<'a> {
    Plain(&'a [u8]),
    Coded(&'a [u8]),
}

pub(super) fn string<'a>(block: &mut &'a [u8]) -> Option<Text<'a>> {
    let coded = block.first()? & 0x80 != 0;
    let length = number(block, 7)?;
    let (text, rest) = block.split_at_checked(length)?;
    *block = rest;
    Some(if coded { Text::Coded(text) } else { Text::Plain(text) })
}

impl Text<'_> {
    pub(super) fn begins_with_colon(self) -> bool {
        match self {
            Text::Plain(text) => text.first() == Some(&b':'),
            Text::Coded(text) => text.first().is_some_and(|byte| byte >> 1 == 0x5c),
        }
    }

    pub(super) fn names_path(self) -> bool {
        match self {
            Text::Plain(text) => text == b":path",
            Text::Coded(text) => text == CODED_PATH,
        }
    }

    /// Whether it begins with a slash or is an asterisk, and has no `#`. What else it holds
    /// h2 and the door look at.
    pub(super) fn is_path(self) -> bool {
        match self {
            Text::Plain(text) => {
                matches!(text.first(), Some(b'/' | b'*')) && memchr::memchr(b'#', text).is_none()
            }
            // `/` is 011000, `*` 11111001. `#` begins with eight ones; most paths have no such
            // run.
            Text::Coded(text) => {
                matches!(text.first(), Some(0x60..=0x63 | 0xf9))
                    && !(has_eight_ones(text) && has_coded_number_sign(text))
            }
        }
    }
}

/// Whether there may be eight ones in a row: they end one byte and begin the next, or fill one.
fn has_eight_ones(text: &[u8]) -> bool {
    let mut before = 0u32;
    text.iter().any(|byte| {
        let enough = before + byte.leading_ones() >= 8;
        before = byte.trailing_ones();
        enough
    })
}

/// Finds the code of `#` at the border of a symbol, by the lengths of codes alone.
fn has_coded_number_sign(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    let (mut window, mut have) = (0u64, 0u32);
    loop {
        while have <= 32
            && let Some(byte) = bytes.next()
        {
            window |= u64::from(*byte) << (56 - have);
            have += 8;
        }
        let top = (window >> 32) as u32;
        if have >= 12 && top >> 20 == NUMBER_SIGN {
            return true;
        }
        let length = LENGTHS.iter().find(|(below, _)| top < *below).map_or(30, |(_, bits)| *bits);
        if length > have {
            return false;
        }
        window <<= length;
        have -= length;
    }
}

/// `:path`, coded.
const CODED_PATH: &[u8] = &[0xb9, 0x58, 0xd3, 0x3f];

/// The code of `#` (RFC 7541 appendix B), 12 bits.
const NUMBER_SIGN: u32 = 0xffa;

/// The code is canonical: whatever is below the first number has the second as its length.
const LENGTHS: [(u32, u32); 20] = [
    (0x5000_0000, 5),
    (0xb800_0000, 6),
    (0xf800_0000, 7),
    (0xfe00_0000, 8),
    (0xff40_0000, 10),
    (0xffa0_0000, 11),
    (0xffc0_0000, 12),
    (0xfff0_0000, 13),
    (0xfff8_0000, 14),
    (0xfffe_0000, 15),
    (0xfffe_6000, 19),
    (0xfffe_e000, 20),
    (0xffff_4800, 21),
    (0xffff_b000, 22),
    (0xffff_ea00, 23),
    (0xffff_f600, 24),
    (0xffff_f800, 25),
    (0xffff_fbc0, 26),
    (0xffff_fe20, 27),
    (0xffff_fff0, 28),
];
