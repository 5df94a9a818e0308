//! Callers that share one connection, in calls per second.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use crate::clients::{Call, Subject};
use crate::samples::interleave;
use crate::table::{Must, Row, Table};

const ROUNDS: usize = 15;
const CALLS: usize = 12_800;

pub fn measure(table: &mut Table) {
    for callers in [1, 8, 64] {
        let subjects = Subject::SHARED;
        let mut calls = subjects.map(|subject| subject.share(64, callers));
        for calls in &mut calls {
            rate(calls);
        }
        let samples = interleave(ROUNDS, &subjects, |index| rate(&mut calls[index]));
        let plural = if callers == 1 { "" } else { "s" };
        table.add(
            Row::new(format!("{callers} caller{plural}"))
                .values(&samples, |rate| format!("{:.0} k/s", rate / 1e3))
                .against(Subject::Reference, &samples, (callers > 1).then_some(Must::AtLeast(0.8))),
        );
    }
}

fn rate(calls: &mut [Call]) -> f64 {
    let each = CALLS / calls.len();
    let start = Barrier::new(calls.len() + 1);
    let started = thread::scope(|scope| {
        for call in calls.iter_mut() {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                (0..each).for_each(|_| assert_eq!(call(), 64));
            });
        }
        start.wait();
        Instant::now()
    });
    (each * calls.len()) as f64 / started.elapsed().as_secs_f64()
}
