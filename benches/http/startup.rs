//! A program that connects, makes one call and closes: from its start to its end. The server runs
//! already.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Instant;

use crate::clients::{Peer, Reply, Subject};
use crate::support::process::role;
use crate::support::samples::interleave;
use crate::support::table::{Row, Table};

const ROUNDS: usize = 100;

pub fn measure(table: &mut Table) {
    let peer = Peer::start(Reply::Json, 64);
    let address = peer.address.to_string();
    let samples = interleave(ROUNDS, &Subject::ALL, |index| {
        let mut program = role(&["--once", Subject::ALL[index].name(), &address]);
        let start = Instant::now();
        assert!(program.stdin(Stdio::null()).status().unwrap().success());
        start.elapsed().as_secs_f64() * 1e3
    });
    table.add(
        Row::new("exec to exit, one call")
            .values(&samples, |value| format!("{value:.2} ms"))
            .against(Subject::Alone, &samples, None),
    );
}

/// That program.
pub fn once(subject: Subject, to: SocketAddr) {
    subject.run_once(to);
}
