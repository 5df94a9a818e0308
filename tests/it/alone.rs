//! Tests that run alone, in a process of their own: what it holds can be counted, and it can be
//! killed.

use std::process::{Command, Output};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::common::soon;

const ROLE: &str = "UMCP_TEST_ALONE";

/// What is left behind is looked for until then; it is gone within a few milliseconds.
const SETTLED: Duration = Duration::from_secs(5);

/// A test in a process of its own, with a role to play.
pub fn playing(test: &str, role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env_clear().env("PATH", env::var_os("PATH").unwrap()).env(ROLE, role);
    command
}

/// The role that this process plays, if any.
pub fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// Runs a test in a process that runs nothing else: returns its output, or `None` in there.
pub fn alone(test: &str, run: impl FnOnce() + Send + 'static) -> Option<Output> {
    alone_with(test, &[], run)
}

/// The same with more variables than a program needs.
pub fn alone_with(
    test: &str,
    variables: &[(&str, &str)],
    run: impl FnOnce() + Send + 'static,
) -> Option<Output> {
    if role().is_some() {
        soon(run);
        return None;
    }
    let output = playing(test, "alone").envs(variables.iter().copied()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{error}");
    Some(output)
}

/// Runs a test alone, at whose end its process holds no more than at its beginning.
pub fn leaves_nothing(test: &str, run: impl FnOnce() + Send + 'static) {
    alone(test, || {
        let before = Holdings::now();
        run();
        before.are_all_there_is();
    });
}

/// What this process holds. Nobody counts but on Linux.
#[derive(Debug, Default, PartialEq)]
pub struct Holdings {
    pub threads: usize,
    pub descriptors: usize,
    pub children: usize,
}

impl Holdings {
    pub fn now() -> Self {
        if !cfg!(target_os = "linux") {
            return Self::default();
        }
        let count = |what| fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
        Self {
            threads: count("task"),
            descriptors: count("fd"),
            children: children(std::process::id()).len(),
        }
    }

    /// A thread that has been joined may still be listed for a moment; nothing else may.
    pub fn are_all_there_is(&self) {
        until(|| Self::now().threads == self.threads);
        assert_eq!(Self::now(), *self, "threads, descriptors or children are left behind");
    }
}

/// What a process has started and not reaped, on Linux.
pub fn children(parent: u32) -> Vec<i32> {
    let is_child = |process: &i32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name, in parentheses, may contain anything.
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').nth(1));
        fields.flatten().is_some_and(|of| of == parent.to_string())
    };
    let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).filter(is_child).collect()
}

/// The most memory that this process has used so far, in bytes, on Linux.
pub fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.map(|line| line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap());
    assert_eq!(kib.is_some(), cfg!(target_os = "linux"));
    kib.unwrap_or_default() * 1024
}

/// Whether it is so after a moment.
pub fn until(is_so: impl Fn() -> bool) -> bool {
    let end = Instant::now() + SETTLED;
    while !is_so() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}
