//! The forms of time found in logs.

/// Larger numbers are no time, and the differences of smaller ones do not overflow.
const SECONDS_MAX: f64 = 1e13;

/// Milliseconds since the epoch of `22/Nov/2026:17:01:27 +0100` (logs), RFC 3339, or a
/// number of seconds with or without a fraction.
pub(super) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.abs() < SECONDS_MAX).then_some((seconds * 1000.0) as i64);
    }
    log(text).or_else(|| rfc3339(text))
}

fn log(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (stamp, zone) = text.split_once(' ').unwrap_or((text, "+0000"));
    let mut parts = stamp.split(['/', ':']);
    let day = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))? as i64 + 1;
    let mut number = || parts.next()?.parse::<i64>().ok();
    let (year, hour, minute, second) = (number()?, number()?, number()?, number()?);
    let minutes = days(year, month, day)? * 1440 + of_day(hour, minute)?;
    (0..=60).contains(&second).then_some(())?;
    Some((minutes * 60 + second - offset(zone)?) * 1000)
}

fn rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once(['T', ' '])?;
    let mut date = date.splitn(3, '-');
    let mut number = || date.next()?.parse::<i64>().ok();
    let (year, month, day) = (number()?, number()?, number()?);
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let mut clock = clock.splitn(3, ':');
    let hour: i64 = clock.next()?.parse().ok()?;
    let minute: i64 = clock.next()?.parse().ok()?;
    let second: f64 = clock.next()?.parse().ok()?;
    let minutes = days(year, month, day)? * 1440 + of_day(hour, minute)?;
    (0.0..61.0).contains(&second).then_some(())?;
    Some(minutes * 60_000 + (second * 1000.0) as i64 - offset(zone)? * 1000)
}

/// Minutes since midnight.
fn of_day(hour: i64, minute: i64) -> Option<i64> {
    let sound = (0..24).contains(&hour) && (0..60).contains(&minute);
    sound.then(|| hour * 60 + minute)
}

/// Seconds of `+0100`, `+01:00`, `Z`, or nothing.
fn offset(zone: &str) -> Option<i64> {
    let Some(sign) = zone.chars().next().filter(|sign| matches!(sign, '+' | '-')) else {
        return Some(0);
    };
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let (hours, minutes) = (digits.get(..2)?, digits.get(2..4).unwrap_or("0"));
    let seconds = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
    Some(if sign == '-' { -seconds } else { seconds })
}

/// Days since 1970-01-01 of the Gregorian calendar (years are counted from March, so that
/// the leap day is the last).
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1900..=9999).contains(&year) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn all_forms_of_one_moment_agree() {
        for text in [
            "22/Nov/2026:18:01:27 +0100",
            "2026-11-22T17:01:27.000Z",
            "2026-11-22T18:01:27+01:00",
            "1795366887",
            "1795366887.000",
        ] {
            assert_eq!(parse(text), Some(1_795_366_887_000), "{text}");
        }
        for text in ["", "yesterday", "99/Foo/2026:00:00:00 +0000", "2026-13-01T00:00:00Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
