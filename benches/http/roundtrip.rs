//! One caller, one call after the other.

use crate::clients::{Reply, Subject};
use crate::support::calls::p50;
use crate::support::process::pinned;
use crate::support::samples::interleave;
use crate::support::table::{Must, Row, Table};

const ROUNDS: usize = 50;
const CALLS: usize = 100;

pub fn measure(table: &mut Table) {
    for cpus in [1, 2] {
        let plural = if cpus == 1 { "" } else { "s" };
        for (reply, size) in Reply::ALL.into_iter().flat_map(|it| [(it, 64), (it, 1024)]) {
            let figure = format!("round trip, {}, {size} B, {cpus} CPU{plural}", reply.name());
            let measured = pinned(cpus, || {
                let mut calls = Subject::ALL.map(|subject| subject.connect(reply, size));
                for call in &mut calls {
                    (0..CALLS).for_each(|_| assert_eq!(call(), size));
                }
                interleave(ROUNDS, &Subject::ALL, |index| p50(&mut calls[index], CALLS))
            });
            let Some(samples) = measured else {
                table.cannot(&figure, "cannot be pinned here");
                continue;
            };
            table.add(Row::new(figure).values(&samples, |value| format!("{value:.1} µs")).against(
                Subject::Alone,
                &samples,
                Some(Must::AtMost(1.4)),
            ));
        }
    }
}
