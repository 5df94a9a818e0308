//! Process groups. A child leads its own, so that a wrapper's children end with it, and a Ctrl-C
//! on the terminal is for the host to handle.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{self, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::guard::Share;
use super::pipe::timeout;
use super::{CommandLine, Exit, Poll};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::threads::Threads;

/// The processes that are ended together.
#[derive(Default)]
pub(super) struct Group {
    guard: Option<Share>,
}

impl Group {
    /// A group for what is about to be started.
    pub(super) fn prepare(line: &CommandLine, command: &mut Command) -> Result<Self> {
        command.process_group(0);
        let guard = line.guard.then(Share::new).transpose().map_err(no_guard)?;
        Ok(Self { guard })
    }

    /// The process has been started.
    pub(super) fn adopt(&mut self, child: &mut Child) -> Result<()> {
        let Some(share) = &mut self.guard else { return Ok(()) };
        share.add(child.id()).map_err(no_guard)
    }

    /// Asks all of them to end.
    pub(super) fn terminate(&mut self, child: &mut Child) {
        signal(child, Signal::TERM);
    }

    pub(super) fn kill(&mut self, child: &mut Child) {
        signal(child, Signal::KILL);
    }

    /// The group's id is about to mean nothing. What is returned may take a moment to drop.
    pub(super) fn disband(&mut self) -> Option<Share> {
        let mut share = self.guard.take();
        share.as_mut().map(Share::remove);
        share
    }
}

fn no_guard(error: io::Error) -> Error {
    let text = format!("could not start the guard for servers, `/bin/sh`: {error}");
    Error::new(ErrorKind::Unreachable, text)
        .hint("Without `guard` the server can be started, and may outlive a host that is killed")
        .source(error)
}

pub(super) fn command(line: &CommandLine) -> Command {
    Command::new(&line.program)
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

/// A descriptor that becomes readable when a process ends, and what makes it do so.
pub(super) struct ExitWatch {
    fd: Exit,
    threads: Threads,
}

impl ExitWatch {
    pub(super) fn of(child: &Child) -> Option<Self> {
        let pid = pid(child)?;
        Self::by_system(pid).or_else(|| Self::by_thread(pid))
    }

    #[cfg(target_os = "linux")]
    fn by_system(pid: Pid) -> Option<Self> {
        use rustix::process::{PidfdFlags, pidfd_open};
        let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Self { fd: Arc::new(fd), threads: Threads::default() })
    }

    /// A kqueue would be one, but there is no way to ask it for an exit without `unsafe`.
    #[cfg(not(target_os = "linux"))]
    fn by_system(_pid: Pid) -> Option<Self> {
        None
    }

    /// For systems that have no such descriptor (macOS, the BSDs, Linux before 5.3): a pipe whose
    /// other end a thread holds. The thread ends with the process.
    fn by_thread(pid: Pid) -> Option<Self> {
        let (reader, writer) = io::pipe().ok()?;
        let threads = Threads::default();
        let wait = move || {
            let _writer = writer;
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
        };
        threads.spawn("umcp-exit", wait).ok()?;
        Some(Self { fd: Arc::new(reader.into()), threads })
    }

    pub(super) fn exit(&self) -> Exit {
        self.fd.clone()
    }

    /// The process has ended.
    pub(super) fn end(self) {
        const AT_ONCE: Duration = Duration::from_secs(1);
        self.threads.join(Deadline::after(AT_ONCE));
    }
}

/// Waits for an exit, and perhaps not for all of the time. Returns whether there is nothing more to
/// wait for.
pub(super) fn wait_for(exit: &Exit, at_most: Duration) -> bool {
    match event::poll(&mut [PollFd::new(exit, PollFlags::IN)], timeout(at_most).as_ref()) {
        Ok(ready) => ready > 0,
        Err(error) => error != Errno::INTR,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn an_exit_can_be_waited_for_with_either_kind_of_descriptor() {
        let mut kinds = 0;
        for kind in [ExitWatch::by_system, ExitWatch::by_thread] {
            let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            // Not every system has the first kind.
            let Some(exit) = kind(pid(&child).unwrap()) else { continue };
            kinds += 1;
            assert!(!wait_for(&exit.fd, Duration::ZERO));
            drop(child.stdin.take());
            assert!(wait_for(&exit.fd, LONG) && wait_for(&exit.fd, LONG));
            // It is still to be reaped.
            assert!(matches!(poll(&mut child), Poll::Ended));
            assert!(child.wait().unwrap().success());
            assert!(wait_for(&exit.fd, LONG));
            exit.end();
        }
        assert_ne!(kinds, 0);
    }

    #[test]
    fn a_process_that_is_gone_has_ended() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let exit = ExitWatch::by_thread(pid(&child).unwrap()).unwrap();
        assert!(wait_for(&exit.fd, LONG));
    }
}
