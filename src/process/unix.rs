//! Process groups. A child leads its own, so that a wrapper's children end with it, and a Ctrl-C
//! on the terminal is for the host to handle.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

pub(super) fn own_group(command: &mut Command) {
    command.process_group(0);
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Whether the child has ended, without reaping it.
pub(super) fn has_exited(child: &mut Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    pid(child).is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = pid(child) {
        // It fails when nobody of the group is left, which is what is wanted.
        let _ = kill_process_group(pid, signal);
    }
}

pub(super) fn terminate_group(child: &mut Child) {
    signal(child, Signal::TERM);
}

pub(super) fn kill_group(child: &mut Child) {
    signal(child, Signal::KILL);
}
