//! A reply of 10 MiB. Every client has a process of its own: what one leaves of the heap decides
//! how fast the next is.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::clients::Subject;
use crate::process::role;
use crate::samples::{interleave, p50};
use crate::table::{Must, Row, Table};

pub const SIZE: usize = 10 * 1024 * 1024;
const ROUNDS: usize = 30;
const REPLIES: usize = 3;

pub fn measure(table: &mut Table) {
    let mut receivers = Subject::ALL.map(Receiver::start);
    let samples = interleave(ROUNDS, &Subject::ALL, |index| receivers[index].time());
    receivers.into_iter().for_each(Receiver::end);
    table.add(
        Row::new("reply of 10 MiB")
            .values(&samples, |value| format!("{:.1} ms", value / 1e3))
            .against(Subject::Floor, &samples, Some(Must::AtMost(1.3))),
    );
}

struct Receiver {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Receiver {
    fn start(subject: Subject) -> Self {
        let mut command = role(&["--receive", subject.name()]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self { process, stdin, stdout }
    }

    /// How long it takes for one reply.
    fn time(&mut self) -> f64 {
        self.stdin.write_all(b"\n").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    fn end(mut self) {
        drop(self.stdin);
        assert!(self.process.wait().unwrap().success());
    }
}

/// That process: receives some replies for every line, and says how long one took.
pub fn receive(subject: Subject) {
    let mut call = subject.connect(SIZE);
    (0..REPLIES).for_each(|_| assert_eq!(call(), SIZE));
    for _ in io::stdin().lines() {
        println!("{}", p50(&mut call, REPLIES));
    }
}
