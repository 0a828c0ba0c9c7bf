//! What is wrong with a configuration, said so that it can be mended at once.
//!
//! A problem names the setting, the place in the file, what was expected and, where it
//! helps, what to write instead. All problems of a file are collected and shown together:
//! a reader that stops at the first one makes its user run it ten times. The place is a
//! byte range of the text; line, column and caret are made when it is shown.

use std::fmt::Write as _;
use std::ops::Range;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The node does not start with it.
    Error,
    /// It starts, but somebody should look.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The setting, such as `site[0].origin`; empty for trouble with the file as a whole.
    pub path: String,
    /// Where in the text, if it comes from a text.
    pub span: Option<Range<usize>>,
    /// What was found and what was expected.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A position in a text, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Problem {
    /// Line and column in `text`.
    pub fn place(&self, text: &str) -> Option<Place> {
        let start = self.span.as_ref()?.start.min(text.len());
        let before = text.get(..start)?;
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Some(Place { line, column })
    }

    /// The problem as a terminal shows it: place, line, caret, help.
    pub fn render(&self, file: &str, text: &str) -> String {
        let mut out = String::new();
        let place = self.place(text);
        match place {
            Some(Place { line, column }) => _ = write!(out, "{file}:{line}:{column}: "),
            None if !file.is_empty() => _ = write!(out, "{file}: "),
            None => {}
        }
        _ = writeln!(out, "{}: {}", self.severity.as_str(), self.message);
        if let (Some(place), Some(span)) = (place, &self.span) {
            let shown = text.lines().nth(place.line - 1).unwrap_or("");
            let room = shown.chars().count().saturating_sub(place.column - 1).max(1);
            let wide = text
                .get(span.clone())
                .map_or(1, |part| part.lines().next().unwrap_or("").chars().count().clamp(1, room));
            let gutter = place.line.to_string().len();
            _ = writeln!(out, "  {:gutter$} |", "");
            _ = writeln!(out, "  {} | {shown}", place.line);
            // A tab before the caret stays a tab, so that the caret stands below its text.
            let indent: String = shown
                .chars()
                .take(place.column - 1)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            _ = writeln!(out, "  {:gutter$} | {indent}{}", "", "^".repeat(wide));
        }
        if let Some(help) = &self.help {
            _ = writeln!(out, "  = help: {help}");
        }
        out
    }

    /// The problem as one JSON object, for `brink check --json`.
    pub fn json(&self, text: &str) -> serde_json::Value {
        let place = self.place(text);
        serde_json::json!({
            "severity": self.severity,
            "setting": self.path,
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "message": self.message,
            "help": self.help,
        })
    }
}

/// The known word nearest to `word`, if it is near enough to be a slip of the hand.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let close = |other: &str| {
        let (word, other) = (word.replace('-', "_"), other.replace('-', "_"));
        if other.len() >= 4 && (word.starts_with(&other) || other.starts_with(&word)) {
            return 0.85;
        }
        strsim::damerau_levenshtein(&word, &other).min(100) as f64
            / -(word.len().max(other.len()).max(1) as f64)
            + 1.0
    };
    known
        .into_iter()
        .map(|other| (close(other), other))
        .filter(|(score, _)| *score >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line_and_a_caret_below_the_word() {
        let text = "[node]\nname = 7\n";
        let problem = Problem {
            severity: Severity::Error,
            path: "node.name".to_owned(),
            span: Some(14..15),
            message: "expected a text".to_owned(),
            help: None,
        };
        assert_eq!(problem.place(text), Some(Place { line: 2, column: 8 }));
        let shown = problem.render("node.toml", text);
        assert!(shown.starts_with("node.toml:2:8: error: expected a text\n"), "{shown}");
        assert!(shown.contains("  2 | name = 7\n    |        ^\n"), "{shown}");
    }

    #[test]
    fn a_place_behind_the_text_does_not_panic() {
        let problem = Problem {
            severity: Severity::Warning,
            path: String::new(),
            span: Some(900..1000),
            message: "m".to_owned(),
            help: Some("h".to_owned()),
        };
        assert!(problem.render("", "é\n").contains("help: h"));
    }

    #[test]
    fn slips_of_the_hand_are_recognised_and_other_words_are_not() {
        let known = ["origin", "hosts", "rule", "header_time"];
        assert_eq!(nearest("orign", known), Some("origin"));
        assert_eq!(nearest("host", known), Some("hosts"));
        assert_eq!(nearest("header-time", known), Some("header_time"));
        assert_eq!(nearest("banana", known), None);
    }
}
