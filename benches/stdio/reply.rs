//! A reply of 10 MiB.

use crate::clients::Subject;
use crate::support::receiver::{self, Receiver};
use crate::support::samples::interleave;
use crate::support::table::{Must, Row, Table};

pub const SIZE: usize = 10 * 1024 * 1024;
const ROUNDS: usize = 30;

pub fn measure(table: &mut Table) {
    let start = |subject: Subject| Receiver::start(&["--receive", subject.name()]);
    let mut receivers = Subject::ALL.map(start);
    let samples = interleave(ROUNDS, &Subject::ALL, |index| receivers[index].time());
    receivers.into_iter().for_each(Receiver::end);
    table.add(
        Row::new("reply of 10 MiB")
            .values(&samples, |value| format!("{:.1} ms", value / 1e3))
            .against(Subject::Floor, &samples, Some(Must::AtMost(1.3))),
    );
}

/// The process that receives it.
pub fn receive(subject: Subject) {
    receiver::receive(subject.connect(SIZE), SIZE);
}
