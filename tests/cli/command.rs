//! Running the command with a watchdog.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// Longer than anything takes.
pub const WATCHDOG: Duration = Duration::from_secs(30);

pub const ERAS: [&str; 3] = ["modern", "legacy", "both"];

/// How a run of the command ended.
#[derive(Debug)]
pub struct Ended {
    pub stdout: Vec<u8>,
    pub stderr: String,
    /// `None` if a signal ended it.
    pub status: Option<i32>,
}

impl Ended {
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The one JSON document that stdout is.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert!(self.stdout.ends_with(b"\n"), "{self:?}");
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The command, to be run.
pub fn umcp(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_umcp"));
    command.args(words).env_remove("RUST_LOG");
    // The user's own cache is none of the tests' business.
    command.env("UMCP_CACHE_DIR", "");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Words for a shell, split at spaces, and the example server.
pub fn example(era: &str, words: &str) -> Command {
    let mut command = umcp(words.split(' '));
    command.arg("--").arg(example_server()).args(["--serve", era]);
    command
}

/// Words one by one, and the example server.
pub fn example_words(era: &str, words: &[&str]) -> Command {
    let mut command = umcp(words);
    command.arg("--").arg(example_server()).args(["--serve", era]);
    command
}

/// The example server that was built beside this test.
pub fn example_server() -> PathBuf {
    // target/<profile>/deps/cli-<hash>
    let mut path = env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(format!("basic_client{}", env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: run `cargo build --examples`", path.display());
    path
}

/// Runs the command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    Running::start(command).end()
}

/// Runs the command to its end, with something on its stdin.
#[track_caller]
pub fn run_with_stdin(command: &mut Command, text: &str) -> Ended {
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let mut stdin = running.child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    running.end()
}

/// A run of the command. Dropped, it is killed.
pub struct Running {
    pub child: Child,
    stdout: Option<Receiver<Vec<u8>>>,
    stderr: Receiver<String>,
    seen: String,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self::of(command.spawn().unwrap())
    }

    /// What is not piped is not seen.
    pub fn of(mut child: Child) -> Self {
        let stdout = child.stdout.take().map(|mut stdout| {
            let (sender, receiver) = mpsc::channel();
            thread::spawn(move || {
                let mut bytes = Vec::new();
                stdout.read_to_end(&mut bytes).unwrap();
                let _ = sender.send(bytes);
            });
            receiver
        });
        let (sender, stderr) = mpsc::channel();
        if let Some(pipe) = child.stderr.take() {
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines() {
                    let _ = sender.send(line.unwrap() + "\n");
                }
            });
        }
        Self { child, stdout, stderr, seen: String::new() }
    }

    /// Waits for a line on stderr that contains this.
    #[track_caller]
    pub fn line_with(&mut self, part: &str) -> String {
        loop {
            match self.stderr.recv_timeout(WATCHDOG) {
                Ok(line) => {
                    self.seen += &line;
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(error) => panic!("no {part:?} on stderr ({error}): {}", self.seen),
            }
        }
    }

    /// Waits for the end of its output, and so for its own.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let stdout = match self.stdout.take() {
            Some(stdout) => stdout.recv_timeout(WATCHDOG).expect("the command still runs"),
            None => Vec::new(),
        };
        let mut stderr = std::mem::take(&mut self.seen);
        loop {
            match self.stderr.recv_timeout(WATCHDOG) {
                Ok(line) => stderr += &line,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("the command still runs ({error}): {stderr}"),
            }
        }
        let status = self.child.wait().unwrap().code();
        Ended { stdout, stderr, status }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Reaped already, unless the watchdog bit.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file in the directory that Cargo keeps for tests.
pub fn file(name: &str, bytes: &[u8]) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path.into_os_string().into_string().unwrap()
}

/// A server that is a shell script.
#[cfg(unix)]
pub fn script(words: &str, script: &str) -> Command {
    let mut command = umcp(words.split(' '));
    command.args(["--", "sh", "-c", script]);
    command
}
