//! House rules that a machine can check. It is a ratchet: everything that is wrong is
//! reported at once, and nothing is excused without a reason in the lists below.
//!
//! The rules are about the whole tree: layers, sizes, head notes, left-over marks, clocks,
//! panics, and a reason for every dependency. Sources are looked at as text with comments
//! and literals blanked out; a real parser was not worth its compile time for this.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Level of each top module: imports go to lower levels only, never sideways.
const LAYERS: &[(&str, u8)] = &[
    ("base", 0),
    ("rules", 1),
    ("telemetry", 2),
    ("store", 3),
    ("origin", 3),
    ("front", 3),
    ("serve", 4),
    ("admin", 4),
    ("lab", 4),
    ("config", 5),
    ("node", 6),
    ("cli", 7),
];

/// Lines of a file, lines of a function, characters of a line.
const FILE_MAX: usize = 400;
const FUNCTION_MAX: usize = 70;
const LINE_MAX: usize = 100;

/// Modules whose input comes from the network or the disk: nothing there may panic.
const NO_PANIC: &[&str] = &["rules", "front", "serve", "store", "origin"];

/// `unwrap` and `expect` that are allowed there: file, how many, why they cannot fire.
const PANICS_ALLOWED: &[(&str, usize, &str)] = &[];

/// What a pure module must not name.
const IMPURE: &[&str] = &["tokio", "tracing", "std::fs", "std::net::Tcp", "async fn", ".await"];

#[test]
fn the_house_rules_hold() {
    let mut found = Vec::new();
    for source in sources() {
        head_note(&source, &mut found);
        sizes(&source, &mut found);
        marks(&source, &mut found);
        clocks(&source, &mut found);
        panics(&source, &mut found);
        layers(&source, &mut found);
        purity(&source, &mut found);
    }
    dependencies(&mut found);
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

/// One file: its path from the root, its text, and the text without comments and literals.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    /// The module directly below src/, if it is there.
    fn module(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src/")?;
        Some(rest.split('/').next().unwrap_or(rest).trim_end_matches(".rs"))
    }

    fn is_test(&self) -> bool {
        let file = self.path.rsplit('/').next().unwrap_or("");
        !self.path.starts_with("src/") || file == "tests.rs" || self.path.contains("/tests/")
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for dir in ["src", "tests", "benches", "fuzz", "examples"] {
        walk(&root().join(dir), &mut files);
    }
    files.sort();
    assert!(files.len() > 10, "the walk over the sources finds nothing");
    let read = |file: &PathBuf| {
        let path = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(file).unwrap();
        let code = blank(&text);
        Source { path, text, code }
    };
    files.iter().map(read).collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && name != "corpus" && name != "node_modules" {
            walk(&path, files);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
}

fn head_note(source: &Source, found: &mut Vec<String>) {
    let first = source.text.lines().find(|line| !line.starts_with("#!")).unwrap_or("");
    if !first.starts_with("//!") {
        found.push(format!("{}:1: opens without a //! note (what, why so)", source.path));
    }
}

fn sizes(source: &Source, found: &mut Vec<String>) {
    let path = &source.path;
    let lines = source.text.lines().count();
    if lines > FILE_MAX {
        found.push(format!("{path}: {lines} lines, at most {FILE_MAX}"));
    }
    for (index, (line, code)) in source.text.lines().zip(source.code.lines()).enumerate() {
        // A literal and a row of a table cannot be wrapped; what stands around them can.
        let wide = line.chars().count();
        let literal = wide - code.chars().filter(|c| *c != ' ').count() > LINE_MAX / 2;
        let comment = line.trim_start().starts_with("//");
        let excused = if comment { line.contains("//! |") } else { literal };
        if wide > LINE_MAX && !excused {
            found.push(format!("{path}:{}: {wide} columns, at most {LINE_MAX}", index + 1));
        }
    }
    for (at, _) in source.code.match_indices("fn ") {
        let before = source.code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(end) = block_end(&source.code, at) else { continue };
        let long = source.code[at..end].matches('\n').count() + 1;
        if long > FUNCTION_MAX {
            let name: String = source.code[at + 3..].chars().take_while(|c| *c != '(').collect();
            let line = source.line_of(at);
            found
                .push(format!("{path}:{line}: fn {name} has {long} lines, at most {FUNCTION_MAX}"));
        }
    }
}

fn marks(source: &Source, found: &mut Vec<String>) {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("dbg", "!("),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("/tmp/", "brink"),
        concat!("/wor", "k/wt"),
        concat!("/wor", "k/main"),
    ];
    for (index, line) in source.text.lines().enumerate() {
        for word in words.iter().filter(|word| line.contains(**word)) {
            found.push(format!("{}:{}: left-over mark {word}", source.path, index + 1));
        }
    }
}

fn clocks(source: &Source, found: &mut Vec<String>) {
    if source.path == "src/base/clock.rs" || !source.path.starts_with("src/") {
        return;
    }
    for call in ["Instant::now(", "SystemTime::now("] {
        for (at, _) in source.code.match_indices(call) {
            let line = source.line_of(at);
            found.push(format!("{}:{line}: {call}) outside base/clock.rs", source.path));
        }
    }
}

fn panics(source: &Source, found: &mut Vec<String>) {
    let Some(module) = source.module() else { return };
    if source.is_test() || !NO_PANIC.contains(&module) {
        return;
    }
    let code = without_tests(&source.code);
    let mut seen = Vec::new();
    for call in [".unwrap()", ".expect("] {
        for (at, _) in code.match_indices(call) {
            seen.push(format!("{}:{}: {call} on a path that must not panic", source.path, {
                source.line_of(at)
            }));
        }
    }
    let allowed = PANICS_ALLOWED.iter().find(|(path, _, _)| *path == source.path);
    let count = allowed.map_or(0, |(_, count, _)| *count);
    if seen.len() != count {
        found.append(&mut seen);
        if count > 0 {
            found.push(format!("{}: {count} allowed in tests/tidy.rs", source.path));
        }
    }
}

fn layers(source: &Source, found: &mut Vec<String>) {
    let levels: BTreeMap<&str, u8> = LAYERS.iter().copied().collect();
    let Some(module) = source.module() else { return };
    if matches!(module, "lib" | "main") || source.is_test() {
        return;
    }
    let Some(level) = levels.get(module) else {
        found.push(format!("{}: module {module} is not in the table of layers", source.path));
        return;
    };
    let code = without_tests(&source.code);
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(['$', '_']) {
            continue;
        }
        for name in first_names(&code[at + "crate::".len()..]) {
            let Some(other) = levels.get(name.as_str()) else { continue };
            if name != module && other >= level {
                let line = source.line_of(at);
                let path = &source.path;
                found.push(format!("{path}:{line}: {module} ({level}) imports {name} ({other})"));
            }
        }
    }
}

/// The first names of a path or of a group `{a::b, c}` that follows `crate::`.
fn first_names(rest: &str) -> Vec<String> {
    let ident = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = rest.strip_prefix('{') else { return vec![ident(rest)] };
    let mut names = vec![ident(group)];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(ident(&group[at + 1..])),
            _ => {}
        }
    }
    names
}

fn purity(source: &Source, found: &mut Vec<String>) {
    if source.module() != Some("rules") || source.is_test() {
        return;
    }
    let code = without_tests(&source.code);
    for word in IMPURE {
        for (at, _) in code.match_indices(word) {
            let line = source.line_of(at);
            found.push(format!("{}:{line}: rules is pure, but names {word}", source.path));
        }
    }
}

fn dependencies(found: &mut Vec<String>) {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut before = "";
    for (index, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies") && line.contains('=') && !before.starts_with('#')
        {
            found.push(format!("Cargo.toml:{}: no reason above: {line}", index + 1));
        }
        before = line;
    }
}

/// The end of the block that opens after `from`; `None` for a signature without body.
fn block_end(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut nested = 0i32;
    for (at, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => nested += 1,
            ')' | ']' => nested -= 1,
            ';' if depth == 0 && nested == 0 => return None,
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(from + at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// `code` with every item under `#[cfg(test)]` blanked out; lines stay where they are.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(at) = out.find("#[cfg(test)]") {
        let after = at + "#[cfg(test)]".len();
        let end = block_end(&out, after)
            .or_else(|| out[after..].find(';').map(|semicolon| after + semicolon + 1))
            .unwrap_or(out.len());
        let blank: String = out[at..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        out.replace_range(at..end, &blank);
    }
    out
}

/// `text` with comments and the insides of literals turned into spaces.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            let plain = chars[at];
            out.push(if plain.is_ascii() { plain } else { '_' });
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment or literal that starts at `at` ends; `at` if none starts there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    let until = |from: usize, stop: &dyn Fn(usize) -> bool| {
        (from..chars.len()).find(|i| stop(*i)).map_or(chars.len(), |i| i + 1)
    };
    let after_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if next(1) == '/' => until(at, &|i| chars[i] == '\n') - 1,
        '/' if next(1) == '*' => until(at + 3, &|i| chars[i] == '/' && chars[i - 1] == '*'),
        '"' => string_end(chars, at + 1),
        'r' if !after_word || chars[at - 1] == 'b' => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            if next(1 + hashes) != '"' {
                return at;
            }
            let closes =
                |i: usize| chars[i] == '"' && (1..=hashes).all(|n| chars.get(i + n) == Some(&'#'));
            until(at + hashes + 2, &closes) + hashes
        }
        '\'' if next(1) == '\\' => until(at + 3, &|i| chars[i] == '\''),
        '\'' if next(2) == '\'' => at + 3,
        _ => at,
    }
    .min(chars.len())
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

#[test]
fn literals_comments_and_tests_are_not_code() {
    let code = blank("a /* { */ \"{\\\"\" '{' r#\"{\"# b // {\nfn f() {}");
    assert!(!code[..code.find('b').unwrap()].contains('{'), "{code}");
    assert!(code.ends_with("fn f() {}"));
    let tested = without_tests("fn a() {}\n#[cfg(test)]\nmod t { fn b() { c } }\nfn d() {}");
    assert!(!tested.contains('c') && tested.contains("fn d"), "{tested}");
    assert_eq!(first_names("{base::Clock, rules::{key, site}, store}"), ["base", "rules", "store"]);
}
