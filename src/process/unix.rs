//! Process groups. A child leads its own, so that a wrapper's children end with it, and a Ctrl-C
//! on the terminal is for the host to handle.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::Poll;

pub(super) fn own_group(command: &mut Command) {
    command.process_group(0);
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Looks without reaping.
pub(super) fn poll(child: &mut Child) -> Poll {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let Some(pid) = pid(child) else { return Poll::ReapedElsewhere };
    match waitid(WaitId::Pid(pid), options) {
        Ok(None) | Err(Errno::INTR) => Poll::Running,
        Ok(Some(_)) => Poll::Ended,
        Err(_) => Poll::ReapedElsewhere,
    }
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
