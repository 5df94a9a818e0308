//! One caller, one call after the other.

use crate::clients::Subject;
use crate::support::calls::p50;
use crate::support::process::pinned;
use crate::support::samples::interleave;
use crate::support::table::{Must, Row, Table};

const ROUNDS: usize = 100;
const CALLS: usize = 200;

pub fn measure(table: &mut Table) {
    for (cpus, must) in [(1, 1.8), (2, 1.35)] {
        let plural = if cpus == 1 { "" } else { "s" };
        for size in [64, 1024] {
            let figure = format!("round trip, {size} B, {cpus} CPU{plural}");
            let measured = pinned(cpus, || {
                let mut calls = Subject::ALL.map(|subject| subject.connect(size));
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
                Subject::Floor,
                &samples,
                Some(Must::AtMost(must)),
            ));
        }
    }
}
