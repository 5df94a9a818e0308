//! A process that holds idle connections, to be looked at.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use super::calls::Call;
use super::process::role;

/// What happens after the last call, such as a thread that goes to sleep, has happened by then.
const SETTLING: Duration = Duration::from_millis(300);

/// Looks at this program in the role that these words give it.
pub fn holding<R>(words: &[&str], look: impl FnOnce(u32) -> R) -> R {
    let mut command = role(words);
    let mut holder: Child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    thread::sleep(SETTLING);
    let seen = look(holder.id());
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    seen
}

/// That role: calls once over each connection, and holds them until stdin ends.
pub fn hold(mut calls: Vec<Call>, size: usize) {
    calls.iter_mut().for_each(|call| assert_eq!(call(), size));
    println!("ready");
    let _ = io::stdin().read(&mut [0]).unwrap();
}
