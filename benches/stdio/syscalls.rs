//! The client's system calls per call.

use crate::clients::Subject;
use crate::support::samples::interleave;
use crate::support::syscalls::{can_be_counted, per_call};
use crate::support::table::{Must, Row, Table};

/// Every figure is the median of so many: whether a thread that spins still has to go to sleep is
/// up to chance.
const ROUNDS: usize = 3;

pub fn measure(table: &mut Table) {
    const FIGURE: &str = "system calls per call";
    if !can_be_counted() {
        return table.cannot(FIGURE, "needs strace");
    }
    let samples = interleave(ROUNDS, &Subject::ALL, |index| {
        per_call(&["--calls", Subject::ALL[index].name()])
    });
    let umcp = samples.median(Subject::Umcp);
    table.add(Row::new(FIGURE).values(&samples, |count| format!("{count:.2}")).must(
        umcp,
        Must::AtMost(4.5),
        "",
    ));
}

/// The program that is traced.
pub fn call(subject: Subject, calls: usize) {
    let mut call = subject.connect(64);
    (0..calls).for_each(|_| assert_eq!(call(), 64));
}
