//! A reply of 10 MiB.

use crate::clients::{Reply, Subject};
use crate::support::receiver::{self, Receiver};
use crate::support::samples::interleave;
use crate::support::table::{Must, Row, Table};

const SIZE: usize = 10 * 1024 * 1024;
const ROUNDS: usize = 20;

pub fn measure(table: &mut Table) {
    for reply in Reply::ALL {
        let start =
            |subject: Subject| Receiver::start(&["--receive", subject.name(), reply.name()]);
        let mut receivers = Subject::ALL.map(start);
        let samples = interleave(ROUNDS, &Subject::ALL, |index| receivers[index].time());
        receivers.into_iter().for_each(Receiver::end);
        table.add(
            Row::new(format!("reply of 10 MiB, {}", reply.name()))
                .values(&samples, |value| format!("{:.1} ms", value / 1e3))
                .against(Subject::Alone, &samples, Some(Must::AtMost(1.2))),
        );
    }
}

/// The process that receives it.
pub fn receive(subject: Subject, reply: Reply) {
    receiver::receive(subject.connect(reply, SIZE), SIZE);
}
