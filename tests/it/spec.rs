//! The table from items of the protocol's rules to the tests that prove them: `tests/spec.md`.

use std::fs;
use std::path::{Path, PathBuf};

/// Every MUST and MUST NOT of the sections that this version of umcp implements; of the probe, the
/// remembered era, stdio, subscriptions, caching and logging also what is recommended or allowed.
#[rustfmt::skip]
const REQUIRED: &[&str] = &[
    // Eras and versions
    "ERA-4", "ERA-12", "ERA-14", "ERA-15", "ERA-16", "ERA-17", "ERA-18", "ERA-19", "ERA-20",
    "ERA-21", "ERA-22", "ERA-23", "ERA-39", "ERA-40", "ERA-41", "ERA-42", "ERA-44", "ERA-45",
    "ERA-46", "ERA-48", "ERA-49", "ERA-52", "ERA-53", "ERA-56",
    // JSON-RPC
    "RPC-1", "RPC-2", "RPC-3", "RPC-4", "RPC-5", "RPC-8", "RPC-11", "RPC-12", "RPC-15", "RPC-19",
    "RPC-20", "RPC-21", "RPC-24", "RPC-31", "RPC-32", "RPC-33", "RPC-35", "RPC-37", "RPC-38",
    "RPC-44",
    // Per-request metadata
    "META-1", "META-4", "META-9", "META-10", "META-12", "META-13", "META-16",
    // stdio
    "STDIO-1", "STDIO-2", "STDIO-3", "STDIO-5", "STDIO-6", "STDIO-7", "STDIO-8", "STDIO-9",
    "STDIO-10", "STDIO-11", "STDIO-12", "STDIO-14", "STDIO-15", "STDIO-16", "STDIO-17",
    "STDIO-19", "STDIO-20", "STDIO-22", "STDIO-23", "STDIO-24", "STDIO-25", "STDIO-26",
    "STDIO-27", "STDIO-28", "STDIO-30",
    // Headers of Streamable HTTP
    "HDR-1", "HDR-2", "HDR-3", "HDR-4", "HDR-6", "HDR-7", "HDR-11", "XHDR-1", "XHDR-2", "XHDR-3",
    "XHDR-4", "XHDR-5", "XHDR-6", "XHDR-7", "XHDR-8", "XHDR-9", "XHDR-10", "XHDR-11", "XHDR-15", "XHDR-16",
    "XHDR-17", "XHDR-18", "XHDR-20", "XHDR-21", "XHDR-22", "XHDR-24", "XHDR-26", "XHDR-27",
    // Streamable HTTP
    "HTTP-1", "HTTP-2", "HTTP-3", "HTTP-4", "HTTP-5", "HTTP-6", "HTTP-7", "HTTP-8", "HTTP-9",
    "HTTP-10", "HTTP-11", "HTTP-13", "HTTP-14", "HTTP-15", "HTTP-16", "HTTP-17", "HTTP-19",
    "HTTP-20", "HTTP-21", "HTTP-22",
    // Finding out over HTTP
    "ERA-24", "ERA-25", "ERA-26", "ERA-27", "ERA-28", "ERA-29", "ERA-30", "ERA-31", "ERA-32",
    "ERA-33", "ERA-34", "ERA-35", "ERA-36", "ERA-37", "ERA-38",
    // Streamable HTTP of the legacy era
    "HDR-12", "LHTTP-1", "LHTTP-2", "LHTTP-3", "LHTTP-4", "LHTTP-5", "LHTTP-6", "LHTTP-7",
    "LHTTP-8", "LHTTP-9", "LHTTP-11", "LHTTP-12", "LHTTP-13", "LHTTP-15", "LHTTP-16", "LHTTP-17",
    "LHTTP-18", "LHTTP-19", "LHTTP-20", "LHTTP-21", "LHTTP-22", "LHTTP-23", "LHTTP-24",
    "LHTTP-25", "LHTTP-26", "LHTTP-27", "LHTTP-28", "LHTTP-29", "LHTTP-30",
    // HTTP+SSE
    "SSE-1", "SSE-2", "SSE-3", "SSE-4", "SSE-5", "SSE-6", "SSE-7", "SSE-8",
    // Methods
    "METH-1", "METH-4", "METH-5", "METH-7", "TOOL-1", "PROM-2", "COMP-4",
    // What servers ask
    "ROOT-1", "ROOT-2", "ROOT-3", "ROOT-5", "SAMP-1", "SAMP-2", "SAMP-3", "SAMP-6", "SAMP-15",
    "SAMP-18", "ELIC-1", "ELIC-3", "ELIC-4", "ELIC-8", "ELIC-11", "ELIC-14", "ELIC-15", "MRTR-3",
    "MRTR-4", "MRTR-6", "MRTR-8", "MRTR-9", "MRTR-10", "MRTR-11", "MRTR-12", "MRTR-13", "MRTR-14",
    "MRTR-16", "MRTR-19", "MRTR-20", "MRTR-21", "MRTR-22", "SEC-17",
    // Cancellation and progress
    "CANCEL-2", "CANCEL-4", "CANCEL-5", "CANCEL-6", "CANCEL-7", "CANCEL-10", "CANCEL-13", "PROG-1",
    "PROG-5",
    // Subscriptions
    "SUB-1", "SUB-2", "SUB-3", "SUB-4", "SUB-5", "SUB-6", "SUB-7", "SUB-8", "SUB-9", "SUB-10",
    "SUB-11", "SUB-12", "SUB-13", "SUB-14", "SUB-15", "SUB-16", "SUB-17", "SUB-18", "SUB-19",
    "SUB-20", "SUB-21",
    // Caching
    "CACHE-1", "CACHE-2", "CACHE-3", "CACHE-4", "CACHE-5", "CACHE-6", "CACHE-7", "CACHE-8", "CACHE-9",
    "CACHE-10", "CACHE-11", "CACHE-12", "CACHE-13", "CACHE-14", "CACHE-15", "CACHE-16", "CACHE-17",
    "CACHE-18", "CACHE-19", "CACHE-20", "CACHE-21",
    // Logging
    "LOG-1", "LOG-4", "LOG-6", "LOG-7", "LOG-8",
    // Tasks and extensions
    "TASK-1", "TASK-4", "TASK-5", "TASK-6", "TASK-11", "TASK-12", "TASK-13", "TASK-15", "TASK-16",
    "TASK-17", "TASK-18", "TASK-21", "TASK-22", "TASK-26", "TASK-29", "TASK-31", "TASK-33",
    "LTASK-1", "LTASK-2", "LTASK-4", "LTASK-5", "LTASK-8", "LTASK-9", "LTASK-10", "LTASK-14",
    "LTASK-15", "LTASK-16", "LTASK-17", "EXT-2", "EXT-4", "EXT-5", "EXT-8", "EXT-10", "APPS-1",
    // Security and JSON Schema
    "SEC-1", "SEC-8", "SEC-9", "SEC-10", "SEC-11", "SEC-12", "SEC-13", "SEC-19", "SCHEMA-1",
    "SCHEMA-2", "SCHEMA-6",
    // Trace context
    "OTEL-1", "OTEL-2", "OTEL-4", "OTEL-5", "OTEL-7",
];

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The table's rows: an item, and its tests or who else bears the duty.
fn rows() -> Vec<(String, String)> {
    let table = fs::read_to_string(package().join("tests/spec.md")).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.splitn(2, " | ");
        let item = cells.next()?.to_owned();
        let is_item = item.contains('-') && item.chars().next()?.is_ascii_uppercase();
        is_item.then_some((item, cells.next()?.to_owned()))
    };
    table.lines().filter_map(row).collect()
}

/// `era::a_name` is in `tests/it/era.rs`, `protocol::meta::a_name` in `src/protocol/meta.rs`.
fn file_of(test: &str) -> PathBuf {
    let (module, _) = test.rsplit_once("::").unwrap_or_else(|| panic!("{test:?} has no module"));
    match module.contains("::") {
        false => package().join(format!("tests/it/{module}.rs")),
        true => package().join(format!("src/{}.rs", module.replace("::", "/"))),
    }
}

/// The comments above a test, and what is in it.
fn citations(source: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = source.lines().collect();
    let at = lines.iter().position(|line| line.contains(&format!("fn {name}(")))?;
    let indent = lines[at].len() - lines[at].trim_start().len();
    let end = format!("{}}}", &lines[at][..indent]);
    let is_above = |line: &&&str| matches!(line.trim().get(..2), Some("//" | "#["));
    let above = lines[..at].iter().rev().take_while(is_above);
    let inside = lines[at + 1..].iter().take_while(|line| **line != end);
    Some(above.chain(inside).copied().collect::<Vec<_>>().join("\n"))
}

/// Whether the text names the item, and not only one whose number goes on.
fn cites(text: &str, item: &str) -> bool {
    text.match_indices(item).any(|(at, _)| {
        !text[at + item.len()..].starts_with(|c: char| c.is_ascii_digit())
            && !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric())
    })
}

#[test]
fn every_duty_is_in_the_table() {
    let rows = rows();
    for item in REQUIRED {
        let count = rows.iter().filter(|(of, _)| of == item).count();
        assert_eq!(count, 1, "{item} stands in {count} rows");
    }
}

#[test]
fn every_test_in_the_table_exists_and_cites_its_item() {
    let mut wrong = Vec::new();
    for (item, cell) in rows() {
        let code = cell.split('`').skip(1).step_by(2);
        let mut tests = code.filter(|code| code.contains("::")).peekable();
        if tests.peek().is_none() {
            assert!(cell.split(' ').count() > 5, "{item}: no test, and no sentence: {cell:?}");
        }
        for test in tests {
            let path = file_of(test);
            let name = test.rsplit("::").next().unwrap_or_default();
            let source = fs::read_to_string(&path).unwrap_or_default();
            match citations(&source, name) {
                None => wrong.push(format!("{item}: there is no `{test}`")),
                Some(text) if !cites(&text, &item) => {
                    wrong.push(format!("{item}: `{test}` does not cite it"));
                }
                Some(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
