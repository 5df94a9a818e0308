//! A client's system calls, counted by strace.

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::{env, fs, process};

use super::process::itself;

/// Runs of two lengths tell the calls from the start and the end.
const SHORT: usize = 100;
const LONG: usize = 1100;

/// Whether there is strace.
pub fn can_be_counted() -> bool {
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    strace.is_ok_and(|status| status.success())
}

/// The system calls of one call. The words give this program a role in which it makes as many calls
/// as its last argument says.
pub fn per_call(words: &[&str]) -> f64 {
    (traced(words, LONG) - traced(words, SHORT)) / (LONG - SHORT) as f64
}

fn traced(words: &[&str], calls: usize) -> f64 {
    let log = env::temp_dir().join(format!("umcp-syscalls-{}", process::id()));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none", "-o"]).arg(&log).arg(itself());
    strace.args(words).arg(calls.to_string());
    assert!(strace.status().unwrap().success());
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    count(&text)
}

/// Lines of the client's threads. The server is the process that became another program.
fn count(log: &str) -> f64 {
    let lines = || log.lines().filter_map(|line| line.trim_start().split_once(' '));
    let client = lines().next().map(|(thread, _)| thread);
    let is_exec = |call: &str| call.trim_start().starts_with("execve(");
    let servers: HashSet<&str> = lines()
        .filter(|(thread, call)| Some(*thread) != client && is_exec(call))
        .map(|(thread, _)| thread)
        .collect();
    let is_ours = |(thread, call): &(&str, &str)| {
        !servers.contains(thread) && !call.contains(" resumed>") && !call.contains("+++")
    };
    lines().filter(is_ours).count() as f64
}
