//! The client's system calls per call. The server runs already: its own are not to be counted.

use std::net::SocketAddr;

use crate::clients::{Peer, Reply, Subject};
use crate::support::replies::text;
use crate::support::samples::interleave;
use crate::support::syscalls::{can_be_counted, per_call};
use crate::support::table::{Row, Table};

const ROUNDS: usize = 3;
const SIZE: usize = 64;

pub fn measure(table: &mut Table) {
    for reply in Reply::ALL {
        let figure = format!("system calls per call, {}", reply.name());
        if !can_be_counted() {
            return table.cannot(&figure, "needs strace");
        }
        let peer = Peer::start(reply, SIZE);
        let address = peer.address.to_string();
        let samples = interleave(ROUNDS, &Subject::ALL, |index| {
            per_call(&["--calls", Subject::ALL[index].name(), reply.name(), &address])
        });
        table.add(Row::new(figure).values(&samples, |count| format!("{count:.2}")).against(
            Subject::Alone,
            &samples,
            None,
        ));
    }
}

/// The program that is traced.
pub fn call(subject: Subject, reply: Reply, to: SocketAddr, calls: usize) {
    let mut call = subject.calls(to, reply, &text(SIZE), 1).remove(0);
    (0..calls).for_each(|_| assert_eq!(call(), SIZE));
}
