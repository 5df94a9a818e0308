//! Child processes: starting one, what it may see, and ending it with all it has started.

mod environment;
#[cfg(unix)]
mod guard;
mod pipe;
mod stderr;
mod stderr_lines;
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
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};

pub(crate) use pipe::{Exit, Interrupt, PipeReader, PipeWriter, Ready};
pub(crate) use stderr::StderrTail;
pub(crate) use stderr_lines::{StderrSink, line_queue};
use system::{ExitWatch, Group};

/// What to start: an argument vector (no shell), variables, a directory.
#[derive(Clone)]
pub(crate) struct CommandLine {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    /// Set (`Some`) or removed (`None`), after the policy has been applied.
    pub(crate) env: BTreeMap<OsString, Option<OsString>>,
    pub(crate) inherit_env: bool,
    pub(crate) cwd: Option<PathBuf>,
    /// Whether it is ended when this program is killed. On Windows every one is.
    #[cfg_attr(windows, allow(dead_code))]
    pub(crate) guard: bool,
    pub(crate) stderr: StderrSink,
}

impl CommandLine {
    pub(crate) fn new(program: &OsStr) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
            inherit_env: false,
            cwd: None,
            guard: false,
            stderr: StderrSink::default(),
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
            // A package's name may have a slash in it.
            Some(run) if run.starts_with('@') => run.into_owned(),
            Some(run) => name_of_script(&run),
            None => stem.into_owned(),
        }
    }
}

/// What is started, for people: the program, and how many arguments, which may be secrets.
impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program.to_string_lossy())?;
        match self.args.len() {
            0 => Ok(()),
            1 => f.write_str(" (1 argument)"),
            more => write!(f, " ({more} arguments)"),
        }
    }
}

/// A script's package, or its file's name, or that of a folder above it if its own says nothing.
fn name_of_script(path: &str) -> String {
    const SAY_NOTHING: [&str; 8] =
        ["index", "main", "server", "cli", "dist", "build", "src", "bin"];
    let parts: Vec<&str> = path.split(['/', '\\']).filter(|part| !part.is_empty()).collect();
    let package = parts.iter().rposition(|part| *part == "node_modules");
    match package.and_then(|at| parts.get(at + 1..)).unwrap_or_default() {
        [scope, name, ..] if scope.starts_with('@') => return format!("{scope}/{name}"),
        [name, _, ..] => return (*name).to_owned(),
        _ => {}
    }
    let says_something = |part: &&&str| {
        let stem = part.split('.').next().unwrap_or_default();
        !stem.is_empty() && !SAY_NOTHING.contains(&stem)
    };
    let told = parts.iter().rev().find(says_something).or(parts.last());
    told.map_or_else(|| path.to_owned(), |part| (*part).to_owned())
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
            .field("guard", &self.guard)
            .finish()
    }
}

/// The ends of a new process's pipes.
pub(crate) struct Pipes {
    pub(crate) stdin: PipeWriter,
    pub(crate) stdout: PipeReader,
    pub(crate) stderr: PipeReader,
    /// Ends waits on them.
    pub(crate) interrupt: Arc<Interrupt>,
    /// The names of this program's variables that the process does not see.
    pub(crate) withheld: Vec<String>,
}

impl Pipes {
    fn of(child: &mut Child, withheld: Vec<String>) -> io::Result<Self> {
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let interrupt = Arc::new(Interrupt::new()?);
        Ok(Self {
            stdin: PipeWriter::new(stdin, &interrupt)?,
            stdout: PipeReader::new(stdout, &interrupt)?,
            stderr: PipeReader::new(stderr, &interrupt)?,
            interrupt,
            withheld,
        })
    }
}

/// A process that leads a group of its own, and is ended with all of it.
pub(crate) struct Process(Mutex<State>);

struct State {
    child: Child,
    group: Group,
    /// The process is no more, and its id means nothing.
    has_ended: bool,
    /// How it ended, unless somebody else has reaped it.
    status: Option<ExitStatus>,
    /// Held until it has ended.
    exit: Option<ExitWatch>,
}

impl Process {
    pub(crate) fn spawn(line: &CommandLine) -> Result<(Self, Pipes)> {
        let mut command = system::command(line);
        command
            .args(&line.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(cwd) = &line.cwd {
            command.current_dir(cwd);
        }
        let withheld = environment::apply(line, &mut command);
        let mut group = Group::prepare(line, &mut command)?;
        let mut child = command.spawn().map_err(|error| could_not_start(line, error))?;
        let adopted = group.adopt(&mut child);
        let pipes = adopted.and_then(|()| {
            Pipes::of(&mut child, withheld).map_err(|error| {
                let text = format!("no pipes to `{}`: {error}", line.program.to_string_lossy());
                Error::new(ErrorKind::Unreachable, text).source(error)
            })
        });
        let process = Self::new(child, group);
        match pipes {
            Ok(pipes) => Ok((process, pipes)),
            Err(error) => {
                process.kill();
                Err(error)
            }
        }
    }

    fn new(child: Child, group: Group) -> Self {
        let exit = ExitWatch::of(&child);
        Self(Mutex::new(State { child, group, has_ended: false, status: None, exit }))
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
        let State { child, group, has_ended, status, exit } = &mut *state;
        if *has_ended {
            return true;
        }
        // Dropped once the state is unlocked.
        let _disbanded = match system::poll(child) {
            Poll::Running => return false,
            // Before reaping: until then the group's id cannot belong to anybody else.
            Poll::Ended => {
                group.kill(child);
                let disbanded = group.disband();
                *status = child.wait().ok();
                disbanded
            }
            // This program ignores SIGCHLD, or waits for children that are not its own.
            Poll::ReapedElsewhere => group.disband(),
        };
        *has_ended = true;
        let exit = exit.take();
        drop(state);
        if let Some(exit) = exit {
            exit.end();
        }
        true
    }

    /// How the process ended, if it has and that is known.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.has_ended();
        self.lock().status
    }

    /// What a wait for a pipe can be ended by when the process ends. `None` if it has, or if there
    /// is no such thing.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.lock().exit.as_ref().map(ExitWatch::exit)
    }

    /// Waits for the process to end. Returns whether it has.
    pub(crate) fn wait(&self, until: Deadline) -> bool {
        const SHORTEST: Duration = Duration::from_micros(200);
        const LONGEST: Duration = Duration::from_millis(20);
        let mut pause = SHORTEST;
        let mut exit = self.lock().exit.as_ref().map(ExitWatch::exit);
        while !self.has_ended() {
            let left = until.remaining();
            if left.is_zero() {
                return false;
            }
            match &exit {
                // One that is readable too early, as under a debugger, is not asked again.
                Some(fd) if system::wait_for(fd, left) => exit = None,
                Some(_) => {}
                None => {
                    thread::sleep(pause.min(left));
                    pause = (pause * 2).min(LONGEST);
                }
            }
        }
        true
    }

    /// Asks the whole group to end.
    pub(crate) fn terminate(&self) {
        let State { child, group, has_ended, .. } = &mut *self.lock();
        if !*has_ended {
            group.terminate(child);
        }
    }

    /// Ends the whole group by force and reaps the process.
    pub(crate) fn kill(&self) {
        let mut state = self.lock();
        let State { child, group, has_ended, .. } = &mut *state;
        if !*has_ended {
            group.kill(child);
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
            (&["node", "../my-server/dist/index.js"], "my-server"),
            (&["python", "/srv/files/notes.py"], "notes.py"),
            (&["node", "a/node_modules/@scope/server-x/dist/index.js"], "@scope/server-x"),
            (&["node", "node_modules/server-x/index.js"], "server-x"),
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

    /// Looking from time to time would wake up twenty times.
    #[cfg(target_os = "linux")]
    #[test]
    fn waiting_for_a_process_sleeps() {
        let wakes = || -> u32 {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let count =
                status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            count.unwrap().trim().parse().unwrap()
        };
        let (process, pipes) = Process::spawn(&CommandLine::new(OsStr::new("cat"))).unwrap();
        let before = wakes();
        assert!(!process.wait(Deadline::after(Duration::from_millis(300))));
        let woken = wakes() - before;
        assert!(woken <= 5, "woken {woken} times");
        assert!(process.exit().is_some());
        drop(pipes);
        assert!(process.wait(Deadline::after(Duration::from_secs(30))));
        assert!(process.exit().is_none());
    }
}
