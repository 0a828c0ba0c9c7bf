//! Reads typed settings out of a parsed TOML document and collects every problem.
//!
//! serde's derive was tried on paper and rejected: it stops at the first error, gives no
//! place for a value that parses but is out of range, and wants every setting written
//! twice (once optional with a span, once as the module's own option). Here one call per
//! setting names the key, its default and its type; an unknown key is what nobody asked
//! for. The same calls, made on an empty document, list all settings with their defaults,
//! which is how a test keeps config/node.toml equal to the code.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Severity, nearest};
use super::value::{duration, kind, number, quote, size, text, texts};
use crate::base::ByteSize;
use crate::base::units::format_duration;

/// Longest span of time a setting may ask for, unless it has a limit of its own.
pub const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// One setting as the code knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Such as `limits.header_time` or `site.rule.name`.
    pub path: String,
    /// Its default as TOML, or `None` if it is unset or required.
    pub default: Option<String>,
}

/// Where problems, places and (when describing) settings are gathered.
#[derive(Debug, Default)]
pub struct Sink {
    problems: RefCell<Vec<Problem>>,
    places: RefCell<HashMap<String, Range<usize>>>,
    described: Option<RefCell<Vec<Setting>>>,
}

impl Sink {
    /// A sink that also lists the settings asked for.
    pub fn describing() -> Self {
        Sink { described: Some(RefCell::default()), ..Sink::default() }
    }

    /// Reports an error at the setting `path`.
    pub fn error(&self, path: &str, message: impl Into<String>, help: Option<String>) {
        self.report(Severity::Error, path, message.into(), help);
    }

    /// Reports a warning at the setting `path`.
    pub fn warn(&self, path: &str, message: impl Into<String>, help: Option<String>) {
        self.report(Severity::Warning, path, message.into(), help);
    }

    fn report(&self, severity: Severity, path: &str, message: String, help: Option<String>) {
        let span = self.place(path);
        let path = path.to_owned();
        self.push(Problem { severity, path, span, message, help });
    }

    /// Adds a finished problem.
    pub fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Whether something at or below `path` is wrong already.
    pub fn has_error_below(&self, path: &str) -> bool {
        self.problems
            .borrow()
            .iter()
            .any(|problem| problem.severity == Severity::Error && problem.path.starts_with(path))
    }

    /// The place of `path`, or of the nearest table above it.
    fn place(&self, path: &str) -> Option<Range<usize>> {
        let places = self.places.borrow();
        let mut path = path;
        loop {
            if let Some(span) = places.get(path) {
                return Some(span.clone());
            }
            path = path.rsplit_once('.')?.0;
        }
    }

    fn mark(&self, path: &str, span: Range<usize>) {
        self.places.borrow_mut().insert(path.to_owned(), span);
    }

    fn describe(&self, path: &str, default: Option<String>) {
        if let Some(described) = &self.described {
            let mut plain = String::new();
            let mut inside = false;
            for c in path.chars() {
                match c {
                    '[' => inside = true,
                    ']' => inside = false,
                    c if !inside => plain.push(c),
                    _ => {}
                }
            }
            described.borrow_mut().push(Setting { path: plain, default });
        }
    }

    /// The settings asked for, if this sink describes.
    pub fn settings(self) -> Vec<Setting> {
        self.described.map(RefCell::into_inner).unwrap_or_default()
    }

    /// The problems found, in the order of the file.
    pub fn problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |s| s.start));
        problems
    }
}

/// A table of the document that is being read.
pub struct Table<'a> {
    sink: &'a Sink,
    path: String,
    table: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
    inherits: bool,
}

type Value<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Table<'a> {
    /// The document itself.
    pub fn root(sink: &'a Sink, table: &'a DeTable<'a>) -> Self {
        Table { sink, path: String::new(), table: Some(table), asked: Vec::new(), inherits: false }
    }

    /// The path of `key` in this table.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// From now on settings have no default of their own: they are taken from elsewhere.
    pub fn inherits(&mut self) {
        self.inherits = true;
    }

    /// Whether `key` is in the file.
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Reports an error at `key`.
    pub fn error(&self, key: &str, message: impl Into<String>) {
        self.sink.error(&self.path(key), message, None);
    }

    fn find(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        let value = self.table?.get(key)?;
        self.sink.mark(&self.path(key), value.span());
        Some(value)
    }

    /// One setting: `read` turns the value into `T` or says what was expected.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        default: Option<String>,
        read: impl FnOnce(&DeValue<'a>) -> Result<T, String>,
    ) -> Option<T> {
        let default = default.filter(|_| !self.inherits);
        self.sink.describe(&self.path(key), default);
        let value = self.find(key)?;
        match read(value.get_ref()) {
            Ok(read) => Some(read),
            Err(expected) => {
                self.error(key, format!("{key}: {expected}"));
                None
            }
        }
    }

    /// A table below this one; missing is the same as empty.
    pub fn table(&mut self, key: &'static str) -> Table<'a> {
        let path = self.path(key);
        let table = self.find(key).and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                let got = kind(other);
                self.error(key, format!("{key}: expected a table \"[{path}]\", got {got}"));
                None
            }
        });
        Table { sink: self.sink, path, table, asked: Vec::new(), inherits: false }
    }

    /// The tables of `[[key]]`. When describing there is always one.
    pub fn tables(&mut self, key: &'static str) -> Vec<Table<'a>> {
        let path = self.path(key);
        let mut out = Vec::new();
        let below = |index: usize, table: Option<&'a DeTable<'a>>| Table {
            sink: self.sink,
            path: format!("{path}[{index}]"),
            table,
            asked: Vec::new(),
            inherits: false,
        };
        if self.sink.described.is_some() {
            out.push(below(0, None));
        }
        let Some(value) = self.table.and_then(|table| table.get(key)) else {
            self.asked.push(key);
            return out;
        };
        match value.get_ref() {
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.sink.mark(&format!("{path}[{index}]"), item.span());
                    match item.get_ref() {
                        DeValue::Table(table) => out.push(below(index, Some(table))),
                        other => self.sink.error(
                            &format!("{path}[{index}]"),
                            format!("{key}: expected a table, got {}", kind(other)),
                            None,
                        ),
                    }
                }
            }
            other => {
                self.sink.mark(&path, value.span());
                self.sink.error(
                    &path,
                    format!("{key}: expected tables \"[[{path}]]\", got {}", kind(other)),
                    Some(format!("write [[{path}]] with two brackets on each side")),
                );
            }
        }
        self.asked.push(key);
        out
    }

    /// Reports the keys that nobody asked for. Call it last.
    pub fn end(self) {
        let Some(table) = self.table else { return };
        for name in table.keys() {
            let word = name.get_ref().as_ref();
            if self.asked.contains(&word) {
                continue;
            }
            let place = if self.path.is_empty() {
                "at the top level".to_owned()
            } else {
                format!("in [{}]", self.path.split('[').next().unwrap_or(""))
            };
            let help = nearest(word, self.asked.iter().copied())
                .map(|near| format!("did you mean \"{near}\"?"))
                .or_else(|| Some(format!("known here: {}", self.asked.join(", "))));
            self.sink.push(Problem {
                severity: Severity::Error,
                path: self.path(word),
                span: Some(name.span()),
                message: format!("unknown setting \"{word}\" {place}"),
                help,
            });
        }
    }

    /// A text.
    pub fn text(&mut self, key: &'static str, default: &str) -> String {
        self.read(key, Some(quote(default)), text).unwrap_or_else(|| default.to_owned())
    }

    /// A text that may be left out.
    pub fn text_opt(&mut self, key: &'static str) -> Option<String> {
        self.read(key, None, text)
    }

    /// A text that `parse` turns into something better, and that may be left out.
    pub fn parsed_opt<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read(key, None, |value| parse(&text(value)?))
    }

    /// One of a few words.
    pub fn word<T: Clone>(
        &mut self,
        key: &'static str,
        default: &'static str,
        words: &[(&'static str, T)],
        unset: T,
    ) -> T {
        self.read(key, Some(quote(default)), |value| {
            let got = text(value)?;
            let found = words.iter().find(|(word, _)| *word == got);
            found.map(|(_, meaning)| meaning.clone()).ok_or_else(|| {
                let known: Vec<_> = words.iter().map(|(word, _)| quote(word)).collect();
                format!("expected one of {}, got {got:?}", known.join(", "))
            })
        })
        .unwrap_or(unset)
    }

    /// Texts.
    pub fn list(&mut self, key: &'static str, default: &[String]) -> Vec<String> {
        let shown = default.iter().map(|text| quote(text)).collect::<Vec<_>>().join(", ");
        self.read(key, Some(format!("[{shown}]")), texts).unwrap_or_else(|| default.to_vec())
    }

    /// Yes or no.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.read(key, Some(default.to_string()), |value| {
            value.as_bool().ok_or_else(|| format!("expected true or false, got {}", kind(value)))
        })
        .unwrap_or(default)
    }

    /// A whole number within `range`.
    pub fn number(&mut self, key: &'static str, default: u64, range: Range<u64>) -> u64 {
        self.read(key, Some(default.to_string()), |value| number(value, &range)).unwrap_or(default)
    }

    /// A whole number within `range` that may be left out.
    pub fn number_opt(&mut self, key: &'static str, range: Range<u64>) -> Option<u64> {
        self.read(key, None, |value| number(value, &range))
    }

    /// A size in bytes within `range`.
    pub fn size(&mut self, key: &'static str, default: u64, range: Range<u64>) -> u64 {
        let shown = quote(&ByteSize(default).to_string());
        self.read(key, Some(shown), |value| size(value, &range)).unwrap_or(default)
    }

    /// A size in bytes that may be left out.
    pub fn size_opt(&mut self, key: &'static str, range: Range<u64>) -> Option<u64> {
        self.read(key, None, |value| size(value, &range))
    }

    /// A span of time, at most `max`.
    pub fn time(&mut self, key: &'static str, default: Duration, max: Duration) -> Duration {
        self.read(key, Some(quote(&format_duration(default))), |value| duration(value, max))
            .unwrap_or(default)
    }

    /// A span of time that may be left out.
    pub fn time_opt(&mut self, key: &'static str, max: Duration) -> Option<Duration> {
        self.read(key, None, |value| duration(value, max))
    }
}
