//! Child processes: starting one, what it may see, and ending it with all it has started.

mod environment;
mod stderr;
#[cfg(unix)]
#[path = "unix.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};

pub(crate) use stderr::StderrTail;

/// What to start: an argument vector (no shell), variables, a directory.
#[derive(Clone, PartialEq)]
pub(crate) struct CommandLine {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    /// Set (`Some`) or removed (`None`), after the policy has been applied.
    pub(crate) env: BTreeMap<OsString, Option<OsString>>,
    pub(crate) inherit_env: bool,
    pub(crate) cwd: Option<PathBuf>,
}

impl CommandLine {
    pub(crate) fn new(program: &OsStr) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
            inherit_env: false,
            cwd: None,
        }
    }

    /// What people call the server when nobody gave it a name: its program, or what a program that
    /// only runs others was told to run. Any other argument may be a secret.
    pub(crate) fn name(&self) -> String {
        const RUNNERS: [&str; 8] =
            ["npx", "bunx", "uvx", "node", "bun", "deno", "python", "python3"];
        const BEFORE_A_NAME: [&str; 6] = ["-y", "--yes", "-m", "-u", "run", "tool"];
        let program = Path::new(&self.program);
        let stem = program.file_stem().unwrap_or(&self.program).to_string_lossy();
        let mut args = self.args.iter().map(|arg| arg.to_string_lossy());
        let run = args.find(|arg| !BEFORE_A_NAME.contains(&&**arg));
        match run.filter(|run| RUNNERS.contains(&&*stem) && !run.starts_with('-')) {
            // A package's name may have a slash in it; a file's path is not its name.
            Some(run) if run.starts_with('@') => run.into_owned(),
            Some(run) => run.rsplit(['/', '\\']).next().unwrap_or(&run).to_owned(),
            None => stem.into_owned(),
        }
    }
}

/// Arguments and values of variables may be secrets.
impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandLine")
            .field("program", &self.program)
            .field("args", &format_args!("<{} arguments>", self.args.len()))
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("inherit_env", &self.inherit_env)
            .field("cwd", &self.cwd)
            .finish()
    }
}

/// The ends of a new process's pipes.
pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
    /// The names of this program's variables that the process does not see.
    pub(crate) withheld: Vec<String>,
}

/// A process that leads a group of its own, and is ended with all of it.
pub(crate) struct Process(Mutex<State>);

struct State {
    child: Child,
    /// The process is no more, and its id means nothing.
    has_ended: bool,
    /// How it ended, unless somebody else has reaped it.
    status: Option<ExitStatus>,
}

impl Process {
    pub(crate) fn spawn(line: &CommandLine) -> Result<(Self, Pipes)> {
        let mut command = Command::new(&line.program);
        command
            .args(&line.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(cwd) = &line.cwd {
            command.current_dir(cwd);
        }
        let withheld = environment::apply(line, &mut command);
        system::own_group(&mut command);
        let mut child = command.spawn().map_err(|error| could_not_start(line, error))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let process = Self(Mutex::new(State { child, has_ended: false, status: None }));
        match pipes {
            (Some(stdin), Some(stdout), Some(stderr)) => {
                Ok((process, Pipes { stdin, stdout, stderr, withheld }))
            }
            _ => {
                process.kill();
                Err(Error::new(ErrorKind::Unreachable, "the new process has no pipes"))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn id(&self) -> u32 {
        self.lock().child.id()
    }

    /// Whether the process has ended by itself. Ends what it left behind in its group.
    pub(crate) fn has_ended(&self) -> bool {
        let mut state = self.lock();
        if !state.has_ended {
            match system::poll(&mut state.child) {
                Poll::Running => {}
                Poll::Ended => {
                    // Before reaping: until then the group's id cannot belong to anybody else.
                    system::kill_group(&mut state.child);
                    state.has_ended = true;
                    state.status = state.child.wait().ok();
                }
                // This program ignores SIGCHLD, or waits for children that are not its own.
                Poll::ReapedElsewhere => state.has_ended = true,
            }
        }
        state.has_ended
    }

    /// How the process ended, if it has and that is known.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.has_ended();
        self.lock().status
    }

    /// Waits for the process to end. Returns whether it has.
    pub(crate) fn wait(&self, until: Deadline) -> bool {
        const SHORTEST: Duration = Duration::from_micros(200);
        const LONGEST: Duration = Duration::from_millis(20);
        let mut pause = SHORTEST;
        while !self.has_ended() {
            let left = until.remaining();
            if left.is_zero() {
                return false;
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST);
        }
        true
    }

    /// Asks the whole group to end.
    pub(crate) fn terminate(&self) {
        let mut state = self.lock();
        if !state.has_ended {
            system::terminate_group(&mut state.child);
        }
    }

    /// Ends the whole group by force and reaps the process.
    pub(crate) fn kill(&self) {
        let mut state = self.lock();
        if !state.has_ended {
            system::kill_group(&mut state.child);
        }
        drop(state);
        // The system ends it at once, unless it is stuck inside the system itself.
        const END: Duration = Duration::from_secs(1);
        self.wait(Deadline::after(END));
    }
}

/// What there is to know of a process without waiting.
#[cfg_attr(windows, allow(dead_code))]
enum Poll {
    Running,
    /// It has ended, and is still to be reaped.
    Ended,
    ReapedElsewhere,
}

fn could_not_start(line: &CommandLine, error: io::Error) -> Error {
    let program = line.program.to_string_lossy();
    let hint = match error.kind() {
        io::ErrorKind::NotFound if line.cwd.as_ref().is_some_and(|cwd| !cwd.is_dir()) => {
            "The directory to start it in does not exist"
        }
        io::ErrorKind::NotFound => "Is it installed, and on PATH?",
        io::ErrorKind::PermissionDenied => "Is it executable?",
        _ => "Check the command",
    };
    Error::new(ErrorKind::Unreachable, format!("could not start `{program}`: {error}"))
        .hint(hint)
        .source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_by_what_is_run() {
        for (words, name) in [
            (&["/usr/bin/my-server", "--flag", "file"][..], "my-server"),
            (&["npx", "-y", "@scope/server-x"], "@scope/server-x"),
            (&["/opt/node", "dist/index.js", "stdio"], "index.js"),
            (&["uvx"], "uvx"),
            (&["npx", "--token", "hunter2", "pkg"], "npx"),
            (&["python3", "-c", "login('hunter2')"], "python3"),
            (&["python3", "-m", "my_server"], "my_server"),
            (&["my-server", "hunter2"], "my-server"),
        ] {
            let mut line = CommandLine::new(OsStr::new(words[0]));
            line.args = words[1..].iter().map(OsString::from).collect();
            assert_eq!(line.name(), name);
        }
    }
}
