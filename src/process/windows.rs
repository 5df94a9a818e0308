//! Job objects. A child is put into one of its own, which ends everything in it when its last
//! handle is closed: also when this program dies in whatever way.
//!
//! A job may be inside another one (since Windows 8), so it does not matter that many programs, CI
//! runners among them, live in one already. What a server has started before it was assigned, in
//! the moment after its start, is not in the job; to start it suspended needs `unsafe`.

use std::env;
use std::os::windows::io::AsRawHandle;
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

use win32job::{ExtendedLimitInfo, Job, JobError};

use super::{CommandLine, Exit, Poll};
use crate::error::{Error, ErrorKind, Result};

/// The processes that are ended together.
pub(super) struct Group(Option<Job>);

impl Group {
    /// A group for what is about to be started.
    pub(super) fn prepare(_line: &CommandLine, command: &mut Command) -> Result<Self> {
        /// CREATE_NO_WINDOW: a program without a console shows none for its servers.
        const NO_WINDOW: u32 = 0x0800_0000;
        command.creation_flags(NO_WINDOW);
        let mut limits = ExtendedLimitInfo::new();
        limits.limit_kill_on_job_close();
        let job = Job::create_with_limit_info(&limits).map_err(no_job)?;
        Ok(Self(Some(job)))
    }

    /// The process has been started.
    pub(super) fn adopt(&mut self, child: &mut Child) -> Result<()> {
        let Some(job) = &self.0 else { return Ok(()) };
        match job.assign_process(child.as_raw_handle() as isize) {
            // A process that has ended already cannot be assigned, and says for itself why it has.
            Err(error) if matches!(poll(child), Poll::Running) => Err(no_job(error)),
            _ => Ok(()),
        }
    }

    /// Windows has no way to ask a program without windows to end.
    pub(super) fn terminate(&mut self, child: &mut Child) {
        self.kill(child);
    }

    pub(super) fn kill(&mut self, child: &mut Child) {
        // First, so that its status says that it was ended. It fails when the process has already
        // ended, which is what is wanted.
        let _ = child.kill();
        // Closes the only handle.
        self.0 = None;
    }

    pub(super) fn disband(&mut self) -> Option<Share> {
        None
    }
}

/// There is none: the job needs no guard.
pub(super) enum Share {}

fn no_job(error: JobError) -> Error {
    let text = format!("no job object for the server: {error}");
    Error::new(ErrorKind::Unreachable, text).source(error)
}

/// Finds what `PATHEXT` is for, such as `npx.cmd`. Given a batch file's full name, the standard
/// library escapes the arguments for it.
pub(super) fn command(line: &CommandLine) -> Command {
    let set = line.env.iter().find(|(name, _)| name.eq_ignore_ascii_case("PATH"));
    let path = set.and_then(|(_, value)| value.clone()).or_else(|| env::var_os("PATH"));
    let mut directory = env::current_dir().unwrap_or_default();
    directory.extend(&line.cwd);
    // What is not found here, the system looks for in places of its own.
    match which::which_in(&line.program, path, directory) {
        Ok(found) => Command::new(found),
        Err(_) => Command::new(&line.program),
    }
}

pub(super) fn poll(child: &mut Child) -> Poll {
    match child.try_wait() {
        Ok(None) => Poll::Running,
        _ => Poll::Ended,
    }
}

/// There is no descriptor: an exit is looked for from time to time.
pub(super) enum ExitWatch {}

impl ExitWatch {
    pub(super) fn of(_child: &Child) -> Option<Self> {
        None
    }

    pub(super) fn exit(&self) -> Exit {
        match *self {}
    }

    pub(super) fn end(self) {
        match self {}
    }
}

pub(super) fn wait_for(exit: &Exit, _at_most: Duration) -> bool {
    match *exit {}
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;
    use std::{fs, process};

    use super::*;

    #[test]
    fn a_batch_file_is_found_by_its_bare_name() {
        let folder = env::temp_dir().join(format!("umcp-which-{}", process::id()));
        fs::create_dir(&folder).unwrap();
        let tool = folder.join("umcp-tool.cmd");
        fs::write(&tool, "@exit /b 5\r\n").unwrap();
        let mut line = CommandLine::new(OsStr::new("umcp-tool"));
        line.env.insert("Path".into(), Some(folder.clone().into()));
        assert_eq!(Path::new(command(&line).get_program()), tool);
        assert_eq!(command(&line).status().unwrap().code(), Some(5));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_not_on_the_path_is_left_to_the_system() {
        let line = CommandLine::new(OsStr::new("umcp-no-such-tool"));
        assert_eq!(command(&line).get_program(), "umcp-no-such-tool");
    }

    #[test]
    fn a_group_ends_when_it_is_dropped() {
        let line = CommandLine::new(OsStr::new("ping"));
        let mut command = command(&line);
        let mut group = Group::prepare(&line, &mut command).unwrap();
        let mut child = command.args(["-n", "1000", "127.0.0.1"]).spawn().unwrap();
        group.adopt(&mut child).unwrap();
        assert!(matches!(poll(&mut child), Poll::Running));
        drop(group);
        child.wait().unwrap();
    }
}
