//! The floor: a typed request out, a typed result in, and no thread between them.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};

use super::pipes;
use crate::support::calls::Call;
use crate::support::wire;

pub struct Floor {
    // The server, which is waited for, ends with its stdin: that is dropped first.
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    next_id: u64,
    line: Vec<u8>,
    #[expect(dead_code, reason = "it is there to be dropped")]
    server: pipes::Server,
}

impl Floor {
    pub fn start(size: usize) -> Self {
        let (server, stdin, stdout) = pipes::start(size);
        Self { stdin, stdout, next_id: 1, line: Vec::new(), server }
    }

    /// Opens the connection as a client of that era does, with ready-made lines.
    pub fn open(&mut self, era: &str) {
        let lines: &[&str] = match era {
            "modern" => &[r#"{"jsonrpc":"2.0","id":0,"method":"server/discover","params":{}}"#],
            _ => &[
                r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            ],
        };
        for (index, line) in lines.iter().enumerate() {
            self.stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
            if index == 0 {
                self.read();
            }
        }
    }

    pub fn call(&mut self, text: &str) -> wire::CallResult {
        self.line.clear();
        wire::write_call(&mut self.line, self.next_id, text);
        self.line.push(b'\n');
        self.stdin.write_all(&self.line).unwrap();
        self.read();
        let response: wire::Response = serde_json::from_slice(&self.line).unwrap();
        assert_eq!(response.id, self.next_id);
        self.next_id += 1;
        response.result
    }

    fn read(&mut self) {
        self.line.clear();
        self.stdout.read_until(b'\n', &mut self.line).unwrap();
    }
}

pub fn connect(size: usize, argument: String) -> Call {
    let mut floor = Floor::start(size);
    Box::new(move || floor.call(&argument).size())
}
