//! The client's system calls per call, counted by strace.

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::{env, fs, process};

use crate::clients::Subject;
use crate::process::itself;
use crate::samples::interleave;
use crate::table::{Must, Row, Table};

/// Every figure is the median of so many: whether a thread that spins still has to go to sleep is
/// up to chance.
const ROUNDS: usize = 3;
/// Runs of two lengths tell the calls from the start and the end.
const SHORT: usize = 100;
const LONG: usize = 1100;

pub fn measure(table: &mut Table) {
    const FIGURE: &str = "system calls per call";
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    if !strace.is_ok_and(|status| status.success()) {
        return table.cannot(FIGURE, "needs strace");
    }
    let samples = interleave(ROUNDS, &Subject::ALL, |index| {
        let subject = Subject::ALL[index];
        (traced(subject, LONG) - traced(subject, SHORT)) / (LONG - SHORT) as f64
    });
    let umcp = samples.median(Subject::Umcp);
    table.add(Row::new(FIGURE).values(&samples, |count| format!("{count:.2}")).must(
        umcp,
        Must::AtMost(4.5),
        "",
    ));
}

fn traced(subject: Subject, calls: usize) -> f64 {
    let log = env::temp_dir().join(format!("umcp-syscalls-{}", process::id()));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none", "-o"]).arg(&log).arg(itself());
    strace.args(["--calls", subject.name(), &calls.to_string()]);
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

/// The program that is traced.
pub fn call(subject: Subject, calls: usize) {
    let mut call = subject.connect(64);
    (0..calls).for_each(|_| assert_eq!(call(), 64));
}
