//! A server's process, and the pipes to it.

use std::io::BufReader;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::support::process::{itself, server_arguments};

pub struct Server(Child);

pub fn start(size: usize) -> (Server, ChildStdin, BufReader<ChildStdout>) {
    let mut command = Command::new(itself());
    command
        .args(server_arguments(&[&size.to_string()]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (Server(child), stdin, BufReader::with_capacity(64 * 1024, stdout))
}

/// The server ends with its stdin, which whoever holds both drops first.
impl Drop for Server {
    fn drop(&mut self) {
        self.0.wait().unwrap();
    }
}
