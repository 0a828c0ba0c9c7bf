//! The documented settings are the real ones: config/node.toml against the code, and every
//! example against `check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::value::quote;
use super::{load, settings};

/// Settings that the file cannot do without, so that it shows an example and no default.
const REQUIRED: &[&str] = &["origin.servers"];

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// config/node.toml with every shown default made real.
fn uncommented() -> String {
    let text = std::fs::read_to_string(dir().join("node.toml")).unwrap();
    let setting = |c: char| c.is_ascii_lowercase() || c == '[';
    let lines = text.lines().map(|line| {
        line.strip_prefix('#').filter(|rest| rest.starts_with(setting)).unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quote(text),
        DeValue::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| show(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(_) => "{}".to_owned(),
        other => other.as_bool().map_or_else(
            || other.as_integer().map(|n| n.to_string()).unwrap_or_default(),
            |flag| flag.to_string(),
        ),
    }
}

fn leaves(path: &str, table: &DeTable<'_>, out: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = key.get_ref();
        let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        match value.get_ref() {
            DeValue::Table(below) if !below.is_empty() => leaves(&path, below, out),
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                for item in items {
                    if let DeValue::Table(below) = item.get_ref() {
                        leaves(&path, below, out);
                    }
                }
            }
            other => _ = out.insert(path, show(other)),
        }
    }
}

#[test]
fn the_documented_settings_are_the_real_ones_with_their_defaults() {
    let text = uncommented();
    let document = DeTable::parse(&text).unwrap();
    let mut documented = BTreeMap::new();
    leaves("", document.get_ref(), &mut documented);
    let real = settings();
    let mut wrong = Vec::new();
    for setting in &real {
        let path = &setting.path;
        let inherited = path.replace("site.rule.", "site.");
        match (documented.get(path), &setting.default) {
            (None, _) if *path != inherited && documented.contains_key(&inherited) => {}
            (None, _) => wrong.push(format!("{path} is not in config/node.toml")),
            (Some(shown), Some(default))
                if shown != default && !REQUIRED.contains(&path.as_str()) =>
            {
                wrong.push(format!("{path}: documented {shown}, really {default}"));
            }
            _ => {}
        }
    }
    for path in documented.keys() {
        if !real.iter().any(|setting| setting.path == *path) {
            wrong.push(format!("{path} is documented, but there is no such setting"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_example_passes_check() {
    let mut seen = 0;
    for entry in std::fs::read_dir(dir()).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            let outcome = load(&path);
            assert_eq!(outcome.errors(), 0, "{}", outcome.render());
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen} examples");
}
