//! What the system says of processes. What only Linux says is `None` elsewhere.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// This program, to be started again.
pub fn itself() -> PathBuf {
    env::current_exe().unwrap()
}

/// The CPU that servers are to run on; `NO_CPU` if that does not matter.
static SERVERS_RUN_ON: AtomicUsize = AtomicUsize::new(NO_CPU);
const NO_CPU: usize = usize::MAX;

/// What makes this program a server, of the kind that the words say.
pub fn server_arguments(words: &[&str]) -> Vec<String> {
    let words = ["--serve"].iter().chain(words);
    let mut arguments: Vec<String> = words.map(|word| (*word).to_owned()).collect();
    let cpu = SERVERS_RUN_ON.load(Ordering::Relaxed);
    arguments.extend((cpu != NO_CPU).then(|| cpu.to_string()));
    arguments
}

/// This program in one of its other roles.
pub fn role(words: &[&str]) -> Command {
    let mut command = Command::new(itself());
    command.args(words);
    command
}

/// A number in a file of the kind that `/proc/self/status` is.
fn number(path: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The most memory that this process has had, in MiB.
pub fn peak_memory() -> Option<f64> {
    Some(number("/proc/self/status", "VmHWM")? as f64 / 1024.0)
}

/// The memory that a process has, in MiB. The figure in `status` is off by up to 128 KiB per CPU.
pub fn memory(process: u32) -> Option<f64> {
    Some(number(&format!("/proc/{process}/smaps_rollup"), "Rss")? as f64 / 1024.0)
}

/// How many threads a process has.
pub fn threads(process: u32) -> Option<u64> {
    number(&format!("/proc/{process}/status"), "Threads")
}

/// How often the threads of a process have been switched away from.
pub fn switches(process: u32) -> Option<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{process}/task")).ok()? {
        let path = task.ok()?.path().join("status");
        let path = path.to_str()?;
        sum += number(path, "voluntary_ctxt_switches")?;
        sum += number(path, "nonvoluntary_ctxt_switches")?;
    }
    Some(sum)
}

/// Runs something, and all threads that it starts, on one CPU, and the servers that it starts on
/// the same or on another. Where the scheduler chooses, it puts a client and its server now on one
/// CPU and now on two, which makes the figures incomparable. `None` if that cannot be done.
#[cfg(target_os = "linux")]
pub fn pinned<R>(cpus: usize, run: impl FnOnce() -> R) -> Option<R> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let before = sched_getaffinity(None).ok()?;
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|cpu| before.is_set(*cpu));
    let ours = allowed.next()?;
    let theirs = if cpus == 1 { ours } else { allowed.next()? };
    pin_to(ours)?;
    SERVERS_RUN_ON.store(theirs, Ordering::Relaxed);
    let result = run();
    SERVERS_RUN_ON.store(NO_CPU, Ordering::Relaxed);
    sched_setaffinity(None, &before).ok()?;
    Some(result)
}

#[cfg(not(target_os = "linux"))]
pub fn pinned<R>(_cpus: usize, _run: impl FnOnce() -> R) -> Option<R> {
    None
}

/// Keeps this thread on one CPU.
#[cfg(target_os = "linux")]
pub fn pin_to(cpu: usize) -> Option<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};

    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).ok()
}

#[cfg(not(target_os = "linux"))]
pub fn pin_to(_cpu: usize) -> Option<()> {
    None
}
