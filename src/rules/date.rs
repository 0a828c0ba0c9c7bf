//! Dates of HTTP fields (RFC 9110 5.6.7), read strictly and written in the one form.
//!
//! A parser of our own, because two things matter that `httpdate` decides otherwise: the
//! names of days and months are compared without case (several origins shout), and a
//! day name that does not belong to the date is no reason to drop it (RFC 9110 does not
//! ask a recipient to check; dropping `Expires` would turn a fresh answer stale). All
//! else is exact: one space, two digits, `GMT`. An invalid date is `None`, which the
//! callers must read on the safe side.

use std::time::{Duration, UNIX_EPOCH};

/// Seconds since the Unix epoch of an HTTP date in one of its three forms. `now_secs`
/// decides the century of the two-digit form: more than 50 years ahead means the past.
pub fn parse(text: &[u8], now_secs: u64) -> Option<u64> {
    let text = text.trim_ascii();
    match text.iter().position(|&byte| byte == b',') {
        Some(3) => imf_fixdate(text),
        Some(_) => rfc850(text, now_secs),
        None => asctime(text),
    }
}

/// The IMF-fixdate of `secs` since the Unix epoch.
pub fn format(secs: u64) -> String {
    // Beyond the year 9999 the form has no digits left (and httpdate would panic).
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs.min(253_402_300_799)))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<u64> {
    let rest = text.get(3..29).filter(|_| text.len() == 29)?;
    DAYS.iter().find(|day| same(text.get(..3), &day.as_bytes()[..3]))?;
    let shape = rest.get(..2)? == b", "
        && rest.get(4) == Some(&b' ')
        && rest.get(8) == Some(&b' ')
        && rest.get(13) == Some(&b' ')
        && same(rest.get(22..26), b" GMT");
    if !shape {
        return None;
    }
    let year = number(rest.get(9..13)?)?;
    seconds(year, month(rest.get(5..8)?)?, number(rest.get(2..4)?)?, time(rest.get(14..22)?)?)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &[u8], now_secs: u64) -> Option<u64> {
    let comma = text.iter().position(|&byte| byte == b',')?;
    DAYS.iter().find(|day| same(text.get(..comma), day.as_bytes()))?;
    let rest = text.get(comma..).filter(|rest| rest.len() == 24)?;
    let shape = rest.get(..2)? == b", "
        && rest.get(4) == Some(&b'-')
        && rest.get(8) == Some(&b'-')
        && rest.get(11) == Some(&b' ')
        && same(rest.get(20..24), b" GMT");
    if !shape {
        return None;
    }
    let (day, month) = (number(rest.get(2..4)?)?, month(rest.get(5..8)?)?);
    let time = time(rest.get(12..20)?)?;
    let this_year = 1970 + now_secs / 31_556_952;
    let year = this_year / 100 * 100 + number(rest.get(9..11)?)?;
    // RFC 9110 5.6.7: more than 50 years in the future is the most recent past year.
    let year = if year > this_year + 50 { year - 100 } else { year };
    seconds(year, month, day, time)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<u64> {
    DAYS.iter().find(|day| same(text.get(..3), &day.as_bytes()[..3]))?;
    let shape = text.len() == 24
        && text.get(3) == Some(&b' ')
        && text.get(7) == Some(&b' ')
        && text.get(10) == Some(&b' ')
        && text.get(19) == Some(&b' ');
    if !shape {
        return None;
    }
    let day = match text.get(8..10)? {
        [b' ', digit] => number(&[*digit])?,
        two => number(two)?,
    };
    seconds(number(text.get(20..24)?)?, month(text.get(4..7)?)?, day, time(text.get(11..19)?)?)
}

/// Seconds of the day of `08:49:37`; a leap second counts as the one before.
fn time(text: &[u8]) -> Option<u64> {
    let (hour, minute) = (number(text.get(..2)?)?, number(text.get(3..5)?)?);
    let second = number(text.get(6..8)?)?;
    let shape = text.get(2) == Some(&b':') && text.get(5) == Some(&b':');
    (shape && hour < 24 && minute < 60 && second <= 60)
        .then(|| hour * 3600 + minute * 60 + second.min(59))
}

fn month(name: &[u8]) -> Option<u64> {
    MONTHS.iter().position(|month| same(Some(name), month.as_bytes())).map(|at| at as u64 + 1)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

fn same(text: Option<&[u8]>, wanted: &[u8]) -> bool {
    text.is_some_and(|text| text.eq_ignore_ascii_case(wanted))
}

/// Days from civil (the usual era arithmetic), for 1970 and later; earlier is the epoch.
fn seconds(year: u64, month: u64, day: u64, time: u64) -> Option<u64> {
    let leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let length = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day == 0 || day > length {
        return None;
    }
    if year < 1970 {
        return Some(0);
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted_year / 400, shifted_year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Some((days - 719_468) * 86_400 + time)
}

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn the_three_forms_give_the_same_second() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "sUN, 06 NOV 1994 08:49:37 gmt",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), Some(784_111_777), "{text}");
        }
        assert_eq!(parse(b"Thursday, 18-Aug-50 02:01:18 GMT", NOW), Some(2_544_400_878));
    }

    #[test]
    fn what_is_not_a_date_is_none() {
        for text in [
            "",
            "0",
            "foo",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for secs in [0, 1, 784_111_777, 951_782_400, NOW, 253_402_300_799] {
            assert_eq!(parse(format(secs).as_bytes(), NOW), Some(secs));
        }
    }
}
