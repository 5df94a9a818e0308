//! Callers that share one client, in calls per second.

use crate::clients::{Reply, Subject};
use crate::support::calls::rate;
use crate::support::samples::interleave;
use crate::support::table::{Must, Row, Table};

const ROUNDS: usize = 15;
const CALLS: usize = 6400;
const SIZE: usize = 64;
const CALLERS: usize = 8;

pub fn measure(table: &mut Table) {
    for reply in Reply::ALL {
        let mut calls = Subject::ALL.map(|subject| subject.share(reply, SIZE, CALLERS));
        for calls in &mut calls {
            rate(calls, CALLS, SIZE);
        }
        let samples =
            interleave(ROUNDS, &Subject::ALL, |index| rate(&mut calls[index], CALLS, SIZE));
        table.add(
            Row::new(format!("{CALLERS} callers, {}", reply.name()))
                .values(&samples, |rate| format!("{:.0} k/s", rate / 1e3))
                .against(Subject::Alone, &samples, Some(Must::AtLeast(0.8))),
        );
    }
}
