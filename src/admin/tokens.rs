//! Bearer tokens: who may do what.
//!
//! The file has one token a line. A line with one word is a token that may do everything;
//! a line of three words is `name scopes token`, scopes being a comma-separated list of
//! `read`, `purge` and `operate`. `#` starts a comment. The file is made on first start
//! with 32 random bytes in hexadecimal and mode 0600, created so that it never exists
//! with a wider one.

use std::fs::{self, OpenOptions};
use std::hint::black_box;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::routes::Scope;

/// Tokens in one file.
const TOKENS_MAX: usize = 256;
/// Longest token in bytes.
const TOKEN_MAX: usize = 1024;
/// Shorter tokens are accepted with a warning.
const TOKEN_SAFE: usize = 20;

/// Why the token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Reading or making it.
    #[error("token file {0}: {1}")]
    Io(PathBuf, io::Error),
    /// A line.
    #[error("token file {path}, line {line}: {why}")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nothing in it.
    #[error("token file {0} holds no token")]
    Empty(PathBuf),
}

/// The tokens in force.
#[derive(Debug)]
pub struct Tokens {
    path: Option<PathBuf>,
    list: ArcSwap<Vec<Arc<Token>>>,
}

/// One token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// For the audit log.
    pub(super) name: String,
    scopes: Vec<Scope>,
    secret: String,
}

impl Token {
    /// Whether it may make calls of this scope.
    pub(super) fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

impl Tokens {
    /// Reads the file, making it if it is not there.
    pub fn open(path: Option<&Path>) -> Result<Self, TokenError> {
        let Some(path) = path else {
            let list = vec![Arc::new(all_scopes("run".to_owned(), fresh()))];
            return Ok(Tokens { path: None, list: ArcSwap::from_pointee(list) });
        };
        match create(path) {
            Ok(()) => tracing::info!(path = %path.display(), "admin token made"),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(TokenError::Io(path.to_owned(), error)),
        }
        let list = ArcSwap::from_pointee(read(path)?);
        Ok(Tokens { path: Some(path.to_owned()), list })
    }

    /// Reads the file again; on an error the old tokens stay in force.
    pub fn reload(&self) -> Result<(), TokenError> {
        if let Some(path) = &self.path {
            self.list.store(Arc::new(read(path)?));
        }
        Ok(())
    }

    /// The token with this secret. Takes the same time wherever the difference is, and
    /// always compares with every token.
    pub(super) fn find(&self, secret: &str) -> Option<Arc<Token>> {
        let list = self.list.load();
        let mut found = None;
        for token in list.iter() {
            if same(token.secret.as_bytes(), secret.as_bytes()) {
                found = Some(token.clone());
            }
        }
        found
    }
}

/// Equality in time that depends on the lengths only.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0u8, |all, (a, b)| black_box(all | (a ^ b)));
    black_box(differences) == 0 && a.len() == b.len()
}

fn fresh() -> String {
    rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn all_scopes(name: String, secret: String) -> Token {
    Token { name, scopes: Scope::ALL.to_vec(), secret }
}

fn create(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(format!("{}\n", fresh()).as_bytes())?;
    file.sync_all()
}

fn read(path: &Path) -> Result<Vec<Arc<Token>>, TokenError> {
    let failed = |error| TokenError::Io(path.to_owned(), error);
    let mode = fs::metadata(path).map_err(failed)?.mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777),
            "the admin token file can be read by others: chmod 600");
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let mut tokens = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_of = |why| TokenError::Line { path: path.to_owned(), line: index + 1, why };
        let line = line.split('#').next().unwrap_or("");
        let words: Vec<&str> = line.split_whitespace().collect();
        let token = match words.as_slice() {
            [] => continue,
            [secret] => all_scopes(format!("line {}", index + 1), (*secret).to_owned()),
            [name, scopes, secret] => Token {
                name: (*name).to_owned(),
                scopes: scopes
                    .split(',')
                    .map(Scope::named)
                    .collect::<Option<_>>()
                    .ok_or_else(|| line_of("scopes are read, purge and operate"))?,
                secret: (*secret).to_owned(),
            },
            _ => return Err(line_of("expected a token, or name, scopes and token")),
        };
        if token.secret.len() > TOKEN_MAX || tokens.len() >= TOKENS_MAX {
            return Err(line_of("at most 256 tokens of at most 1,024 bytes"));
        }
        if token.secret.len() < TOKEN_SAFE {
            tracing::warn!(path = %path.display(), line = index + 1,
                "this admin token is short enough to be guessed");
        }
        tokens.push(Arc::new(token));
    }
    if tokens.is_empty() { Err(TokenError::Empty(path.to_owned())) } else { Ok(tokens) }
}
