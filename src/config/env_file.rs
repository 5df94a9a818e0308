//! `envFile`: a file of variables, a line each.

use std::path::{Component, Path, Prefix};

use super::fault::Fault;
use super::{open, read};

/// The largest one, in bytes.
const LARGEST: u64 = 256 * 1024;

/// Reads `NAME=value` lines. Quotes around a value are taken off, nothing in it is filled in; lines
/// that are empty or begin with `#` say nothing.
pub(super) fn load(path: &Path) -> Result<Vec<(String, String)>, Fault> {
    parse(&read(path, LARGEST)?)
}

/// Whether there is a file to read. Nothing is read of it, and no other machine is spoken to.
pub(super) fn check(path: &Path) -> Result<(), Fault> {
    let is_far = match path.components().next() {
        Some(Component::Prefix(prefix)) => {
            !matches!(prefix.kind(), Prefix::Disk(_) | Prefix::VerbatimDisk(_))
        }
        _ => false,
    };
    if is_far { Ok(()) } else { open(path).map(drop) }
}

fn parse(text: &str) -> Result<Vec<(String, String)>, Fault> {
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        match line.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() && !line.contains('\0') => {
                variables.push((name.trim().to_owned(), value_of(value.trim())));
            }
            // It may be nothing but a secret.
            _ => return Err(Fault::new(index + 1, "", "this line is no NAME=value")),
        }
    }
    Ok(variables)
}

fn value_of(written: &str) -> String {
    let quoted = |quote: char| written.strip_prefix(quote)?.strip_suffix(quote);
    match (quoted('"'), quoted('\'')) {
        (Some(value), _) => value.replace("\\n", "\n").replace("\\\"", "\""),
        (_, Some(value)) => value.to_owned(),
        // What comes after a blank and a # is a comment.
        _ => written.split(" #").next().unwrap_or_default().trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_variables() {
        let text =
            "# note\nA=1\nexport B = two words # note\n\nC=\"x\\ny\"\nD='a # b'\nE=\nF=a=b\r\n";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "x\ny"),
            ("D", "a # b"),
            ("E", ""),
            ("F", "a=b"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(value_of("\""), "\"");
    }

    #[test]
    fn what_is_no_variable_says_where_and_is_not_shown() {
        for text in ["A=1\nhunter2", "A=1\n=hunter2", "A=1\nhunter2=\0"] {
            let fault = parse(text).unwrap_err();
            assert_eq!((fault.line, fault.what.contains("hunter2")), (2, false), "{text}");
        }
    }
}
