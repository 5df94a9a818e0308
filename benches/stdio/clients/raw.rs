//! A ready-made line out, a line in, nothing looked at.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};

use super::pipes;
use crate::support::calls::Call;
use crate::support::wire;

struct Raw {
    // The server, which is waited for, ends with its stdin: that is dropped first.
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    request: Vec<u8>,
    line: Vec<u8>,
    #[expect(dead_code, reason = "it is there to be dropped")]
    server: pipes::Server,
}

impl Raw {
    fn exchange(&mut self) {
        self.stdin.write_all(&self.request).unwrap();
        self.line.clear();
        self.stdout.read_until(b'\n', &mut self.line).unwrap();
    }
}

pub fn connect(size: usize, argument: &str) -> Call {
    let (server, stdin, stdout) = pipes::start(size);
    let mut request = Vec::new();
    wire::write_call(&mut request, 1, argument);
    request.push(b'\n');
    let mut raw = Raw { stdin, stdout, request, line: Vec::new(), server };
    Box::new(move || {
        raw.exchange();
        assert!(raw.line.len() > size);
        size
    })
}
