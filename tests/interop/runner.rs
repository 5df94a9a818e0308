//! A package runner between umcp and the server: `npx` starts a shell, which starts the server.

use std::fs;
use std::process::Command;

use umcp::{Client, json};

use crate::{Directory, ends_by_itself, installed, server};

fn npx(package: &str, arguments: &[&str]) -> Vec<String> {
    let npm = installed("npm");
    let npx = ["npx", "--offline", "--prefix", &npm, package];
    npx.iter().chain(arguments).map(|word| (*word).to_owned()).collect()
}

/// How many processes have this word on their command line. A zombie has none.
fn processes_with(word: &str) -> usize {
    let has_it = |process: &fs::DirEntry| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    };
    fs::read_dir("/proc").unwrap().flatten().filter(has_it).count()
}

#[test]
fn a_server_behind_npx_ends_with_it() {
    let directory = Directory::new("npx");
    let mark = directory.path("");
    let client = Client::open(server(&npx("mcp-server-filesystem", &[&mark]))).unwrap();
    assert_eq!(client.list_tools().unwrap()[0].name, "read_file");
    assert!(processes_with(&mark) >= 2);
    ends_by_itself(&client);
    assert_eq!(processes_with(&mark), 0);
}

#[test]
fn a_server_behind_npx_that_ignores_the_end_of_its_stdin_is_told_to_end() {
    let directory = Directory::new("npx-busy");
    let mark = directory.path("");
    let client = Client::open(server(&npx("mcp-server-everything", &["stdio", &mark]))).unwrap();
    // Its timer keeps it running.
    let started = client.call_tool("toggle-simulated-logging", json!({})).unwrap();
    assert!(!started.is_error);
    assert!(processes_with(&mark) >= 2);
    let report = client.close();
    assert!(report.forced && !report.left_behind, "{report:?}");
    assert_eq!(processes_with(&mark), 0);
}

#[test]
fn the_command_leaves_nothing_behind_npx() {
    let directory = Directory::new("npx-command");
    let mark = directory.path("");
    fs::write(directory.path("notes.txt"), "read through npx").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_umcp"))
        .env("UMCP_CACHE_DIR", "")
        .args(["call", "read_text_file", &format!("path={}", directory.path("notes.txt")), "--"])
        .args(npx("mcp-server-filesystem", &[&mark]))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), "read through npx");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(processes_with(&mark), 0);
}
