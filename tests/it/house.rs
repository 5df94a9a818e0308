//! The house: every floor imports only from the floors below it.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `src`, from the ground up.
const FLOORS: &[&[&str]] = &[
    &["error", "limits", "deadline"],
    &["threads"],
    &["protocol"],
    &["process", "net"],
    &["transport"],
    &["session"],
    &["client"],
    &["hub", "config"],
];

fn floor(room: &str) -> usize {
    let found = FLOORS.iter().position(|rooms| rooms.contains(&room));
    found.unwrap_or_else(|| panic!("`crate::{room}` is no room of the house"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What a line of code says after each `crate::`, up to the next separator.
fn mentions(line: &str) -> impl Iterator<Item = &str> {
    let code = if line.trim_start().starts_with("//") { "" } else { line };
    code.split("crate::").skip(1).map(|rest| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    })
}

#[test]
fn the_arrows_point_down() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&source, &mut paths);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in paths {
        let inside = path.strip_prefix(&source).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let room = first.strip_suffix(".rs").unwrap_or(first);
        if matches!(room, "lib" | "guide" | "bin") {
            continue;
        }
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            // `$crate::` is the same, in macros.
            for target in mentions(line) {
                seen += 1;
                if target != room && floor(target) >= floor(room) {
                    wrong.push(format!("{}:{}: {}", inside.display(), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} imports found: does this test still read the source?");
    assert!(wrong.is_empty(), "these reach up or across:\n{}", wrong.join("\n"));
}

/// The command is a user like any other.
#[test]
fn the_command_knows_only_the_public_api() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    let mut paths = Vec::new();
    files(&source, &mut paths);
    assert!(!paths.is_empty());
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("#[path"), "{} includes a file of the library", path.display());
    }
}
