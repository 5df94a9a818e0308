//! A server's process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::Reply;
use crate::support::process::{itself, server_arguments};

pub struct Peer {
    process: Child,
    pub address: SocketAddr,
}

impl Peer {
    pub fn start(reply: Reply, size: usize) -> Self {
        let mut command = Command::new(itself());
        command.args(server_arguments(&[reply.name(), &size.to_string()]));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, address: line.trim().parse().unwrap() }
    }
}

/// The server ends with its stdin.
impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}
