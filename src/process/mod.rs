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
    /// only runs others was told to run.
    pub(crate) fn name(&self) -> String {
        const RUNNERS: [&str; 8] =
            ["npx", "bunx", "uvx", "node", "bun", "deno", "python", "python3"];
        let program = Path::new(&self.program);
        let stem = program.file_stem().unwrap_or(&self.program).to_string_lossy();
        let is_name = |arg: &&OsString| !arg.to_string_lossy().starts_with('-');
        match self.args.iter().find(is_name) {
            Some(run) if RUNNERS.contains(&&*stem) => {
                let run = run.to_string_lossy();
                // A package's name may have a slash in it; a file's path is not its name.
                match run.starts_with('@') {
                    true => run.into_owned(),
                    false => run.rsplit(['/', '\\']).next().unwrap_or(&run).to_owned(),
                }
            }
            _ => stem.into_owned(),
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
    /// Set once the process has been reaped; its id means nothing from then on.
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
        let process = Self(Mutex::new(State { child, status: None }));
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

    /// How the process ended, if it has. Ends what it left behind in its group.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        let mut state = self.lock();
        if state.status.is_none() && system::has_exited(&mut state.child) {
            // Before reaping: until then the group's id cannot belong to anybody else.
            system::kill_group(&mut state.child);
            state.status = state.child.wait().ok();
        }
        state.status
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&self, until: Deadline) -> Option<ExitStatus> {
        const SHORTEST: Duration = Duration::from_micros(200);
        const LONGEST: Duration = Duration::from_millis(20);
        let mut pause = SHORTEST;
        loop {
            if let Some(status) = self.status() {
                return Some(status);
            }
            let left = until.remaining();
            if left.is_zero() {
                return None;
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// Asks the whole group to end.
    pub(crate) fn terminate(&self) {
        let mut state = self.lock();
        if state.status.is_none() {
            system::terminate_group(&mut state.child);
        }
    }

    /// Ends the whole group by force and reaps the process.
    pub(crate) fn kill(&self) -> Option<ExitStatus> {
        let mut state = self.lock();
        if state.status.is_none() {
            system::kill_group(&mut state.child);
        }
        drop(state);
        // The system ends it at once, unless it is stuck inside the system itself.
        const END: Duration = Duration::from_secs(1);
        self.wait(Deadline::after(END))
    }
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
        ] {
            let mut line = CommandLine::new(OsStr::new(words[0]));
            line.args = words[1..].iter().map(OsString::from).collect();
            assert_eq!(line.name(), name);
        }
    }
}
