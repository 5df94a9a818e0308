//! A process that receives huge replies. Every client has one of its own: what one leaves of the
//! heap decides how fast the next is.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::calls::{Call, p50};
use super::process::role;

const REPLIES: usize = 3;

pub struct Receiver {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Receiver {
    /// This program in the role that these words give it.
    pub fn start(words: &[&str]) -> Self {
        let mut command = role(words);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self { process, stdin, stdout }
    }

    /// How long it takes for one reply.
    pub fn time(&mut self) -> f64 {
        self.stdin.write_all(b"\n").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    pub fn end(mut self) {
        drop(self.stdin);
        assert!(self.process.wait().unwrap().success());
    }
}

/// That role: receives some replies for every line, and says how long one took.
pub fn receive(mut call: Call, size: usize) {
    (0..REPLIES).for_each(|_| assert_eq!(call(), size));
    for _ in io::stdin().lines() {
        println!("{}", p50(&mut call, REPLIES));
    }
}
