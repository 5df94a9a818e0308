//! What is wrong with a file, and where.

use std::path::Path;

use crate::error::{Error, ErrorKind, said};

/// What is wrong, and what to do about it. No value of the file is in it.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) line: usize,
    /// The path of keys to it; empty for the file as a whole.
    pub(super) key: String,
    pub(super) what: String,
}

impl Fault {
    pub(super) fn new(line: usize, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { line, key: key.into(), what: what.into() }
    }

    pub(super) fn in_file(&self, path: &Path) -> Error {
        let Self { line, key, what } = self;
        let file = shown(path);
        let text = match key.is_empty() {
            true => format!("{file}:{line}: {what}"),
            false => format!("{file}:{line}: {key}: {what}"),
        };
        Error::new(ErrorKind::InvalidInput, text)
    }
}

/// A path, fit to stand in an error.
pub(super) fn shown(path: &Path) -> String {
    said(&path.to_string_lossy())
}

/// A path of keys and one more.
pub(super) fn join(path: &str, name: &str) -> String {
    let name = quoted(name);
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// A key, in quotes where it is not plain, and cut where it is long: many errors can begin with it.
pub(super) fn quoted(name: &str) -> String {
    const MOST: usize = 100;
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
    let (short, rest) = match name.char_indices().nth(MOST) {
        Some((end, _)) => (name.get(..end).unwrap_or_default(), "…"),
        None => (name, ""),
    };
    match !name.is_empty() && short.chars().all(is_plain) {
        true => format!("{short}{rest}"),
        false => format!("\"{}{rest}\"", said(short)),
    }
}
