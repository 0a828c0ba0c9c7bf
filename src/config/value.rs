//! Reads single TOML values as what a setting wants, or says what was expected and got.

use std::ops::Range;
use std::time::Duration;

use toml::de::DeValue;

use crate::base::ByteSize;
use crate::base::units::{format_duration, parse_duration};

/// What a value is, in words.
pub fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {text:?}"),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Reads a text.
pub fn text(value: &DeValue<'_>) -> Result<String, String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("expected a text in quotes, got {}", kind(value)))
}

/// Reads a list of texts; one text stands for a list of one.
pub fn texts(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    match value {
        DeValue::String(one) => Ok(vec![one.to_string()]),
        DeValue::Array(items) => items.iter().map(|item| text(item.get_ref())).collect(),
        other => Err(format!("expected a list of texts, got {}", kind(other))),
    }
}

/// Reads a whole number within `range`.
pub fn number(value: &DeValue<'_>, range: &Range<u64>) -> Result<u64, String> {
    let expected =
        || format!("expected a number from {} to {}", range.start, range.end.saturating_sub(1));
    value
        .as_integer()
        .and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok())
        .filter(|n| range.contains(n))
        .ok_or_else(|| format!("{}, got {}", expected(), kind(value)))
}

/// Reads a size in bytes within `range`; a bare number is bytes.
pub fn size(value: &DeValue<'_>, range: &Range<u64>) -> Result<u64, String> {
    let read = match value {
        DeValue::Integer(_) => number(value, &(0..u64::MAX))?,
        _ => text(value)
            .map_err(|_| format!("expected a size such as \"512MiB\", got {}", kind(value)))?
            .parse::<ByteSize>()?
            .bytes(),
    };
    if range.contains(&read) {
        return Ok(read);
    }
    Err(format!(
        "expected a size from {} to {}, got {}",
        ByteSize(range.start),
        ByteSize(range.end),
        ByteSize(read)
    ))
}

/// Reads a span of time of at most `max`.
pub fn duration(value: &DeValue<'_>, max: Duration) -> Result<Duration, String> {
    let read = parse_duration(&text(value).map_err(|_| {
        format!("expected a duration with its unit such as \"30s\", got {}", kind(value))
    })?)?;
    if read > max {
        return Err(format!(
            "expected at most {}, got {}",
            format_duration(max),
            quote(&format_duration(read))
        ));
    }
    Ok(read)
}

/// The text as a TOML string.
pub fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
