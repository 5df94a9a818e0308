//! Callers that share one connection, in calls per second.

use crate::clients::Subject;
use crate::support::calls::rate;
use crate::support::samples::interleave;
use crate::support::table::{Must, Row, Table};

const ROUNDS: usize = 15;
const CALLS: usize = 12_800;
const SIZE: usize = 64;

pub fn measure(table: &mut Table) {
    for callers in [1, 8, 64] {
        let subjects = Subject::SHARED;
        let mut calls = subjects.map(|subject| subject.share(SIZE, callers));
        for calls in &mut calls {
            rate(calls, CALLS, SIZE);
        }
        let samples = interleave(ROUNDS, &subjects, |index| rate(&mut calls[index], CALLS, SIZE));
        let plural = if callers == 1 { "" } else { "s" };
        table.add(
            Row::new(format!("{callers} caller{plural}"))
                .values(&samples, |rate| format!("{:.0} k/s", rate / 1e3))
                .against(Subject::Reference, &samples, (callers > 1).then_some(Must::AtLeast(0.8))),
        );
    }
}
